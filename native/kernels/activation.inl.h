// Activations, elementwise. count: floats of one image, a multiple of 16.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

void relu_forward(const relu_forward_args& a, const Run& run) {
  each_range(run, run.batch * a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) store(a.y + i, maximum(load(a.x + i), Reg{}));
  });
}

void relu_backward(const relu_backward_args& a, const Run& run) {
  each_range(run, run.batch * a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) store(a.dy + i, load(a.y + i) > Reg{} ? load(a.dy + i) : Reg{});
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
