// Runs recorded programs without Python: for sanitizers, for other processors (qemu), for debuggers.
//
//   foveal_driver [--isa NAME] [--threads N] FILE...
//
// Prints one line a file: the 64-bit FNV-1a hash of the recorded output regions after the last run. A recording may
// hold the expected contents of regions; a region that differs from them is an error. Format: foveal/plan/record.py.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "program.h"

namespace {

class Reader {
 public:
  explicit Reader(const std::string& path) : in_(path, std::ios::binary) {
    if (!in_) throw std::runtime_error("cannot open " + path);
  }
  template <class T>
  T number() {
    T value;
    bytes(&value, sizeof value);
    return value;
  }
  std::string text() {
    std::string value(number<uint32_t>(), '\0');
    bytes(value.data(), value.size());
    return value;
  }
  void bytes(void* to, size_t count) {
    if (!in_.read(static_cast<char*>(to), static_cast<std::streamsize>(count)))
      throw std::runtime_error("file is cut short");
  }

 private:
  std::ifstream in_;
};

// A region of its own allocation, of exactly its size, so that a sanitizer sees every byte beyond it.
struct Region {
  explicit Region(size_t size) : size(size), data(nullptr, std::free) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, size > 0 ? size : 1) != 0) throw std::bad_alloc();
    std::memset(memory, 0, size);
    data.reset(static_cast<char*>(memory));
  }
  size_t size;
  std::unique_ptr<char, void (*)(void*)> data;
};

int kernel_number(const std::string& name) {
  const auto& kernels = foveal::kernel_list();
  for (size_t i = 0; i < kernels.size(); ++i) {
    if (name == kernels[i].name) return static_cast<int>(i);
  }
  throw std::runtime_error("no compute kernel is called " + name);
}

std::vector<Region> read_regions(Reader& in) {
  std::vector<Region> regions;
  const auto count = in.number<uint32_t>();
  for (uint32_t i = 0; i < count; ++i) {
    regions.emplace_back(in.number<uint64_t>());
    if (in.number<uint8_t>() != 0) in.bytes(regions.back().data.get(), regions.back().size);
  }
  return regions;
}

std::vector<foveal::Step> read_steps(Reader& in, const std::vector<Region>& regions) {
  std::vector<foveal::Step> steps(in.number<uint32_t>());
  for (auto& step : steps) {
    step.kernel = kernel_number(in.text());
    step.words.resize(in.number<uint32_t>());
    for (auto& word : step.words) {
      const auto region = in.number<int32_t>();  // -1: a constant
      const auto value = in.number<uint64_t>();
      word = region < 0 ? value : reinterpret_cast<uint64_t>(regions.at(region).data.get() + value);
    }
  }
  return steps;
}

void run_all(Reader& in, const std::vector<Region>& regions, const foveal::Program& program, int threads) {
  const auto runs = in.number<uint32_t>();
  for (uint32_t i = 0; i < runs; ++i) {
    const auto patches = in.number<uint32_t>();
    for (uint32_t p = 0; p < patches; ++p) {
      const auto region = in.number<uint32_t>();
      const auto count = in.number<uint64_t>();
      if (count > regions.at(region).size) throw std::runtime_error("a patch is larger than its region");
      in.bytes(regions[region].data.get(), count);
    }
    foveal::Run run{};
    run.batch = in.number<int64_t>();
    run.update = in.number<int64_t>();
    run.seed = in.number<uint64_t>();
    run.epoch = in.number<uint32_t>();
    run.step = in.number<uint32_t>();
    run.lr = in.number<float>();
    foveal::PoolLease lease(threads);
    run.pool = &lease.pool();
    program.run(0, program.size(), run);
  }
}

uint64_t hash_outputs(Reader& in, const std::vector<Region>& regions) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto count = in.number<uint32_t>();
  for (uint32_t i = 0; i < count; ++i) {
    const Region& region = regions.at(in.number<uint32_t>());
    for (size_t k = 0; k < region.size; ++k) {
      hash = (hash ^ static_cast<unsigned char>(region.data.get()[k])) * 0x100000001b3;
    }
  }
  return hash;
}

bool as_expected(Reader& in, const std::vector<Region>& regions, const std::string& path) {
  bool same = true;
  const auto count = in.number<uint32_t>();
  for (uint32_t i = 0; i < count; ++i) {
    const auto number = in.number<uint32_t>();
    const Region& region = regions.at(number);
    std::string expected(region.size, '\0');
    in.bytes(expected.data(), expected.size());
    if (std::memcmp(expected.data(), region.data.get(), region.size) != 0) {
      std::fprintf(stderr, "%s: region %u differs from what was recorded\n", path.c_str(), number);
      same = false;
    }
  }
  return same;
}

bool play(const std::string& path, const foveal::Target& target, int threads) {
  Reader in(path);
  if (in.text() != "foveal program 1") throw std::runtime_error("not a recorded program");
  const std::vector<Region> regions = read_regions(in);
  const foveal::Program program(target, read_steps(in, regions));
  run_all(in, regions, program, threads);
  const uint64_t hash = hash_outputs(in, regions);
  std::printf("%016llx  %s  %s, %d threads\n", static_cast<unsigned long long>(hash), path.c_str(), target.name,
              threads);
  return as_expected(in, regions, path);
}

}  // namespace

int main(int argc, char** argv) {
  std::string isa = foveal::targets().front()->name;
  int threads = 2, failures = 0;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--isa" && i + 1 < argc) {
      isa = argv[++i];
    } else if (word == "--threads" && i + 1 < argc) {
      threads = std::atoi(argv[++i]);
    } else {
      files.push_back(word);
    }
  }
  const foveal::Target* target = foveal::find_target(isa);
  if (target == nullptr || threads < 1 || files.empty()) {
    std::fprintf(stderr, "usage: foveal_driver [--isa NAME] [--threads N] FILE...   (isa %s: %s)\n", isa.c_str(),
                 target == nullptr ? "not available here" : "available");
    return 2;
  }
  for (const std::string& file : files) {
    try {
      if (!play(file, *target, threads)) ++failures;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", file.c_str(), error.what());
      ++failures;
    }
  }
  return failures == 0 ? 0 : 1;
}
