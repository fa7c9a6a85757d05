// SPDX-License-Identifier: Apache-2.0
//
// Attention over a paged cache with blocks of 16 tokens. Keys lie transposed inside a block ([head][16]), so that one
// vector lane is one token and scores need no horizontal sums; values lie as [16][head]. Online softmax (Milakov and
// Gimelshein, 2018; Dao et al., 2022) goes block by block in position order, one chain per (row, head).
#include "pk_decode.h"

#include <math.h>
#include <string.h>

#include "decode_exp.h"
#include "tiled_attention.h"

#define INLINE static inline __attribute__((always_inline))

void pk_kv_store(const float *key, const float *value, const int64_t *slots, float *keys, float *values, size_t rows,
                 size_t kv_heads, size_t head) {
  for (size_t r = 0; r < rows; r++) {
    size_t block = (size_t)slots[r] / PK_KV_BLOCK, at = (size_t)slots[r] % PK_KV_BLOCK;
    for (size_t h = 0; h < kv_heads; h++) {
      const float *from = key + (r * kv_heads + h) * head;
      float *to = keys + (block * kv_heads + h) * head * PK_KV_BLOCK + at;
      for (size_t d = 0; d < head; d++) to[d * PK_KV_BLOCK] = from[d];
      memcpy(values + ((block * kv_heads + h) * PK_KV_BLOCK + at) * head, value + (r * kv_heads + h) * head, head * 4);
    }
  }
}

// The same order of every sum as in `attention512`, so that machines with fused multiplication give the same bits, whatever their width.
INLINE void attention(const float *query, const float *keys, const float *values, const int32_t *lengths,
                      const int64_t *tables, const int32_t *blocks, float *out, size_t heads, size_t kv_heads,
                      size_t head, float scale, size_t window, size_t first, size_t last) {
  size_t group = heads / kv_heads;
  for (size_t r = first; r < last; r++) {
    size_t length = (size_t)lengths[r];
    size_t begin = length > window ? length - window : 0;
    const int32_t *table = blocks + tables[r];
    for (size_t h = 0; h < heads; h++) {
      size_t kv = h / group;
      const float *restrict q = query + (r * heads + h) * head;
      float *restrict o = out + (r * heads + h) * head;
      float top = -INFINITY, total = 0;
      for (size_t d = 0; d < head; d++) o[d] = 0;
      // Blocks that lie wholly in front of the window are not read; a block that is read has a visible token.
      for (size_t start = begin / PK_KV_BLOCK * PK_KV_BLOCK; start < length; start += PK_KV_BLOCK) {
        size_t count = length - start < PK_KV_BLOCK ? length - start : PK_KV_BLOCK;
        size_t hidden = begin > start ? begin - start : 0;
        size_t at = ((size_t)table[start / PK_KV_BLOCK] * kv_heads + kv) * head * PK_KV_BLOCK;
        const float *restrict k = keys + at;
        const float *restrict v = values + at;
        float part[4][PK_KV_BLOCK] = {{0}}, score[PK_KV_BLOCK];
        size_t d = 0;
        for (; d + 4 <= head; d += 4)
          for (size_t i = 0; i < 4; i++)
            for (int t = 0; t < PK_KV_BLOCK; t++) part[i][t] += q[d + i] * k[(d + i) * PK_KV_BLOCK + (size_t)t];
        for (; d < head; d++)
          for (int t = 0; t < PK_KV_BLOCK; t++) part[0][t] += q[d] * k[d * PK_KV_BLOCK + (size_t)t];
        float highest = top;
        for (size_t t = 0; t < PK_KV_BLOCK; t++) {
          float raw = (part[0][t] + part[1][t]) + (part[2][t] + part[3][t]);
          score[t] = t >= hidden && t < count ? raw * scale : -INFINITY;
          highest = score[t] > highest ? score[t] : highest;
        }
        float keep = pk_exp1(top - highest);
        for (size_t t = 0; t < PK_KV_BLOCK; t++) {
          float e = pk_exp1(score[t] - highest);
          score[t] = t >= hidden && t < count ? e : 0;
        }
        float sum[PK_KV_BLOCK];
        memcpy(sum, score, sizeof sum);
        for (int width = PK_KV_BLOCK / 2; width > 0; width /= 2)
          for (int t = 0; t < width; t++) sum[t] += sum[t + width];
        total = total * keep + sum[0];
        top = highest;
        for (d = 0; d < head; d++) o[d] *= keep;
        // Other lanes hold whatever the block's last owner left, so they are not touched.
        for (size_t t = hidden; t < count; t++) {
          float p = score[t];
          for (d = 0; d < head; d++) o[d] += p * v[t * head + d];
        }
      }
      float inverse = 1.0f / total;
      for (size_t d = 0; d < head; d++) o[d] *= inverse;
    }
  }
}

