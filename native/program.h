// Step programs: what a plan is bound into. A program is a list of steps, a step one compute kernel with its arguments.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel.h"

namespace foveal {

struct KernelInfo {
  const char* name;
  const char* fields;  // "in float x|out float y|int rows|real eps|"
  int words;
};

const std::vector<KernelInfo>& kernel_list();

// Targets that this processor can run, best first.
const std::vector<const Target*>& targets();
const Target* find_target(const std::string& name);  // null if unknown or not available here

struct Step {
  int kernel;
  std::vector<uint64_t> words;
};

class Program {
 public:
  // Raises std::invalid_argument if a step has the wrong number of words.
  Program(const Target& target, std::vector<Step> steps);
  // Runs steps [begin, end).
  void run(int64_t begin, int64_t end, const Run& run) const;
  int64_t size() const { return static_cast<int64_t>(steps_.size()); }

 private:
  const Target& target_;
  std::vector<Step> steps_;
};

}  // namespace foveal
