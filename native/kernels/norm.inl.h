// Batch normalisation (Ioffe and Szegedy 2015, algorithm 1) over batch and pixels, per channel.
//
// Statistics: within an image mean and sum of squared deviations in float, in the order of pixels, while the image is
// in cache; over images combined in double, in the order of images (Chan, Golub and LeVeque 1979), so that a mean far
// from zero costs no precision.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// y = max(x * scale + shift, low) over one image, per channel.
FOVEAL_INLINE void normalise_image(const float* x, float* y, int64_t pixels, int64_t channels, const float* scale,
                                   const float* shift, bool relu) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, y += channels) {
    for (int64_t c = 0; c < channels; c += LANES) {
      const Reg v = fma(load(x + c), load(scale + c), load(shift + c));
      store(y + c, relu ? maximum(v, Reg{}) : v);
    }
  }
}

// saved: (4, channels) mean, 1 / sqrt(var + eps), scale, shift.
void batch_norm_forward(const batch_norm_forward_args& a, const Run& run) {
  const int64_t C = a.channels, P = a.pixels;
  each(run, run.batch, [&](int64_t n, int) {
    const float* const x = a.x + n * P * C;
    float* const out = a.partial + n * 2 * C;
    const Reg count = broadcast(static_cast<float>(P));
    for (int64_t c = 0; c < C; c += LANES) {
      Reg sum{}, squares{};
      for (int64_t p = 0; p < P; ++p) sum += load(x + p * C + c);
      const Reg mean = sum / count;
      for (int64_t p = 0; p < P; ++p) {
        const Reg d = load(x + p * C + c) - mean;
        squares = fma(d, d, squares);
      }
      store(out + c, mean);
      store(out + C + c, squares);
    }
  });
  const double total = static_cast<double>(run.batch * P);
  for (int64_t c = 0; c < C; ++c) {
    double mean = 0, squares = 0;
    for (int64_t n = 0; n < run.batch; ++n) mean += a.partial[n * 2 * C + c];
    mean /= static_cast<double>(run.batch);
    for (int64_t n = 0; n < run.batch; ++n) {
      const double d = a.partial[n * 2 * C + c] - mean;
      squares += a.partial[n * 2 * C + C + c] + d * d * static_cast<double>(P);
    }
    const double variance = squares / total, inverse = 1.0 / __builtin_sqrt(variance + a.eps);
    const double scale = a.weight[c] * inverse;
    a.saved[c] = static_cast<float>(mean);
    a.saved[C + c] = static_cast<float>(inverse);
    a.saved[2 * C + c] = static_cast<float>(scale);
    a.saved[3 * C + c] = static_cast<float>(a.bias[c] - mean * scale);
    a.running_mean[c] = static_cast<float>((1 - a.momentum) * a.running_mean[c] + a.momentum * mean);
    a.running_var[c] = static_cast<float>((1 - a.momentum) * a.running_var[c] + a.momentum * squares / (total - 1));
  }
  each(run, run.batch, [&](int64_t n, int) {
    normalise_image(a.x + n * P * C, a.y + n * P * C, P, C, a.saved + 2 * C, a.saved + 3 * C, a.relu != 0);
  });
}

// scratch: (2, channels) scale and shift from the running statistics.
void batch_norm_inference(const batch_norm_inference_args& a, const Run& run) {
  const int64_t C = a.channels, P = a.pixels;
  for (int64_t c = 0; c < C; ++c) {
    const double scale = a.weight[c] / __builtin_sqrt(static_cast<double>(a.running_var[c]) + a.eps);
    a.scratch[c] = static_cast<float>(scale);
    a.scratch[C + c] = static_cast<float>(a.bias[c] - a.running_mean[c] * scale);
  }
  each(run, run.batch, [&](int64_t n, int) {
    normalise_image(a.x + n * P * C, a.y + n * P * C, P, C, a.scratch, a.scratch + C, a.relu != 0);
  });
}

// With x̂ = (x - mean) inverse, over m values: dbias = Σ dy, dweight = Σ dy x̂,
// dx = weight inverse (dy - dbias / m - x̂ dweight / m) = weight inverse dy - (b x + a), a and b per channel.
void batch_norm_backward(const batch_norm_backward_args& a, const Run& run) {
  const int64_t C = a.channels, P = a.pixels;
  const float *const mean = a.saved, *const inverse = a.saved + C, *const scale = a.saved + 2 * C;
  const auto gradient = [&](int64_t i) {
    const Reg dy = load(a.dy + i);
    return a.y == nullptr ? dy : (load(a.y + i) > Reg{} ? dy : Reg{});
  };
  each(run, run.batch, [&](int64_t n, int) {
    float* const out = a.partial + n * 2 * C;
    for (int64_t c = 0; c < C; c += LANES) {
      Reg sum{}, product{};
      const Reg m = load(mean + c);
      for (int64_t p = 0; p < P; ++p) {
        const int64_t i = (n * P + p) * C + c;
        const Reg d = gradient(i);
        sum += d;
        product = fma(d, load(a.x + i) - m, product);
      }
      store(out + c, sum);
      store(out + C + c, product);
    }
  });
  const double total = static_cast<double>(run.batch * P);
  float* const slope = a.coefficients;
  float* const offset = a.coefficients + C;
  for (int64_t c = 0; c < C; ++c) {
    double sum = 0, product = 0;
    for (int64_t n = 0; n < run.batch; ++n) {
      sum += a.partial[n * 2 * C + c];
      product += a.partial[n * 2 * C + C + c];
    }
    product *= inverse[c];
    a.dbias[c] = static_cast<float>(sum);
    a.dweight[c] = static_cast<float>(product);
    const double b = static_cast<double>(scale[c]) * inverse[c] * product / total;
    slope[c] = static_cast<float>(-b);
    offset[c] = static_cast<float>(mean[c] * b - scale[c] * sum / total);
  }
  if (a.dx == nullptr) return;
  each(run, run.batch, [&](int64_t n, int) {
    for (int64_t p = 0; p < P; ++p) {
      const int64_t i = (n * P + p) * C;
      for (int64_t c = 0; c < C; c += LANES) {
        const Reg rest = fma(load(a.x + i + c), load(slope + c), load(offset + c));
        store(a.dx + i + c, fma(gradient(i + c), load(scale + c), rest));
      }
    }
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
