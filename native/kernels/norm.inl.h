// Batch normalisation (Ioffe and Szegedy 2015, algorithm 1) over batch and pixels, per channel.
//
// Statistics: within an image mean and sum of squared deviations in float, in the order of pixels, while the image is
// in cache; over images combined in double, in the order of images (Chan, Golub and LeVeque 1979), so that a mean far
// from zero costs no precision.
//
// The normalised values need not be stored: whoever reads x can apply `affine` on the way (`Affine`), and whoever reads
// dy what is left of the backward pass (`NormGradient`). Same bits either way.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// y = x * scale + shift, or 0 where that is less and there is a ReLU; per channel.
struct Affine {
  Reg scale, shift;
  bool relu;

  FOVEAL_INLINE Affine(const float* affine, int64_t channels, int64_t c, int64_t relu)
      : scale(load(affine + c)), shift(load(affine + channels + c)), relu(relu != 0) {}
  FOVEAL_INLINE Reg linear(Reg x) const { return fma(x, scale, shift); }
  FOVEAL_INLINE Reg operator()(Reg x) const { return relu ? maximum(linear(x), Reg{}) : linear(x); }
  FOVEAL_INLINE Reg gate(Reg dy, Reg x) const { return relu ? (linear(x) > Reg{} ? dy : Reg{}) : dy; }
};

// The gradient of x from that of y: dx = dy * scale + (x * slope + offset).
struct NormGradient {
  Affine affine;
  Reg slope, offset;

  FOVEAL_INLINE NormGradient(const float* affine, const float* coefficients, int64_t channels, int64_t c, int64_t relu)
      : affine(affine, channels, c, relu), slope(load(coefficients + c)), offset(load(coefficients + channels + c)) {}
  FOVEAL_INLINE Reg operator()(Reg dy, Reg x) const {
    return fma(affine.gate(dy, x), affine.scale, fma(x, slope, offset));
  }
};

// Rows of x with batch norm applied, `row` floats apart in `scratch`; or as they lie, where there is nothing to change.
FOVEAL_INLINE const float* normalised_rows(const float* x, const float* affine, int64_t rectify, int64_t rows,
                                           int64_t channels, float* scratch, int64_t row) {
  if (affine == nullptr && row == channels) return x;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < channels; c += LANES) {
      const Reg value = load(x + r * channels + c);
      store(scratch + r * row + c, affine == nullptr ? value : Affine(affine, channels, c, rectify)(value));
    }
  }
  return scratch;
}

// Rows of the gradient, finished where batch norm's part is left (`y`, `y_affine`, `coefficients` and `relu` of a
// step's arguments): `row` floats apart in `scratch`; or as they lie, where there is nothing to change.
template <class Args>
FOVEAL_INLINE const float* finished_rows(const Args& a, int64_t channels, int64_t first, int64_t rows, float* scratch,
                                         int64_t row) {
  const float* const dy = a.dy + first * channels;
  if (a.y == nullptr && row == channels) return dy;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < channels; c += LANES) {
      const int64_t i = r * channels + c;
      Reg value = load(dy + i);
      if (a.y != nullptr) {
        const NormGradient gradient(a.y_affine, a.coefficients, channels, c, a.relu);
        value = gradient(value, load(a.y + first * channels + i));
      }
      store(scratch + r * row + c, value);
    }
  }
  return scratch;
}

// The sums over pixels that the gradients of scale, shift and x are made of: Σ dy and Σ dy (x - mean), dy after the
// ReLU's mask. resume: they go on from those in `sums`, (2, channels).
void add_gradients(const float* x, const float* dy, const float* affine, const float* mean, int64_t relu,
                   int64_t pixels, int64_t channels, bool resume, float* sums) {
  each_channel(channels, [&](int64_t c, auto registers) {
    constexpr int N = registers;
    float* const products = sums + channels;
    Reg sum[N] = {}, product[N] = {};
    if (resume) {
      unroll<N>([&](auto r) {
        sum[r] = load(sums + c + r * LANES);
        product[r] = load(products + c + r * LANES);
      });
    }
    for (int64_t p = 0; p < pixels; ++p) {
      unroll<N>([&](auto r) {
        const int64_t at = c + r * LANES, i = p * channels + at;
        const Reg value = load(x + i), d = Affine(affine, channels, at, relu).gate(load(dy + i), value);
        sum[r] += d;
        product[r] = fma(d, value - load(mean + at), product[r]);
      });
    }
    unroll<N>([&](auto r) {
      store(sums + c + r * LANES, sum[r]);
      store(products + c + r * LANES, product[r]);
    });
  });
}

void normalise(const Run& run, const float* x, const float* affine, float* y, int64_t pixels, int64_t channels,
               int64_t relu) {
  if (y == nullptr) return;
  each(run, run.batch, [&](int64_t n, int) {
    for (int64_t p = n * pixels; p < (n + 1) * pixels; ++p) {
      for (int64_t c = 0; c < channels; c += LANES) {
        store(y + p * channels + c, Affine(affine, channels, c, relu)(load(x + p * channels + c)));
      }
    }
  });
}

