// SPDX-License-Identifier: Apache-2.0
//
// Operators that only some architectures have: partial rotary positions, other activations than SiLU, clipping, soft caps.
#include "common.h"
#include "decode_exp.h"
#include "pk_decode.h"

PK_INLINE void rope_apply_partial(float *x, const float *cosine, const float *sine, size_t rows, size_t heads, size_t size,
                           size_t half) {
  for (size_t r = 0; r < rows; r++) {
    const float *c = cosine + r * half;
    const float *s = sine + r * half;
    for (size_t h = 0; h < heads; h++) {
      float *restrict a = x + (r * heads + h) * size;
      float *restrict b = a + half;
      for (size_t i = 0; i < half; i++) {
        float first = a[i], second = b[i];
        a[i] = first * c[i] - second * s[i];
        b[i] = second * c[i] + first * s[i];
      }
    }
  }
}
PK_TWICE(void, rope_apply_partial, (float *x, const float *cosine, const float *sine, size_t rows, size_t heads, size_t size, size_t half), (x, cosine, sine, rows, heads, size, half))

// Functions of one element, without branches.
PK_INLINE float silu(float v) { return v / (1.0f + pk_exp1(-v)); }
PK_INLINE float sigmoid(float v) { return 1.0f / (1.0f + pk_exp1(-v)); }
PK_INLINE float gelu_sigmoid(float v) { return v / (1.0f + pk_exp1(-1.702f * v)); }

// 0.5 v (1 + tanh u) = v / (1 + e^(-2 u)).
PK_INLINE float gelu_tanh(float v) {
  return v / (1.0f + pk_exp1(-2.0f * (0.79788456080286536f * (v + 0.044715f * v * v * v))));
}

// erfc by Abramowitz and Stegun, 7.1.26: absolute error below 1.5e-7.
PK_INLINE float gelu_erf(float v) {
  const float x = fabsf(v) * 0.70710678118654752f;
  const float t = 1.0f / (1.0f + 0.3275911f * x);
  float p = 1.061405429f * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const float tail = p * t * pk_exp1(-x * x);
  return 0.5f * v * (v < 0 ? tail : 2.0f - tail);
}

PK_INLINE void activate(int kind, float *x, size_t n) {
  switch (kind) {
  case PK_SILU:
    for (size_t i = 0; i < n; i++) x[i] = silu(x[i]);
    break;
  case PK_GELU_ERF:
    for (size_t i = 0; i < n; i++) x[i] = gelu_erf(x[i]);
    break;
  case PK_GELU_TANH:
    for (size_t i = 0; i < n; i++) x[i] = gelu_tanh(x[i]);
    break;
  case PK_GELU_SIGMOID:
    for (size_t i = 0; i < n; i++) x[i] = gelu_sigmoid(x[i]);
    break;
  case PK_RELU:
    for (size_t i = 0; i < n; i++) x[i] = x[i] > 0 ? x[i] : 0;
    break;
  case PK_RELU_SQUARED:
    for (size_t i = 0; i < n; i++) x[i] = x[i] > 0 ? x[i] * x[i] : 0;
    break;
  case PK_TANH:
    for (size_t i = 0; i < n; i++) x[i] = tanhf(x[i]);
    break;
  case PK_SIGMOID:
    for (size_t i = 0; i < n; i++) x[i] = sigmoid(x[i]);
    break;
  default: break;
  }
}
PK_FUSED(void, activate, (int kind, float *x, size_t n), (kind, x, n))

PK_INLINE void multiply(float *x, const float *y, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] *= y[i];
}
PK_TWICE(void, multiply, (float *x, const float *y, size_t n), (x, y, n))

void pk_scale(float *x, float factor, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] *= factor;
}

PK_INLINE void add_scaled(float *x, const float *y, float factor, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] += y[i] * factor;
}
PK_TWICE(void, add_scaled, (float *x, const float *y, float factor, size_t n), (x, y, factor, n))

void pk_clip(float *x, float limit, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
}

void pk_soft_cap(float *x, float cap, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = tanhf(x[i] / cap) * cap;
}

enum { LANES = 32 };  // sums side by side, which are independent of each other

PK_INLINE float lane_total(float *sum) {
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int l = 0; l < width; l++) sum[l] += sum[l + width];
  return sum[0];
}

// y may be x: numbers are read before any is written, LANES at a time, so that the compiler need not ask whether they are the same.
PK_INLINE void layer_norm(const float *x, const float *restrict gain, const float *restrict shift, float *y, size_t rows, size_t n, float epsilon) {
  for (size_t r = 0; r < rows; r++) {
    const float *in = x + r * n;
    float *out = y + r * n;
    float sum[LANES] = {0}, square[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
      for (size_t l = 0; l < LANES; l++) sum[l] += in[i + l];
    for (size_t l = 0; i < n; i++, l++) sum[l] += in[i];
    const float mean = lane_total(sum) / (float)n;
    for (i = 0; i + LANES <= n; i += LANES)
      for (size_t l = 0; l < LANES; l++) {
        const float d = in[i + l] - mean;
        square[l] += d * d;
      }
    for (size_t l = 0; i < n; i++, l++) {
      const float d = in[i] - mean;
      square[l] += d * d;
    }
    const float scale = 1.0f / sqrtf(lane_total(square) / (float)n + epsilon);
    for (i = 0; i < n; i += LANES) {
      const size_t count = n - i < LANES ? n - i : LANES;
      float v[LANES];
      if (count == LANES) {
        for (size_t l = 0; l < LANES; l++) v[l] = (in[i + l] - mean) * scale;
        if (gain)
          for (size_t l = 0; l < LANES; l++) v[l] *= gain[i + l];
        if (shift)
          for (size_t l = 0; l < LANES; l++) v[l] += shift[i + l];
        memcpy(out + i, v, sizeof(v));
        continue;
      }
      for (size_t l = 0; l < count; l++) {
        float one = (in[i + l] - mean) * scale;
        if (gain) one *= gain[i + l];
        out[i + l] = shift ? one + shift[i + l] : one;
      }
    }
  }
}
PK_FUSED(void, layer_norm, (const float *x, const float *gain, const float *shift, float *y, size_t rows, size_t n, float epsilon),
         (x, gain, shift, y, rows, n, epsilon))

void pk_attention_bias(float *scores, const float *table, size_t heads, size_t head, const int32_t *buckets, size_t count,
                       float scale) {
  // buckets: [2 * count - 1], the place of a distance j - i is distance + count - 1.
  for (size_t i = 0; i < count; i++)
    for (size_t j = 0; j < count; j++)
      scores[i * count + j] = scores[i * count + j] * scale + table[(size_t)buckets[j + count - 1 - i] * heads + head];
}

void pk_attention_window(float *scores, size_t count, size_t reach) {
  for (size_t i = 0; i < count; i++)
    for (size_t j = 0; j < count; j++) {
      size_t distance = i > j ? i - j : j - i;
      if (distance > reach) scores[i * count + j] = -1e30f;
    }
}
