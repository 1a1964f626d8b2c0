// Compute kernels for baseline; CMakeLists.txt compiles this file alone with that instruction set's flags.
#define FOVEAL_TARGET baseline
#include "../kernels/all.inl.h"
