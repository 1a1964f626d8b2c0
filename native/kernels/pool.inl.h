// Pooling over windows, NHWC, channels side by side. Windows may overlap and hang over the border.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// The part of window `out` that lies inside: positions [begin, end), the first at tap `begin - first`.
struct Window {
  int64_t first, begin, end;
};
FOVEAL_INLINE Window window(int64_t out, int64_t stride, int64_t before, int64_t size, int64_t length) {
  const int64_t first = out * stride - before;
  return {first, most(first, 0), least(first + size, length)};
}

// The largest of the four values of a window of 2 × 2 and its position; the first of equals, or the first NaN.
struct Largest {
  Reg value;
  IntReg code{};

  FOVEAL_INLINE Largest(Reg a, Reg b, Reg c, Reg d) : value(a) {
    compare(b, 1);
    compare(c, 2);
    compare(d, 3);
  }
  FOVEAL_INLINE void compare(Reg v, int32_t position) {
    const IntReg larger = ~(v <= value) & (value == value);
    value = larger ? v : value;
    code = larger ? IntReg{} + position : code;
  }
  FOVEAL_INLINE void store(float* y, uint8_t* codes, int64_t at) const {
    FOVEAL_TARGET::store(y + at, value);
    store_bytes(codes + at, code);
  }
};

// The gradient that position `tap` gets of a window's.
FOVEAL_INLINE Reg routed(Reg dy, const uint8_t* code, int32_t tap) { return load_bytes(code) == tap ? dy : Reg{}; }

void max_pool_forward(const max_pool_forward_args& a, const Run& run) {
  const int64_t C = a.channels;
  each(run, run.batch * a.out_height, [&](int64_t item, int) {
    const int64_t n = item / a.out_height, oy = item % a.out_height;
    const Window wy = window(oy, a.stride_y, a.top, a.size_y, a.height);
    for (int64_t ox = 0; ox < a.out_width; ++ox) {
      const Window wx = window(ox, a.stride_x, a.left, a.size_x, a.width);
      const int64_t to = (item * a.out_width + ox) * C;
      for (int64_t c = 0; c < C; c += LANES) {
        Reg top{};
        IntReg code{};
        bool first = true;
        for (int64_t y = wy.begin; y < wy.end; ++y) {
          for (int64_t x = wx.begin; x < wx.end; ++x) {
            Reg v = load(a.x + ((n * a.height + y) * a.width + x) * C + c);
            if (a.affine != nullptr) v = Affine(a.affine, C, c, a.rectify)(v);
            const int32_t tap = static_cast<int32_t>((y - wy.first) * a.size_x + (x - wx.first));
            const IntReg larger = first ? ~IntReg{} : (~(v <= top) & (top == top));  // the first NaN wins, too
            top = larger ? v : top;
            code = larger ? IntReg{} + tap : code;
            first = false;
          }
        }
        store(a.y + to + c, top);
        store_bytes(a.code + to + c, code);
      }
    }
  });
}

// Adds in the order of windows, which is the same for every value of dx: an image is one work item.
void max_pool_backward(const max_pool_backward_args& a, const Run& run) {
  const int64_t C = a.channels;
  each(run, run.batch, [&](int64_t n, int) {
    float* const dx = a.dx + n * a.height * a.width * C;
    __builtin_memset(dx, 0, a.height * a.width * C * 4);
    for (int64_t oy = 0; oy < a.out_height; ++oy) {
      const Window wy = window(oy, a.stride_y, a.top, a.size_y, a.height);
      for (int64_t ox = 0; ox < a.out_width; ++ox) {
        const Window wx = window(ox, a.stride_x, a.left, a.size_x, a.width);
        const int64_t from = ((n * a.out_height + oy) * a.out_width + ox) * C;
        for (int64_t c = 0; c < C; c += LANES) {
          const Reg dy = load(a.dy + from + c);
          const IntReg code = load_bytes(a.code + from + c);
          for (int64_t y = wy.begin; y < wy.end; ++y) {
            for (int64_t x = wx.begin; x < wx.end; ++x) {
              const int32_t tap = static_cast<int32_t>((y - wy.first) * a.size_x + (x - wx.first));
              float* const to = dx + (y * a.width + x) * C + c;
              store(to, load(to) + (code == tap ? dy : Reg{}));
            }
          }
        }
      }
    }
  });
}

