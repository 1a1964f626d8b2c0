#include "program.h"

#include <stdexcept>

namespace foveal {

const std::vector<KernelInfo>& kernel_list() {
  static const std::vector<KernelInfo> list = {
#define IN(T, name) "in " #T " " #name "|"
#define OUT(T, name) "out " #T " " #name "|"
#define INOUT(T, name) "inout " #T " " #name "|"
#define INT(name) "int int64_t " #name "|"
#define REAL(name) "real double " #name "|"
#define KERNEL(name, FIELDS) {#name, FIELDS, sizeof(name##_args) / 8},
#include "kernels.def"
#undef KERNEL
#undef IN
#undef OUT
#undef INOUT
#undef INT
#undef REAL
  };
  return list;
}

Program::Program(const Target& target, std::vector<Step> steps) : target_(target), steps_(std::move(steps)) {
  const auto& kernels = kernel_list();
  for (const Step& step : steps_) {
    if (step.kernel < 0 || step.kernel >= static_cast<int>(kernels.size())) {
      throw std::invalid_argument("unknown kernel number " + std::to_string(step.kernel));
    }
    if (static_cast<int>(step.words.size()) != kernels[step.kernel].words) {
      throw std::invalid_argument(std::string(kernels[step.kernel].name) + " takes " +
                                  std::to_string(kernels[step.kernel].words) + " arguments, not " +
                                  std::to_string(step.words.size()));
    }
  }
}

void Program::run(int64_t begin, int64_t end, const Run& run) const {
  for (int64_t i = begin; i < end; ++i) target_.kernels[steps_[i].kernel](steps_[i].words.data(), run);
}

}  // namespace foveal
