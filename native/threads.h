// A small pool of threads: brief spin, then sleep. One pool serves one caller at a time; see `PoolLease`.
#pragma once

#include <stdint.h>

namespace foveal {

class Pool;

using Task = void (*)(void* context, int64_t item, int thread);

// Runs task(context, i, thread) for every i in [0, items) on the pool's threads, the caller being thread 0, and returns
// when all are done. Which thread takes which item never influences a result.
void parallel(Pool& pool, int64_t items, Task task, void* context);

int pool_threads(const Pool& pool);

// Exclusive use of a pool of `threads` threads while it lives: an idle one is taken, or a new one made, so two callers
// in two Python threads never wait for each other. Also sets the calling thread's floating-point mode (round to
// nearest, denormals are zero) and restores it.
class PoolLease {
 public:
  explicit PoolLease(int threads);
  ~PoolLease();
  PoolLease(const PoolLease&) = delete;
  PoolLease& operator=(const PoolLease&) = delete;
  Pool& pool() { return *pool_; }

 private:
  Pool* pool_;
  uint64_t float_mode_;
};

}  // namespace foveal