void avg_pool_forward(const avg_pool_forward_args& a, const Run& run) {
  const int64_t C = a.channels;
  each(run, run.batch * a.out_height, [&](int64_t item, int) {
    const int64_t n = item / a.out_height, oy = item % a.out_height;
    const Window wy = window(oy, a.stride_y, a.top, a.size_y, a.height);
    for (int64_t ox = 0; ox < a.out_width; ++ox) {
      const Window wx = window(ox, a.stride_x, a.left, a.size_x, a.width);
      const Reg divisor = broadcast(a.divisor[oy * a.out_width + ox]);
      for (int64_t c = 0; c < C; c += LANES) {
        Reg sum{};
        for (int64_t y = wy.begin; y < wy.end; ++y) {
          for (int64_t x = wx.begin; x < wx.end; ++x) sum += load(a.x + ((n * a.height + y) * a.width + x) * C + c);
        }
        store(a.y + (item * a.out_width + ox) * C + c, sum * divisor);
      }
    }
  });
}

void avg_pool_backward(const avg_pool_backward_args& a, const Run& run) {
  const int64_t C = a.channels;
  each(run, run.batch, [&](int64_t n, int) {
    float* const dx = a.dx + n * a.height * a.width * C;
    __builtin_memset(dx, 0, a.height * a.width * C * 4);
    for (int64_t oy = 0; oy < a.out_height; ++oy) {
      const Window wy = window(oy, a.stride_y, a.top, a.size_y, a.height);
      for (int64_t ox = 0; ox < a.out_width; ++ox) {
        const Window wx = window(ox, a.stride_x, a.left, a.size_x, a.width);
        const Reg divisor = broadcast(a.divisor[oy * a.out_width + ox]);
        const float* const from = a.dy + ((n * a.out_height + oy) * a.out_width + ox) * C;
        for (int64_t c = 0; c < C; c += LANES) {
          const Reg d = load(from + c) * divisor;
          for (int64_t y = wy.begin; y < wy.end; ++y) {
            for (int64_t x = wx.begin; x < wx.end; ++x) {
              float* const to = dx + (y * a.width + x) * C + c;
              store(to, load(to) + d);
            }
          }
        }
      }
    }
  });
}

void global_avg_pool_forward(const global_avg_pool_forward_args& a, const Run& run) {
  const int64_t C = a.channels;
  const Reg inverse = broadcast(static_cast<float>(1.0 / static_cast<double>(a.pixels)));
  each(run, run.batch, [&](int64_t n, int) {
    for (int64_t c = 0; c < C; c += LANES) {
      Reg sum{};
      for (int64_t p = 0; p < a.pixels; ++p) {
        const Reg v = load(a.x + (n * a.pixels + p) * C + c);
        sum += a.affine == nullptr ? v : Affine(a.affine, C, c, a.rectify)(v);
      }
      store(a.y + n * C + c, sum * inverse);
    }
  });
}

void global_avg_pool_backward(const global_avg_pool_backward_args& a, const Run& run) {
  const int64_t C = a.channels;
  const Reg inverse = broadcast(static_cast<float>(1.0 / static_cast<double>(a.pixels)));
  each(run, run.batch, [&](int64_t n, int) {
    for (int64_t p = 0; p < a.pixels; ++p) {
      for (int64_t c = 0; c < C; c += LANES) store(a.dx + (n * a.pixels + p) * C + c, load(a.dy + n * C + c) * inverse);
    }
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
