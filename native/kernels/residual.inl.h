// Where the branches of a residual block meet (He et al. 2015, equation 1). count: floats of one image.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

void residual_forward(const residual_forward_args& a, const Run& run) {
  each_range(run, run.batch * a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) {
      const Reg y = load(a.body + i) + load(a.shortcut + i);
      store(a.y + i, a.relu ? maximum(y, Reg{}) : y);
    }
  });
}

void residual_backward(const residual_backward_args& a, const Run& run) {
  each_range(run, run.batch * a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) {
      const Reg dx = load(a.body + i) + load(a.shortcut + i);
      store(a.dx + i, a.mask == nullptr ? dx : load(a.mask + i) > Reg{} ? dx : Reg{});
    }
  });
}

// y[i] = x[index[i]] within each image, 0 where the index is negative.
void reorder_values(const reorder_values_args& a, const Run& run) {
  each(run, run.batch, [&](int64_t n, int) {
    const float* const x = a.x + n * a.inputs;
    float* const y = a.y + n * a.outputs;
    for (int64_t i = 0; i < a.outputs; ++i) y[i] = a.index[i] < 0 ? 0.0f : x[a.index[i]];
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
