// All bodies, compiled once per target in that target's own namespace. A target's file is compiled with flags that
// other processors may not understand, so nothing in here may instantiate an inline function of another header that the
// linker could share between targets: no std:: containers or algorithms, no static locals.
#include "../kernel.h"
// clang-format off: in the order of use
#include "vec.inl.h"
#include "parallel.inl.h"
#include "math.inl.h"
#include "tile.inl.h"
#include "norm.inl.h"
#include "pool.inl.h"
#include "filtering.inl.h"
#include "tiling.inl.h"
// clang-format on
#include "activation.inl.h"
#include "batch.inl.h"
#include "clip.inl.h"
#include "conv.inl.h"
#include "dense.inl.h"
#include "depthwise.inl.h"
#include "dropout.inl.h"
#include "loss.inl.h"
#include "optim.inl.h"
#include "peak.inl.h"
#include "residual.inl.h"
#include "winograd.inl.h"

#define FOVEAL_STRING(x) FOVEAL_STRING_(x)
#define FOVEAL_STRING_(x) #x
#define FOVEAL_JOIN(a, b) FOVEAL_JOIN_(a, b)
#define FOVEAL_JOIN_(a, b) a##b

namespace foveal {
namespace FOVEAL_TARGET {
namespace {

const KernelFunction table[] = {
#define KERNEL(name, FIELDS) \
  [](const void* args, const Run& run) { name(*static_cast<const name##_args*>(args), run); },
#include "../kernels.def"
#undef KERNEL
};

}  // namespace
}  // namespace FOVEAL_TARGET

extern const Target FOVEAL_JOIN(target_, FOVEAL_TARGET);
const Target FOVEAL_JOIN(target_, FOVEAL_TARGET) = {FOVEAL_STRING(FOVEAL_TARGET), FOVEAL_TARGET::table};

}  // namespace foveal
