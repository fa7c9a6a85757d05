// SPDX-License-Identifier: Apache-2.0
// Encoder and distance kernels.
#include "encoder_vectors.h"

// ---- distances ----

INLINE float body_dot_f32(const float *restrict a, const float *restrict b, ptrdiff_t count) {
  v16 first = {0}, second = {0};
  ptrdiff_t i = 0;
  for (; i + 32 <= count; i += 32) {
    first += LOAD(a + i) * LOAD(b + i);
    second += LOAD(a + i + 16) * LOAD(b + i + 16);
  }
  for (; i + 16 <= count; i += 16) first += LOAD(a + i) * LOAD(b + i);
  float sum = REDUCE(first + second);
  for (; i < count; i++) sum += a[i] * b[i];
  return sum;
}
DEFINE(float, dot_f32, (const float *restrict a, const float *restrict b, ptrdiff_t count), (a, b, count))

INLINE float body_l2sq_f32(const float *restrict a, const float *restrict b, ptrdiff_t count) {
  v16 first = {0}, second = {0};
  ptrdiff_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const v16 d = LOAD(a + i) - LOAD(b + i), e = LOAD(a + i + 16) - LOAD(b + i + 16);
    first += d * d;
    second += e * e;
  }
  for (; i + 16 <= count; i += 16) {
    const v16 d = LOAD(a + i) - LOAD(b + i);
    first += d * d;
  }
  float sum = REDUCE(first + second);
  for (; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}
DEFINE(float, l2sq_f32, (const float *restrict a, const float *restrict b, ptrdiff_t count), (a, b, count))

pk_pair_f32 pk_dot_f32_function(void) {
#if PK_X86
  const int32_t isa = pk_encoder_isa();
  return isa == PK_LEVEL_AVX512 ? dot_f32_avx512 : isa == PK_LEVEL_AVX2 ? dot_f32_avx2 : dot_f32_generic;
#else
  return dot_f32_generic;
#endif
}

pk_pair_f32 pk_l2sq_f32_function(void) {
#if PK_X86
  const int32_t isa = pk_encoder_isa();
  return isa == PK_LEVEL_AVX512 ? l2sq_f32_avx512 : isa == PK_LEVEL_AVX2 ? l2sq_f32_avx2 : l2sq_f32_generic;
#else
  return l2sq_f32_generic;
#endif
}

void pk_scan_f32(const float *restrict query, const float *restrict base, float *restrict out, ptrdiff_t rows,
                 ptrdiff_t width, int32_t l2) {
  const pk_pair_f32 pair = l2 ? pk_l2sq_f32_function() : pk_dot_f32_function();
  for (ptrdiff_t r = 0; r < rows; r++) {
    const float value = pair(query, base + r * width, width);
    out[r] = l2 ? value : 1.0f - value;
  }
}

float pk_normalize_f32(float *v, ptrdiff_t count) {
  double sum = 0;
  for (ptrdiff_t i = 0; i < count; i++) sum += (double)v[i] * v[i];
  const double length = sqrt(sum);
  const float factor = (float)(1.0 / (length > 1e-12 ? length : 1e-12));
  for (ptrdiff_t i = 0; i < count; i++) v[i] *= factor;
  return (float)length;
}

// ---- elementary functions, per lane ----

// Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7 (and rounding).
INLINE float gelu_erf(float v) {
  const float x = fabsf(v) * 0.70710678f;
  const float t = 1.0f / (1.0f + 0.3275911f * x);
  const float p =
      ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
  const float tail = p * exp_f32(-x * x);  // erfc(x)
  return v < 0 ? 0.5f * v * tail : 0.5f * v * (2.0f - tail);
}

// 0.5 v (1 + tanh u) = v / (1 + e^(-2u)), u = sqrt(2 / pi) (v + 0.044715 v^3).
INLINE float gelu_tanh(float v) {
  const float u = 0.79788456f * (v + 0.044715f * v * v * v);
  return v / (1.0f + exp_f32(-2.0f * u));
}

#define ROWWISE(name, expression)                                                                       \
  INLINE void body_##name(float *restrict x, const float *restrict bias, ptrdiff_t rows, ptrdiff_t columns) { \
    for (ptrdiff_t r = 0; r < rows; r++) {                                                              \
      float *restrict row = x + r * columns;                                                            \
      for (ptrdiff_t c = 0; c < columns; c++) {                                                         \
        const float v = row[c] + bias[c];                                                               \
        row[c] = (expression);                                                                          \
      }                                                                                                 \
    }                                                                                                   \
  }                                                                                                     \
  DEFINE(void, name, (float *restrict x, const float *restrict bias, ptrdiff_t rows, ptrdiff_t columns), \
         (x, bias, rows, columns))

