// SPDX-License-Identifier: Apache-2.0
//
// Row-wise operators of a decoder step: norms, rotary positions, gated activations, lookups.
#include "common.h"
#include "decode_exp.h"
#include "pk_decode.h"

PK_INLINE void rms_norm(const float *x, const float *gain, float *y, size_t rows, size_t n, float epsilon) {
  for (size_t r = 0; r < rows; r++) {
    const float *in = x + r * n;
    float *out = y + r * n;
    float sum[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
      for (int l = 0; l < 16; l++) sum[l] += in[i + l] * in[i + l];
    for (int l = 0; i < n; i++, l++) sum[l] += in[i] * in[i];
    for (int width = 8; width > 0; width /= 2)
      for (int l = 0; l < width; l++) sum[l] += sum[l + width];
    float scale = 1.0f / sqrtf(sum[0] / (float)n + epsilon);
    for (i = 0; i < n; i++) out[i] = in[i] * scale * gain[i];
  }
}
PK_TWICE(void, rms_norm, (const float *x, const float *gain, float *y, size_t rows, size_t n, float epsilon), (x, gain, y, rows, n, epsilon))

void pk_rope_table(const int32_t *positions, const float *frequencies, float *cosine, float *sine, size_t rows,
                   size_t half) {
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < half; i++) {
      float angle = (float)positions[r] * frequencies[i];
      cosine[r * half + i] = cosf(angle);
      sine[r * half + i] = sinf(angle);
    }
}

PK_INLINE void rope_apply(float *x, const float *cosine, const float *sine, size_t rows, size_t heads, size_t half) {
  for (size_t r = 0; r < rows; r++) {
    const float *c = cosine + r * half;
    const float *s = sine + r * half;
    for (size_t h = 0; h < heads; h++) {
      float *restrict a = x + (r * heads + h) * 2 * half;
      float *restrict b = a + half;
      for (size_t i = 0; i < half; i++) {
        float first = a[i], second = b[i];
        a[i] = first * c[i] - second * s[i];
        b[i] = second * c[i] + first * s[i];
      }
    }
  }
}
PK_TWICE(void, rope_apply, (float *x, const float *cosine, const float *sine, size_t rows, size_t heads, size_t half), (x, cosine, sine, rows, heads, half))

PK_INLINE void swiglu(float *gate, const float *up, size_t n) {
  for (size_t i = 0; i < n; i++) gate[i] = gate[i] / (1.0f + pk_exp1(-gate[i])) * up[i];
}
PK_TWICE(void, swiglu, (float *gate, const float *up, size_t n), (gate, up, n))

PK_INLINE void add(float *x, const float *y, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] += y[i];
}
PK_TWICE(void, add, (float *x, const float *y, size_t n), (x, y, n))

void pk_embed_row(int type, const void *table, size_t row, float *out, size_t n) {
  if (type == PK_WEIGHT_F32) {
    memcpy(out, (const float *)table + row * n, n * 4);
    return;
  }
  const uint16_t *in = (const uint16_t *)table + row * n;
  for (size_t i = 0; i < n; i++) {
    uint32_t wide = (uint32_t)in[i] << 16;
    memcpy(out + i, &wide, 4);
  }
}
