// What a compute kernel sees: its argument struct and the run it is part of. Includes no library header that defines
// functions: this file is compiled with every target's own flags.
#pragma once

#include <stdint.h>

#include "threads.h"

namespace foveal {

// What changes from run to run; everything else is fixed when the program is made.
struct Run {
  Pool* pool;
  int64_t batch;   // images to process, at most the batch size
  float lr;        // learning rate of this update
  int64_t update;  // number of this update, from 1
  uint32_t epoch;  // keys of random numbers: epoch and
  uint32_t step;   // step in it
  uint64_t seed;
};

// Argument structs, one per kernel, made from the list. Every field is eight bytes wide, so that a step's arguments are
// an array of words which Python (or a recorded program) fills in the list's order.
#define IN(T, name) const T* name;
#define OUT(T, name) T* name;
#define INOUT(T, name) T* name;
#define INT(name) int64_t name;
#define REAL(name) double name;
#define KERNEL(name, FIELDS) \
  struct name##_args {       \
    FIELDS                   \
  };
#include "kernels.def"
#undef KERNEL
#undef IN
#undef OUT
#undef INOUT
#undef INT
#undef REAL

using KernelFunction = void (*)(const void* args, const Run& run);

// One instruction set's compute kernels, in the list's order.
struct Target {
  const char* name;
  const KernelFunction* kernels;
};

}  // namespace foveal
