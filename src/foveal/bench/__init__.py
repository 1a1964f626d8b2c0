"""How fast training steps are on this machine, alone and beside PyTorch: `foveal bench`."""
