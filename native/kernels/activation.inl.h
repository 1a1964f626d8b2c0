// Activations, elementwise. count: floats of one image, a multiple of 16. Gradients: dx may lie where dy does.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// y[i] = value(x[i]) over the batch.
template <class Value>
FOVEAL_INLINE void map_values(const Run& run, int64_t count, const float* x, float* y, const Value& value) {
  each_range(run, run.batch * count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) store(y + i, value(load(x + i)));
  });
}

// dx[i] = value(saved[i], dy[i]) over the batch.
template <class Value>
FOVEAL_INLINE void map_gradients(const Run& run, int64_t count, const float* saved, const float* dy, float* dx,
                                 const Value& value) {
  each_range(run, run.batch * count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) store(dx + i, value(load(saved + i), load(dy + i)));
  });
}

void relu_forward(const relu_forward_args& a, const Run& run) {
  map_values(run, a.count, a.x, a.y, [](Reg x) { return maximum(x, Reg{}); });
}

void relu_backward(const relu_backward_args& a, const Run& run) {
  map_gradients(run, a.count, a.y, a.dy, a.dx, [](Reg y, Reg dy) { return y > Reg{} ? dy : Reg{}; });
}

void leaky_relu_forward(const leaky_relu_forward_args& a, const Run& run) {
  const Reg slope = broadcast(static_cast<float>(a.slope));
  map_values(run, a.count, a.x, a.y, [&](Reg x) { return x > Reg{} ? x : slope * x; });
}

void leaky_relu_backward(const leaky_relu_backward_args& a, const Run& run) {
  const Reg slope = broadcast(static_cast<float>(a.slope));
  map_gradients(run, a.count, a.y, a.dy, a.dx, [&](Reg y, Reg dy) { return y > Reg{} ? dy : slope * dy; });
}

void gelu_forward(const gelu_forward_args& a, const Run& run) {
  map_values(run, a.count, a.x, a.y, [](Reg x) { return gelu(x); });
}

void gelu_backward(const gelu_backward_args& a, const Run& run) {
  map_gradients(run, a.count, a.x, a.dy, a.dx, [](Reg x, Reg dy) { return gelu_slope(x) * dy; });
}

// The sigmoid of 0 is not 0: the padding channels are put back.
void sigmoid_forward(const sigmoid_forward_args& a, const Run& run) {
  const int64_t pixels = run.batch * a.pixels;
  each_range(run, pixels, ceil_div(PIECE, a.channels), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const float* const x = a.x + p * a.channels;
      float* const y = a.y + p * a.channels;
      for (int64_t c = 0; c < a.channels; c += LANES) store(y + c, sigmoid(load(x + c)));
      for (int64_t c = a.used; c < a.channels; ++c) y[c] = 0;
    }
  });
}

void sigmoid_backward(const sigmoid_backward_args& a, const Run& run) {
  const Reg one = broadcast(1.0f);
  map_gradients(run, a.count, a.y, a.dy, a.dx, [&](Reg y, Reg dy) { return dy * (y * (one - y)); });
}

void tanh_forward(const tanh_forward_args& a, const Run& run) {
  map_values(run, a.count, a.x, a.y, [](Reg x) { return hyperbolic_tangent(x); });
}

void tanh_backward(const tanh_backward_args& a, const Run& run) {
  const Reg one = broadcast(1.0f);
  map_gradients(run, a.count, a.y, a.dy, a.dx, [&](Reg y, Reg dy) { return dy * ((one - y) * (one + y)); });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
