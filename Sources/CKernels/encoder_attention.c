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

// Keys (and values in pairs), then scores, then what of them is rounded, and queries.
ptrdiff_t pk_text_attention_scratch(ptrdiff_t count, ptrdiff_t size) { return (count + 15) / 16 * 16 * (size + TALL + TALL / 2) + TALL * size; }

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

// ---- the same in bf16, where the machine multiplies pairs of such numbers ----

#if PK_X86
#define PK_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c")))

// 16 words, each of which is a pair of bf16 numbers.
#define PAIRS(pointer) ((__m512bh)_mm512_loadu_si512(pointer))
#define ONE_PAIR(word) ((__m512bh)_mm512_set1_epi32((int)(word)))

// sums: [MR, 16 * NR] of products of pairs. left: [MR, pairs], `left_stride` words from row to row; right: [pairs, 16 * NR], likewise.
PK_BF16 PK_INLINE void pair_tile(const int MR, const int NR, const uint32_t *restrict left, ptrdiff_t left_stride, const uint32_t *restrict right,
                                 ptrdiff_t right_stride, ptrdiff_t pairs, __m512 sums[TALL][WIDE]) {
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) sums[i][j] = _mm512_setzero_ps();
  for (ptrdiff_t pair = 0; pair < pairs; pair++) {
    __m512bh r[WIDE];
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) r[j] = PAIRS(right + pair * right_stride + 16 * j);
#pragma clang loop unroll(full)
    for (int i = 0; i < MR; i++) {
      const __m512bh l = ONE_PAIR(left[i * left_stride + pair]);
#pragma clang loop unroll(full)
      for (int j = 0; j < NR; j++) sums[i][j] = _mm512_dpbf16_ps(sums[i][j], l, r[j]);
    }
  }
}

PK_BF16 PK_INLINE void score_pairs(const int MR, const int NR, const uint32_t *query, ptrdiff_t size, const uint32_t *keys, ptrdiff_t padded,
                                   float *scores) {
  __m512 sums[TALL][WIDE];
  pair_tile(MR, NR, query, size / 2, keys, padded, size / 2, sums);
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) _mm512_storeu_ps(scores + i * padded + 16 * j, sums[i][j]);
}

PK_BF16 PK_INLINE void value_pairs(const int MR, const int NR, const uint32_t *weights, ptrdiff_t padded, const float *factors, const uint32_t *values,
                                   ptrdiff_t size, ptrdiff_t count, float *out, ptrdiff_t stride) {
  __m512 sums[TALL][WIDE];
  pair_tile(MR, NR, weights, padded / 2, values, size, (count + 1) / 2, sums);
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) _mm512_storeu_ps(out + i * stride + 16 * j, _mm512_mul_ps(sums[i][j], _mm512_set1_ps(factors[i])));
}

// 16 numbers, rounded.
PK_BF16 PK_INLINE __m256i rounded(const float *x) { return (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x)); }

// Weights relative to that of the largest of `count` scores, 0 behind them; answers one over their sum. e^x as 2^n 2^r with a polynomial of degree 4 in
// |r| <= 1/2, to 6e-5: much finer than the weights are kept.
PK_BF16 PK_INLINE float weigh_pairs(const float *scores, ptrdiff_t count, ptrdiff_t padded, float scale, uint32_t *weights) {
  const __mmask16 end = (__mmask16)(0xFFFFu >> (padded - count));
  __m512 top = _mm512_set1_ps(-INFINITY);
  for (ptrdiff_t t = 0; t < padded; t += 16)
    top = _mm512_mask_max_ps(top, t + 16 < padded ? 0xFFFF : end, top, _mm512_loadu_ps(scores + t));
  const __m512 factor = _mm512_set1_ps(scale * 1.44269504f), shift = _mm512_mul_ps(_mm512_set1_ps(_mm512_reduce_max_ps(top)), factor);
  __m512 sum = _mm512_setzero_ps();
  for (ptrdiff_t t = 0; t < padded; t += 16) {
    const __m512 x = _mm512_fmsub_ps(_mm512_loadu_ps(scores + t), factor, shift);
    const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = _mm512_sub_ps(x, n);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.00961813f), r, _mm512_set1_ps(0.05550411f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.24022651f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.69314718f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    const __m512 e = _mm512_maskz_scalef_ps(t + 16 < padded ? 0xFFFF : end, p, n);
    sum = _mm512_add_ps(sum, e);
    _mm256_storeu_si256((__m256i *)(void *)(weights + t / 2), (__m256i)_mm512_cvtneps_pbh(e));
  }
  return 1.0f / _mm512_reduce_add_ps(sum);
}

struct paired {
  uint32_t *keys;     // [size / 2, padded]
  uint32_t *values;   // [padded / 2, size]
  float *scores;      // [TALL, padded]
  uint32_t *weights;  // [TALL, padded / 2]
  uint32_t *query;    // [TALL, size / 2]
};

