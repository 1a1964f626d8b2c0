// Compute kernels for avx2; CMakeLists.txt compiles this file alone with that instruction set's flags.
#define FOVEAL_TARGET avx2
#include "../kernels/all.inl.h"
