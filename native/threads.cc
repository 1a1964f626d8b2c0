#include "threads.h"

#include <pthread.h>

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace foveal {
namespace {

constexpr size_t kMostIdle = 8;  // pools that are kept, asleep, to be used again
constexpr int kSpins = 4000;     // some ten microseconds: longer than the serial code between two steps

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Rounding to nearest, whatever the caller has; and denormal numbers count as zero, in and out: they are slow on some
// processors, and all must agree. Returns what was set before.
uint64_t set_float_mode() {
#if defined(__x86_64__)
  const uint64_t before = _mm_getcsr();
  _mm_setcsr(0x9FC0);  // flush to zero, denormals are zero, no exception traps
  return before;
#elif defined(__aarch64__)
  uint64_t before;
  asm volatile("mrs %0, fpcr" : "=r"(before));
  asm volatile("msr fpcr, %0" : : "r"(uint64_t{1} << 24));  // FZ
  return before;
#else
  return 0;
#endif
}

void restore_float_mode(uint64_t before) {
#if defined(__x86_64__)
  _mm_setcsr(static_cast<unsigned>(before));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(before));
#else
  (void)before;
#endif
}

// A thread's own stretch of items; others steal from it when they have finished theirs.
struct alignas(128) Stretch {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

}  // namespace

class Pool {
 public:
  explicit Pool(int threads) : stretches_(static_cast<size_t>(threads)) {
    try {
      for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { serve(t); });
    } catch (const std::system_error& error) {
      stop();
      throw std::runtime_error("cannot start " + std::to_string(threads) + " threads: " + error.what());
    }
  }

  ~Pool() { stop(); }

  int threads() const { return static_cast<int>(stretches_.size()); }

  void run(int64_t items, Task task, void* context) {
    const int threads = this->threads();
    if (threads == 1 || items == 1) {
      for (int64_t i = 0; i < items; ++i) task(context, i, 0);
      return;
    }
    task_ = task;
    context_ = context;
    for (int t = 0; t < threads; ++t) {
      stretches_[t].next.store(items * t / threads, std::memory_order_relaxed);
      stretches_[t].end = items * (t + 1) / threads;
    }
    busy_.store(threads - 1, std::memory_order_relaxed);
    generation_.fetch_add(1);  // in one order with `sleeping_`: either we see the sleeper or it sees the new generation
    if (sleeping_.load() > 0) generation_.notify_all();
    work(0);
    for (int spin = 0; busy_.load(std::memory_order_acquire) != 0;) {
      if (++spin < kSpins) {
        relax();
      } else {
        std::this_thread::yield();  // a busy neighbour has the worker's core: let it finish
      }
    }
  }

 private:
  void stop() {
    quit_ = true;
    generation_.fetch_add(1);
    generation_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  void serve(int thread) {
    set_float_mode();
    uint32_t seen = 0;
    for (;;) {
      int spin = 0;
      while (generation_.load(std::memory_order_acquire) == seen) {
        if (++spin < kSpins) {
          relax();
          continue;
        }
        sleeping_.fetch_add(1);
        generation_.wait(seen);
        sleeping_.fetch_sub(1);
      }
      ++seen;
      if (quit_) return;
      work(thread);
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  void work(int thread) {
    const int threads = this->threads();
    for (int k = 0; k < threads; ++k) {
      Stretch& mine = stretches_[(thread + k) % threads];
      while (mine.next.load(std::memory_order_relaxed) < mine.end) {
        const int64_t item = mine.next.fetch_add(1, std::memory_order_relaxed);
        if (item < mine.end) task_(context_, item, thread);
      }
    }
  }

  std::vector<Stretch> stretches_;
  std::vector<std::thread> workers_;
  std::atomic<uint32_t> generation_{0};
  std::atomic<int> sleeping_{0}, busy_{0};
  std::atomic<bool> quit_{false};
  Task task_ = nullptr;
  void* context_ = nullptr;
};

namespace {

// Idle pools, to be leased again. A forked child has none of its parent's threads, so it forgets the pools (they leak:
// their threads cannot be joined there) and makes its own when it needs them.
struct Idle {
  std::mutex mutex;
  std::vector<Pool*> pools;
};

Idle* idle = nullptr;

Idle& idle_pools() {
  static const bool once = [] {
    idle = new Idle;
    pthread_atfork([] { idle->mutex.lock(); }, [] { idle->mutex.unlock(); }, [] { idle = new Idle; });
    return true;
  }();
  (void)once;
  return *idle;
}

}  // namespace

void parallel(Pool& pool, int64_t items, Task task, void* context) { pool.run(items, task, context); }

int pool_threads(const Pool& pool) { return pool.threads(); }

PoolLease::PoolLease(int threads) : pool_(nullptr), float_mode_(0) {
  Idle& shared = idle_pools();
  {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    for (auto& candidate : shared.pools) {
      if (candidate->threads() == threads) {
        pool_ = candidate;
        candidate = shared.pools.back();
        shared.pools.pop_back();
        break;
      }
    }
  }
  if (pool_ == nullptr) pool_ = new Pool(threads);
  float_mode_ = set_float_mode();  // last: a lease that cannot be made changes nothing
}

PoolLease::~PoolLease() {
  restore_float_mode(float_mode_);
  Idle& shared = idle_pools();
  Pool* surplus = nullptr;
  {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    shared.pools.push_back(pool_);
    if (shared.pools.size() > kMostIdle) {
      surplus = shared.pools.front();
      shared.pools.erase(shared.pools.begin());
    }
  }
  delete surplus;
}

}  // namespace foveal
