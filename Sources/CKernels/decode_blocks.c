// SPDX-License-Identifier: Apache-2.0
//
// Operators that only some architectures have: partial rotary positions, other activations than SiLU, clipping, soft caps.
// They take little of a step's time, so they are plain loops over libm.
#include "pk_decode.h"

#include <math.h>
#include <string.h>

void pk_rope_apply_partial(float *x, const float *cosine, const float *sine, size_t rows, size_t heads, size_t size,
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

void pk_activate(int kind, float *x, size_t n) {
  switch (kind) {
  case PK_SILU:
    for (size_t i = 0; i < n; i++) x[i] = x[i] / (1.0f + expf(-x[i]));
    break;
  case PK_GELU_ERF:
    for (size_t i = 0; i < n; i++) x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.70710678118654752f));
    break;
  case PK_GELU_TANH:
    for (size_t i = 0; i < n; i++) {
      float v = x[i];
      x[i] = 0.5f * v * (1.0f + tanhf(0.79788456080286536f * (v + 0.044715f * v * v * v)));
    }
    break;
  case PK_GELU_SIGMOID:
    for (size_t i = 0; i < n; i++) x[i] = x[i] / (1.0f + expf(-1.702f * x[i]));
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
    for (size_t i = 0; i < n; i++) x[i] = 1.0f / (1.0f + expf(-x[i]));
    break;
  default: break;
  }
}

void pk_multiply(float *x, const float *y, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] *= y[i];
}

void pk_scale(float *x, float factor, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] *= factor;
}

void pk_add_scaled(float *x, const float *y, float factor, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] += y[i] * factor;
}

void pk_clip(float *x, float limit, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
}

void pk_soft_cap(float *x, float cap, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = tanhf(x[i] / cap) * cap;
}

void pk_layer_norm(const float *x, const float *gain, const float *shift, float *y, size_t rows, size_t n, float epsilon) {
  for (size_t r = 0; r < rows; r++) {
    const float *in = x + r * n;
    float *out = y + r * n;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += in[i];
    float mean = (float)(sum / (double)n);
    double square = 0;
    for (size_t i = 0; i < n; i++) {
      float d = in[i] - mean;
      square += (double)(d * d);
    }
    float scale = 1.0f / sqrtf((float)(square / (double)n) + epsilon);
    for (size_t i = 0; i < n; i++) {
      float v = (in[i] - mean) * scale;
      if (gain) v *= gain[i];
      out[i] = shift ? v + shift[i] : v;
    }
  }
}

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
