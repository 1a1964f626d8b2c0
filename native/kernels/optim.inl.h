// Optimizers: elementwise over a stretch of the flat buffer, in the arithmetic of foveal/optim/*.py. count: a multiple
// of 16. Weight decay is added to the gradient, but for AdamW.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// beta^t by repeated squaring, as in foveal/optim/adam.py: no library's pow.
double power(double beta, int64_t t) {
  double result = 1.0;
  for (; t > 0; t >>= 1, beta *= beta) {
    if (t & 1) result *= beta;
  }
  return result;
}

void sgd_update(const sgd_update_args& a, const Run& run) {
  const Reg decay = broadcast(static_cast<float>(a.weight_decay)), rate = broadcast(-run.lr);
  each_range(run, a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) {
      const Reg w = load(a.weight + i);
      store(a.weight + i, fma(rate, fma(decay, w, load(a.gradient + i)), w));
    }
  });
}

void momentum_update(const momentum_update_args& a, const Run& run) {
  const Reg decay = broadcast(static_cast<float>(a.weight_decay)), rate = broadcast(-run.lr);
  const bool first = run.update == 1;  // v starts as g, as in PyTorch
  const Reg mu = broadcast(first ? 0.0f : static_cast<float>(a.momentum));
  const Reg share = broadcast(first ? 1.0f : static_cast<float>(1.0 - a.dampening));
  const Reg ahead = broadcast(static_cast<float>(a.momentum));
  each_range(run, a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) {
      const Reg w = load(a.weight + i), g = fma(decay, w, load(a.gradient + i));
      const Reg v = fma(mu, load(a.velocity + i), share * g);
      store(a.velocity + i, v);
      store(a.weight + i, fma(rate, a.nesterov ? fma(ahead, v, g) : v, w));
    }
  });
}

void adagrad_update(const adagrad_update_args& a, const Run& run) {
  const Reg decay = broadcast(static_cast<float>(a.weight_decay)), eps = broadcast(static_cast<float>(a.eps));
  const Reg rate = broadcast(-run.lr);
  each_range(run, a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) {
      const Reg w = load(a.weight + i), g = fma(decay, w, load(a.gradient + i));
      const Reg h = fma(g, g, load(a.sum + i));
      store(a.sum + i, h);
      store(a.weight + i, fma(rate, g / (root(h) + eps), w));
    }
  });
}

void rmsprop_update(const rmsprop_update_args& a, const Run& run) {
  const Reg decay = broadcast(static_cast<float>(a.weight_decay)), eps = broadcast(static_cast<float>(a.eps));
  const Reg alpha = broadcast(static_cast<float>(a.alpha)), rest = broadcast(static_cast<float>(1.0 - a.alpha));
  const Reg rate = broadcast(-run.lr);
  each_range(run, a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) {
      const Reg w = load(a.weight + i), g = fma(decay, w, load(a.gradient + i));
      const Reg v = fma(alpha, load(a.v + i), rest * (g * g));
      store(a.v + i, v);
      store(a.weight + i, fma(rate, g / (root(v) + eps), w));
    }
  });
}

// Adam adds its weight decay to the gradient, AdamW takes it from the weight first.
template <bool DECOUPLED, class Args>
void adam_rule(const Args& a, const Run& run) {
  const double correct1 = a.bias_correction ? 1.0 - power(a.beta1, run.update) : 1.0;
  const double correct2 = a.bias_correction ? 1.0 - power(a.beta2, run.update) : 1.0;
  const double share = DECOUPLED ? -static_cast<double>(run.lr) * a.weight_decay : a.weight_decay;
  const Reg decay = broadcast(static_cast<float>(share));
  const Reg eps = broadcast(static_cast<float>(a.eps));
  const Reg beta1 = broadcast(static_cast<float>(a.beta1)), rest1 = broadcast(static_cast<float>(1.0 - a.beta1));
  const Reg beta2 = broadcast(static_cast<float>(a.beta2)), rest2 = broadcast(static_cast<float>(1.0 - a.beta2));
  const Reg rate = broadcast(static_cast<float>(-static_cast<double>(run.lr) / correct1));
  const Reg root2 = broadcast(static_cast<float>(__builtin_sqrt(correct2)));
  each_range(run, a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) {
      const Reg before = load(a.weight + i), gradient = load(a.gradient + i);
      const Reg w = DECOUPLED ? fma(decay, before, before) : before;
      const Reg g = DECOUPLED ? gradient : fma(decay, before, gradient);
      const Reg m = fma(beta1, load(a.m + i), rest1 * g);
      const Reg v = fma(beta2, load(a.v + i), rest2 * (g * g));
      store(a.m + i, m);
      store(a.v + i, v);
      store(a.weight + i, fma(rate, m / (root(v) / root2 + eps), w));
    }
  });
}

void adam_update(const adam_update_args& a, const Run& run) { adam_rule<false>(a, run); }
void adamw_update(const adamw_update_args& a, const Run& run) { adam_rule<true>(a, run); }

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
