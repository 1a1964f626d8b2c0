// Compute kernels for avx512; CMakeLists.txt compiles this file alone with that instruction set's flags.
#define FOVEAL_TARGET avx512
#include "../kernels/all.inl.h"
