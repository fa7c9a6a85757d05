// SPDX-License-Identifier: Apache-2.0
//
// Operators on the output of one product with several matrices: [q | k | v] and [gate | up] side by side in a row.
#include "common.h"
#include "decode_exp.h"
#include "pk_training.h"

#if PK_X86
#define PK_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PK_CLONES
#endif

PK_CLONES void pk_train_rope_rows(float *restrict x, size_t rows, size_t heads, size_t size, size_t stride, size_t period,
                                  const float *restrict table, float direction) {
  size_t half = size / 2;
  for (size_t r = 0; r < rows; r++) {
    const float *cosine = table + (r % period) * size;
    const float *sine = cosine + half;
    for (size_t h = 0; h < heads; h++) {
      float *low = x + r * stride + h * size;
      float *high = low + half;
      for (size_t i = 0; i < half; i++) {
        float a = low[i], b = high[i], s = sine[i] * direction;
        low[i] = a * cosine[i] - b * s;
        high[i] = b * cosine[i] + a * s;
      }
    }
  }
}

PK_CLONES void pk_train_swiglu_rows(const float *restrict pair, size_t rows, size_t width, float *restrict y) {
  for (size_t r = 0; r < rows; r++) {
    const float *gate = pair + 2 * r * width;
    const float *up = gate + width;
    float *out = y + r * width;
    for (size_t i = 0; i < width; i++) out[i] = gate[i] / (1.0f + pk_exp1(-gate[i])) * up[i];
  }
}

PK_CLONES void pk_train_swiglu_rows_backward(const float *restrict pair, const float *restrict dy, size_t rows, size_t width,
                                             float *restrict dpair) {
  for (size_t r = 0; r < rows; r++) {
    const float *gate = pair + 2 * r * width;
    const float *up = gate + width;
    const float *grad = dy + r * width;
    float *dgate = dpair + 2 * r * width;
    float *dup = dgate + width;
    for (size_t i = 0; i < width; i++) {
      float s = 1.0f / (1.0f + pk_exp1(-gate[i]));
      float silu = gate[i] * s;
      dgate[i] = grad[i] * up[i] * (s + silu * (1.0f - s));
      dup[i] = grad[i] * silu;
    }
  }
}
