// SPDX-License-Identifier: Apache-2.0
//
// Attention to both sides inside one text, for one head. Keys are transposed first, so that a lane is a key and scores need no horizontal sums. Rows
// go through in tiles; what a row gets does not depend on the tile that it is in.
#include "encoder_vectors.h"

enum { TALL = 6, WIDE = 4 };  // rows of a tile, and vectors of 16 keys or outputs

// scores: [MR, padded] = query * keys, for 16 * NR keys from `from`; MR and NR are constants at every call.
INLINE void score_tile(const int MR, const int NR, const float *restrict query, ptrdiff_t stride, const float *restrict keys, ptrdiff_t padded,
                       ptrdiff_t from, ptrdiff_t size, float *restrict scores) {
  v16 sum[TALL][WIDE];
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) sum[i][j] = SPLAT(0.0f);
  for (ptrdiff_t d = 0; d < size; d++) {
    v16 k[WIDE];
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) k[j] = LOAD(keys + d * padded + from + 16 * j);
#pragma clang loop unroll(full)
    for (int i = 0; i < MR; i++) {
      const v16 q = SPLAT(query[i * stride + d]);
#pragma clang loop unroll(full)
      for (int j = 0; j < NR; j++) sum[i][j] += q * k[j];
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) STORE(scores + i * padded + from + 16 * j, sum[i][j]);
}

// out: [MR, 16 * NR] = weights: [MR, padded] * values: [count, 16 * NR], each row times its factor.
INLINE void value_tile(const int MR, const int NR, const float *restrict weights, ptrdiff_t padded, const float *factors, const float *restrict values,
                       ptrdiff_t stride, ptrdiff_t count, float *restrict out) {
  v16 sum[TALL][WIDE];
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) sum[i][j] = SPLAT(0.0f);
  for (ptrdiff_t t = 0; t < count; t++) {
    v16 v[WIDE];
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) v[j] = LOAD(values + t * stride + 16 * j);
#pragma clang loop unroll(full)
    for (int i = 0; i < MR; i++) {
      const v16 p = SPLAT(weights[i * padded + t]);
#pragma clang loop unroll(full)
      for (int j = 0; j < NR; j++) sum[i][j] += p * v[j];
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) STORE(out + i * stride + 16 * j, sum[i][j] * SPLAT(factors[i]));
}

// Exponentials relative to the largest of `count` scores, 0 behind them; answers one over their sum.
INLINE float weigh(float *restrict row, ptrdiff_t count, ptrdiff_t padded, float scale) {
  float top[16], sum[16] = {0};
  for (int l = 0; l < 16; l++) top[l] = -INFINITY;
  for (ptrdiff_t c = count; c < padded; c++) row[c] = -INFINITY;
  for (ptrdiff_t c = 0; c < padded; c += 16)
    for (int l = 0; l < 16; l++) top[l] = row[c + l] > top[l] ? row[c + l] : top[l];
  float largest = top[0];
  for (int l = 1; l < 16; l++) largest = top[l] > largest ? top[l] : largest;
  const float shift = largest * scale;
  for (ptrdiff_t c = 0; c < padded; c += 16)
    for (int l = 0; l < 16; l++) {
      const float e = exp_f32(row[c + l] * scale - shift);
      row[c + l] = e;
      sum[l] += c + l < count ? e : 0;
    }
  for (int width = 8; width > 0; width /= 2)
    for (int l = 0; l < width; l++) sum[l] += sum[l + width];
  return 1.0f / sum[0];
}

// MR rows of queries.
INLINE void attend_rows(const int MR, const float *query, const float *keys, const float *value, ptrdiff_t stride, float *out, ptrdiff_t count,
                        ptrdiff_t size, float scale, float *scores) {
  const ptrdiff_t padded = (count + 15) / 16 * 16;
  ptrdiff_t from = 0;
  for (; from + 16 * WIDE <= padded; from += 16 * WIDE) score_tile(MR, WIDE, query, stride, keys, padded, from, size, scores);
  for (; from < padded; from += 16) score_tile(MR, 1, query, stride, keys, padded, from, size, scores);
  float factors[TALL];
  for (int i = 0; i < MR; i++) factors[i] = weigh(scores + i * padded, count, padded, scale);
  ptrdiff_t d = 0;
  for (; d + 64 <= size; d += 64) value_tile(MR, 4, scores, padded, factors, value + d, stride, count, out + d);
  for (; d + 32 <= size; d += 32) value_tile(MR, 2, scores, padded, factors, value + d, stride, count, out + d);
  for (; d < size; d += 16) value_tile(MR, 1, scores, padded, factors, value + d, stride, count, out + d);
}

ptrdiff_t pk_text_attention_scratch(ptrdiff_t count, ptrdiff_t size) { return (count + 15) / 16 * 16 * (size + TALL); }

INLINE void body_text_attention_f32(const float *query, const float *key, const float *value, ptrdiff_t stride, float *out, ptrdiff_t count,
                                    ptrdiff_t size, float scale, float *scratch) {
  const ptrdiff_t padded = (count + 15) / 16 * 16;
  float *keys = scratch, *scores = scratch + padded * size;
  for (ptrdiff_t t = 0; t < padded; t++)
    for (ptrdiff_t d = 0; d < size; d++) keys[d * padded + t] = t < count ? key[t * stride + d] : 0;
  ptrdiff_t row = 0;
  for (; row + TALL <= count; row += TALL)
    attend_rows(TALL, query + row * stride, keys, value, stride, out + row * stride, count, size, scale, scores);
  for (; row < count; row++) attend_rows(1, query + row * stride, keys, value, stride, out + row * stride, count, size, scale, scores);
}
DEFINE(void, text_attention_f32,
       (const float *query, const float *key, const float *value, ptrdiff_t stride, float *out, ptrdiff_t count, ptrdiff_t size, float scale,
        float *scratch),
       (query, key, value, stride, out, count, size, scale, scratch))