void batch_norm_forward(const batch_norm_forward_args& a, const Run& run) {
  const int64_t C = a.channels, P = a.pixels;
  each(run, run.batch, [&](int64_t n, int) {
    const float* const x = a.x + n * P * C;
    float* const out = a.partial + n * 2 * C;
    const Reg count = broadcast(static_cast<float>(P));
    each_channel(C, [&](int64_t c, auto registers) {
      constexpr int N = registers;
      Reg mean[N] = {}, squares[N] = {};
      for (int64_t p = 0; p < P; ++p) {
        unroll<N>([&](auto r) { mean[r] += load(x + p * C + c + r * LANES); });
      }
      unroll<N>([&](auto r) { mean[r] = mean[r] / count; });
      for (int64_t p = 0; p < P; ++p) {
        unroll<N>([&](auto r) {
          const Reg d = load(x + p * C + c + r * LANES) - mean[r];
          squares[r] = fma(d, d, squares[r]);
        });
      }
      unroll<N>([&](auto r) {
        store(out + c + r * LANES, mean[r]);
        store(out + C + c + r * LANES, squares[r]);
      });
    });
  });
  const double total = static_cast<double>(run.batch * P), images = static_cast<double>(run.batch);
  each_range(run, C, SUMS, [&](int64_t begin, int64_t end) {
    double means[SUMS] = {}, sums[SUMS] = {};
    for (int64_t n = 0; n < run.batch; ++n) {
      for (int64_t c = begin; c < end; ++c) means[c - begin] += a.partial[n * 2 * C + c];
    }
    for (int64_t c = begin; c < end; ++c) means[c - begin] /= images;
    for (int64_t n = 0; n < run.batch; ++n) {
      for (int64_t c = begin; c < end; ++c) {
        const double d = a.partial[n * 2 * C + c] - means[c - begin];
        sums[c - begin] += a.partial[n * 2 * C + C + c] + d * d * static_cast<double>(P);
      }
    }
    for (int64_t c = begin; c < end; ++c) {
      const double mean = means[c - begin], squares = sums[c - begin];
      const double variance = squares / total, inverse = 1.0 / __builtin_sqrt(variance + a.eps);
      const double scale = a.weight[c] * inverse;
      a.saved[c] = static_cast<float>(mean);
      a.saved[C + c] = static_cast<float>(inverse);
      a.affine[c] = static_cast<float>(scale);
      a.affine[C + c] = static_cast<float>(a.bias[c] - mean * scale);
      a.running_mean[c] = static_cast<float>((1 - a.momentum) * a.running_mean[c] + a.momentum * mean);
      a.running_var[c] = static_cast<float>((1 - a.momentum) * a.running_var[c] + a.momentum * squares / (total - 1));
    }
  });
  normalise(run, a.x, a.affine, a.y, P, C, a.relu);
}

void batch_norm_inference(const batch_norm_inference_args& a, const Run& run) {
  const int64_t C = a.channels;
  for (int64_t c = 0; c < C; ++c) {
    const double scale = a.weight[c] / __builtin_sqrt(static_cast<double>(a.running_var[c]) + a.eps);
    a.affine[c] = static_cast<float>(scale);
    a.affine[C + c] = static_cast<float>(a.bias[c] - a.running_mean[c] * scale);
  }
  normalise(run, a.x, a.affine, a.y, a.pixels, C, a.relu);
}

// With x̂ = (x - mean) inverse, over m values: dbias = Σ dy, dweight = Σ dy x̂,
// dx = weight inverse (dy - dbias / m - x̂ dweight / m) = weight inverse dy - (b x + a), a and b per channel.
void batch_norm_backward(const batch_norm_backward_args& a, const Run& run) {
  const int64_t C = a.channels, P = a.pixels;
  const float *const mean = a.saved, *const inverse = a.saved + C, *const scale = a.affine;
  if (!a.summed) {
    each(run, run.batch, [&](int64_t n, int) {
      add_gradients(a.x + n * P * C, a.dy + n * P * C, a.affine, mean, a.relu, P, C, false, a.partial + n * 2 * C);
    });
  }
  const double total = static_cast<double>(run.batch * P);
  float* const slope = a.coefficients;
  float* const offset = a.coefficients + C;
  each_range(run, C, SUMS, [&](int64_t begin, int64_t end) {
    double sums[SUMS] = {}, products[SUMS] = {};
    for (int64_t n = 0; n < run.batch; ++n) {
      for (int64_t c = begin; c < end; ++c) {
        sums[c - begin] += a.partial[n * 2 * C + c];
        products[c - begin] += a.partial[n * 2 * C + C + c];
      }
    }
    for (int64_t c = begin; c < end; ++c) {
      const double sum = sums[c - begin], product = products[c - begin] * inverse[c];
      a.dbias[c] = static_cast<float>(sum);
      a.dweight[c] = static_cast<float>(product);
      const double b = static_cast<double>(scale[c]) * inverse[c] * product / total;
      slope[c] = static_cast<float>(-b);
      offset[c] = static_cast<float>(mean[c] * b - scale[c] * sum / total);
    }
  });
  if (a.dx == nullptr) return;
  each(run, run.batch, [&](int64_t n, int) {
    for (int64_t p = 0; p < P; ++p) {
      const int64_t i = (n * P + p) * C;
      for (int64_t c = 0; c < C; c += LANES) {
        const NormGradient gradient(a.affine, a.coefficients, C, c, a.relu);
        store(a.dx + i + c, gradient(load(a.dy + i + c), load(a.x + i + c)));
      }
    }
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