PK_BF16 PK_INLINE void attend_pairs(const int MR, const float *query, ptrdiff_t stride, struct paired p, float *out, ptrdiff_t count, ptrdiff_t size,
                                    float scale) {
  const ptrdiff_t padded = (count + 15) / 16 * 16;
  for (int i = 0; i < MR; i++)
    for (ptrdiff_t d = 0; d < size; d += 16) _mm256_storeu_si256((__m256i *)(void *)(p.query + i * size / 2 + d / 2), rounded(query + i * stride + d));
  ptrdiff_t from = 0;
  for (; from + 16 * WIDE <= padded; from += 16 * WIDE) score_pairs(MR, WIDE, p.query, size, p.keys + from, padded, p.scores + from);
  for (; from + 32 <= padded; from += 32) score_pairs(MR, 2, p.query, size, p.keys + from, padded, p.scores + from);
  for (; from < padded; from += 16) score_pairs(MR, 1, p.query, size, p.keys + from, padded, p.scores + from);
  float factors[TALL];
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++) factors[i] = weigh_pairs(p.scores + i * padded, count, padded, scale, p.weights + i * padded / 2);
  ptrdiff_t d = 0;
  for (; d + 64 <= size; d += 64) value_pairs(MR, 4, p.weights, padded, factors, p.values + d, size, count, out + d, stride);
  for (; d + 32 <= size; d += 32) value_pairs(MR, 2, p.weights, padded, factors, p.values + d, size, count, out + d, stride);
  for (; d < size; d += 16) value_pairs(MR, 1, p.weights, padded, factors, p.values + d, size, count, out + d, stride);
}

// out: [16, stride], of which 16 columns = the transpose of 16 vectors of 16 words.
PK_BF16 PK_INLINE void transpose16(__m512i v[16], uint32_t *out, ptrdiff_t stride, ptrdiff_t rows) {
  __m512i a[16], b[16];
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
  // b[4 q + c]: in its lane l column 4 l + c of rows 4 q to 4 q + 3.
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
#pragma clang loop unroll(full)
  for (int c = 0; c < 4; c++) {
    const __m512i low = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x88), high = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x88);
    const __m512i odd = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xDD), odder = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xDD);
    const __m512i column[4] = {_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(odd, odder, 0x88), _mm512_shuffle_i32x4(low, high, 0xDD),
                               _mm512_shuffle_i32x4(odd, odder, 0xDD)};
#pragma clang loop unroll(full)
    for (int lane = 0; lane < 4; lane++)
      if (4 * lane + c < rows) _mm512_storeu_si512(out + (4 * lane + c) * stride, column[lane]);
  }
}

PK_BF16 static void text_attention_pairs(const float *query, const float *key, const float *value, ptrdiff_t stride, float *out, ptrdiff_t count,
                                         ptrdiff_t size, float scale, float *scratch) {
  const ptrdiff_t padded = (count + 15) / 16 * 16;
  uint32_t *words = (uint32_t *)(void *)scratch;
  struct paired p = {words, words + padded * size / 2, scratch + padded * size, words + padded * (size + TALL), NULL};
  p.query = p.weights + TALL * padded / 2;
  for (ptrdiff_t t = 0; t < padded; t += 16)
    for (ptrdiff_t d = 0; d < size; d += 32) {
      const bool isWhole = size - d >= 32;
      __m512i rows[16];
      for (ptrdiff_t i = 0; i < 16; i++) {
        const float *from = key + (t + i) * stride + d;
        rows[i] = t + i >= count ? _mm512_setzero_si512()
                  : isWhole      ? (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from))
                                 : _mm512_zextsi256_si512(rounded(from));
      }
      transpose16(rows, p.keys + d / 2 * padded + t, padded, isWhole ? 16 : 8);
    }
  for (ptrdiff_t t = 0; t < count; t += 2)
    for (ptrdiff_t d = 0; d < size; d += 16) {
      const __m512i low = _mm512_cvtepu16_epi32(rounded(value + t * stride + d));
      const __m512i high = t + 1 < count ? _mm512_cvtepu16_epi32(rounded(value + (t + 1) * stride + d)) : _mm512_setzero_si512();
      _mm512_storeu_si512(p.values + t / 2 * size + d, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
  ptrdiff_t r = 0;
  for (; r + TALL <= count; r += TALL) attend_pairs(TALL, query + r * stride, stride, p, out + r * stride, count, size, scale);
  switch (count - r) {
    case 5: attend_pairs(5, query + r * stride, stride, p, out + r * stride, count, size, scale); break;
    case 4: attend_pairs(4, query + r * stride, stride, p, out + r * stride, count, size, scale); break;
    case 3: attend_pairs(3, query + r * stride, stride, p, out + r * stride, count, size, scale); break;
    case 2: attend_pairs(2, query + r * stride, stride, p, out + r * stride, count, size, scale); break;
    case 1: attend_pairs(1, query + r * stride, stride, p, out + r * stride, count, size, scale); break;
    default: break;
  }
}
#endif

void pk_text_attention_bf16(const float *query, const float *key, const float *value, ptrdiff_t stride, float *out, ptrdiff_t count, ptrdiff_t size,
                            float scale, float *scratch) {
#if PK_X86
  if (pk_encoder_isa() >= PK_LEVEL_AVX512 && __builtin_cpu_supports("avx512bf16")) {
    text_attention_pairs(query, key, value, stride, out, count, size, scale, scratch);
    return;
  }
#endif
  pk_text_attention_f32(query, key, value, stride, out, count, size, scale, scratch);
}
