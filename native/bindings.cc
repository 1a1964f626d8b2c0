// The only file that sees Python.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "program.h"

namespace nb = nanobind;
using foveal::KernelInfo;
using foveal::Step;

namespace {

// A program and what keeps its buffers alive.
class BoundProgram {
 public:
  BoundProgram(const std::string& isa, std::vector<std::tuple<int, std::vector<uint64_t>>> steps, nb::object owner)
      : program_(target(isa), convert(std::move(steps))), owner_(std::move(owner)) {}

  void run(int64_t begin, int64_t end, int threads, int64_t batch, double lr, int64_t update, uint32_t epoch,
           uint32_t step, uint64_t seed) const {
    if (begin < 0 || end > program_.size() || threads < 1 || batch < 1) {
      throw std::invalid_argument("steps, threads or batch out of range");
    }
    const nb::gil_scoped_release release;
    foveal::PoolLease lease(threads);
    program_.run(begin, end, {&lease.pool(), batch, static_cast<float>(lr), update, epoch, step, seed});
  }

 private:
  static const foveal::Target& target(const std::string& isa) {
    const foveal::Target* found = foveal::find_target(isa);
    if (found == nullptr) throw std::invalid_argument("no compute kernels for " + isa + " on this processor");
    return *found;
  }

  static std::vector<Step> convert(std::vector<std::tuple<int, std::vector<uint64_t>>> steps) {
    std::vector<Step> list;
    list.reserve(steps.size());
    for (auto& [kernel, words] : steps) list.push_back({kernel, std::move(words)});
    return list;
  }

  foveal::Program program_;
  nb::object owner_;
};

}  // namespace

NB_MODULE(_native, m) {
  nb::set_leak_warnings(false);  // a plan in a global variable lives as long as the interpreter
  m.doc() = "foveal's native core: compute kernels and step programs.";
  m.def(
      "kernel_list",
      [] {
        std::vector<std::tuple<std::string, std::string>> list;
        for (const KernelInfo& info : foveal::kernel_list()) list.emplace_back(info.name, info.fields);
        return list;
      },
      "(name, \"in float x|out float y|int int64_t rows|\") of every compute kernel, in the list's order.");
  m.def(
      "targets",
      [] {
        std::vector<std::string> names;
        for (const foveal::Target* target : foveal::targets()) names.emplace_back(target->name);
        return names;
      },
      "Instruction sets whose compute kernels this processor can run, best first.");
  nb::class_<BoundProgram>(m, "Program")
      .def(nb::init<const std::string&, std::vector<std::tuple<int, std::vector<uint64_t>>>, nb::object>(),
           nb::arg("isa"), nb::arg("steps"), nb::arg("owner").none())
      .def("run", &BoundProgram::run);
}