#define ARGUMENTS                                                                                                     \
  const float *query, const float *keys, const float *values, const int32_t *lengths, const int64_t *tables,          \
      const int32_t *blocks, float *out, size_t heads, size_t kv_heads, size_t head, float scale, size_t window, size_t first, size_t last
#define PASSED query, keys, values, lengths, tables, blocks, out, heads, kv_heads, head, scale, window, first, last

static void attention_generic(ARGUMENTS) { attention(PASSED); }
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void attention_avx2(ARGUMENTS) { attention(PASSED); }
#endif

static void attention_best(int isa, ARGUMENTS) {
#if defined(__x86_64__)
  if (isa == PK_ISA_AVX512) {
    attention512(PASSED);
    return;
  }
  if (isa == PK_ISA_AVX2) {
    attention_avx2(PASSED);
    return;
  }
#else
  (void)isa;
#endif
  attention_generic(PASSED);
}

void pk_paged_attention(int isa, const float *query, const float *keys, const float *values, const int32_t *lengths,
                        const int64_t *tables, const int32_t *blocks, float *out, size_t heads, size_t kv_heads, size_t head,
                        float scale, size_t first, size_t last) {
  attention_best(isa, query, keys, values, lengths, tables, blocks, out, heads, kv_heads, head, scale, SIZE_MAX, first, last);
}

void pk_paged_attention_windowed(int isa, const float *query, const float *keys, const float *values, const int32_t *lengths,
                                 const int64_t *tables, const int32_t *blocks, float *out, size_t heads, size_t kv_heads,
                                 size_t head, float scale, size_t window, float soft_cap, size_t first, size_t last) {
  if (!(soft_cap > 0)) {
    attention_best(isa, query, keys, values, lengths, tables, blocks, out, heads, kv_heads, head, scale, window, first, last);
    return;
  }
  size_t group = heads / kv_heads;
  for (size_t r = first; r < last; r++) {
    size_t length = (size_t)lengths[r];
    size_t begin = length > window ? length - window : 0;
    const int32_t *table = blocks + tables[r];
    for (size_t h = 0; h < heads; h++) {
      size_t kv = h / group;
      const float *restrict q = query + (r * heads + h) * head;
      float *restrict o = out + (r * heads + h) * head;
      float top = -INFINITY, total = 0;
      for (size_t d = 0; d < head; d++) o[d] = 0;
      // Blocks that lie wholly in front of the window are not read; a block that is read has a visible token.
      for (size_t start = begin / PK_KV_BLOCK * PK_KV_BLOCK; start < length; start += PK_KV_BLOCK) {
        size_t count = length - start < PK_KV_BLOCK ? length - start : PK_KV_BLOCK;
        size_t hidden = begin > start ? begin - start : 0;
        size_t at = ((size_t)table[start / PK_KV_BLOCK] * kv_heads + kv) * head * PK_KV_BLOCK;
        const float *restrict k = keys + at;
        const float *restrict v = values + at;
        float score[PK_KV_BLOCK] = {0};
        for (size_t d = 0; d < head; d++)
          for (int t = 0; t < PK_KV_BLOCK; t++) score[t] += q[d] * k[d * PK_KV_BLOCK + t];
        float highest = top;
        for (size_t t = hidden; t < count; t++) {
          score[t] *= scale;
          score[t] = tanhf(score[t] / soft_cap) * soft_cap;
          highest = score[t] > highest ? score[t] : highest;
        }
        float keep = expf(top - highest);
        total *= keep;
        top = highest;
        for (size_t d = 0; d < head; d++) o[d] *= keep;
        for (size_t t = hidden; t < count; t++) {
          float p = expf(score[t] - highest);
          total += p;
          for (size_t d = 0; d < head; d++) o[d] += p * v[t * head + d];
        }
      }
      float inverse = 1.0f / total;
      for (size_t d = 0; d < head; d++) o[d] *= inverse;
    }
  }
}