ROWWISE(bias_add_f32, v)
ROWWISE(bias_gelu_erf_f32, gelu_erf(v))
ROWWISE(bias_gelu_tanh_f32, gelu_tanh(v))
ROWWISE(bias_relu_f32, v < 0 ? 0 : v)

// ---- rows ----

INLINE float row_sum(const float *restrict x, ptrdiff_t count) {
  v16 sum = {0};
  ptrdiff_t i = 0;
  for (; i + 16 <= count; i += 16) sum += LOAD(x + i);
  float total = REDUCE(sum);
  for (; i < count; i++) total += x[i];
  return total;
}

INLINE float row_variance_sum(const float *restrict x, float mean, ptrdiff_t count) {
  v16 sum = {0};
  ptrdiff_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const v16 d = LOAD(x + i) - SPLAT(mean);
    sum += d * d;
  }
  float total = REDUCE(sum);
  for (; i < count; i++) total += (x[i] - mean) * (x[i] - mean);
  return total;
}

INLINE void body_layernorm_f32(float *restrict x, const float *restrict bias, const float *restrict residual,
                               const float *restrict gain, const float *restrict shift, float epsilon, ptrdiff_t rows,
                               ptrdiff_t columns) {
  for (ptrdiff_t r = 0; r < rows; r++) {
    float *restrict row = x + r * columns;
    if (bias)
      for (ptrdiff_t c = 0; c < columns; c++) row[c] += bias[c];
    if (residual)
      for (ptrdiff_t c = 0; c < columns; c++) row[c] += residual[r * columns + c];
    const float mean = row_sum(row, columns) / (float)columns;
    const float variance = row_variance_sum(row, mean, columns) / (float)columns;
    const float factor = 1.0f / sqrtf(variance + epsilon);
    for (ptrdiff_t c = 0; c < columns; c++) row[c] = (row[c] - mean) * factor * gain[c] + shift[c];
  }
}
DEFINE(void, layernorm_f32,
       (float *restrict x, const float *restrict bias, const float *restrict residual, const float *restrict gain,
        const float *restrict shift, float epsilon, ptrdiff_t rows, ptrdiff_t columns),
       (x, bias, residual, gain, shift, epsilon, rows, columns))

INLINE void body_softmax_rows_f32(float *x, float scale, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride) {
  for (ptrdiff_t r = 0; r < rows; r++) {
    float *row = x + r * stride;
    float largest = row[0] * scale;
    for (ptrdiff_t c = 0; c < columns; c++) {
      const float v = row[c] * scale;
      row[c] = v;
      largest = v > largest ? v : largest;
    }
    for (ptrdiff_t c = 0; c < columns; c++) row[c] = exp_f32(row[c] - largest);
    const float factor = 1.0f / row_sum(row, columns);
    for (ptrdiff_t c = 0; c < columns; c++) row[c] *= factor;
  }
}
DEFINE(void, softmax_rows_f32, (float *x, float scale, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride),
       (x, scale, rows, columns, stride))

INLINE void body_bert_embed_f32(float *restrict out, const float *restrict word, const float *restrict position,
                                const float *restrict type, const int32_t *restrict ids,
                                const int32_t *restrict positions, const int32_t *restrict typeIDs, ptrdiff_t tokens,
                                ptrdiff_t width) {
  for (ptrdiff_t t = 0; t < tokens; t++) {
    const float *w = word + (ptrdiff_t)ids[t] * width, *p = position + (ptrdiff_t)positions[t] * width;
    const float *k = type + (typeIDs ? (ptrdiff_t)typeIDs[t] * width : 0);
    float *restrict row = out + t * width;
    for (ptrdiff_t c = 0; c < width; c++) row[c] = w[c] + k[c] + p[c];
  }
}
DEFINE(void, bert_embed_f32,
       (float *restrict out, const float *restrict word, const float *restrict position, const float *restrict type,
        const int32_t *restrict ids, const int32_t *restrict positions, const int32_t *restrict typeIDs,
        ptrdiff_t tokens, ptrdiff_t width),
       (out, word, position, type, ids, positions, typeIDs, tokens, width))

INLINE void body_mean_rows_f32(float *restrict out, const float *restrict x, ptrdiff_t tokens, ptrdiff_t width) {
  for (ptrdiff_t c = 0; c < width; c++) out[c] = 0;
  for (ptrdiff_t t = 0; t < tokens; t++)
    for (ptrdiff_t c = 0; c < width; c++) out[c] += x[t * width + c];
  const float factor = 1.0f / (float)tokens;
  for (ptrdiff_t c = 0; c < width; c++) out[c] *= factor;
}
DEFINE(void, mean_rows_f32, (float *restrict out, const float *restrict x, ptrdiff_t tokens, ptrdiff_t width),
       (out, x, tokens, width))
