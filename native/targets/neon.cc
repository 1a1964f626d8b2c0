// Compute kernels for neon; CMakeLists.txt compiles this file alone with that instruction set's flags.
#define FOVEAL_TARGET neon
#include "../kernels/all.inl.h"
