// Which targets this processor can run.
#include "program.h"

namespace foveal {

#if defined(__x86_64__)
extern const Target target_avx512, target_avx2;
#elif defined(__aarch64__)
extern const Target target_neon;
#endif
extern const Target target_baseline;

const std::vector<const Target*>& targets() {
  static const std::vector<const Target*> available = [] {
    std::vector<const Target*> list;
#if defined(__x86_64__)
    __builtin_cpu_init();  // asks the operating system too whether it saves the wide registers
    const bool fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")) {
      list.push_back(&target_avx512);
    }
    if (fma) list.push_back(&target_avx2);
#elif defined(__aarch64__)
    list.push_back(&target_neon);
#endif
    list.push_back(&target_baseline);
    return list;
  }();
  return available;
}

const Target* find_target(const std::string& name) {
  for (const Target* target : targets()) {
    if (name == target->name) return target;
  }
  return nullptr;
}

}  // namespace foveal
