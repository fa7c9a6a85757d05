// SPDX-License-Identifier: Apache-2.0
//
// Attention over a paged cache with blocks of 16 tokens. Keys lie transposed inside a block ([head][16]), so that one
// vector lane is one token and scores need no horizontal sums; values lie as [16][head]. Online softmax (Milakov and
// Gimelshein, 2018; Dao et al., 2022) goes block by block in position order, one chain per (row, head).
#include "common.h"
#include "decode_exp.h"
#include "half.h"
#include "tiled_attention.h"

// Number `i` of stored keys or values; type is a constant at every call.
PK_INLINE float number(const int type, const void *stored, size_t i) {
  switch (type) {
    case PK_KV_BF16: return bf16_bits_to_float(((const uint16_t *)stored)[i]);
    case PK_KV_I8: return (float)((const int8_t *)stored)[i];
    default: return ((const float *)stored)[i];
  }
}

// Products of a query with a block's keys become weights of its values, relative to the largest score so far, which is brought up to date with the sum
// of weights; answers what to multiply earlier sums with.
PK_INLINE float settle(const int type, const pk_attention_plan *plan, struct kv_block at, float *restrict score, size_t hidden, size_t count, float *top,
                       float *total) {
  float highest = *top;
  for (size_t t = 0; t < PK_KV_BLOCK; t++) {
    float raw = score[t];
    if (type == PK_KV_I8) raw *= at.key_scales[t];
    raw *= plan->scale;
    if (plan->soft_cap > 0) raw = plan->soft_cap * pk_tanh1(raw / plan->soft_cap);
    score[t] = t >= hidden && t < count ? raw : -INFINITY;
    highest = score[t] > highest ? score[t] : highest;
  }
  const float keep = pk_exp1(*top - highest);
  for (size_t t = 0; t < PK_KV_BLOCK; t++) {
    const float e = pk_exp1(score[t] - highest);
    score[t] = t >= hidden && t < count ? e : 0;
  }
  float sum[PK_KV_BLOCK];
  memcpy(sum, score, sizeof sum);
  for (int width = PK_KV_BLOCK / 2; width > 0; width /= 2)
    for (int t = 0; t < width; t++) sum[t] += sum[t + width];
  *total = *total * keep + sum[0];
  *top = highest;
  if (type == PK_KV_I8)
    for (size_t t = 0; t < PK_KV_BLOCK; t++) score[t] *= at.value_scales[t];
  return keep;
}

PK_INLINE void prefetch(const int type, struct kv_block block, size_t head) {
  const size_t bytes = head * PK_KV_BLOCK * (type == PK_KV_I8 ? 1 : type == PK_KV_BF16 ? 2 : 4);
  for (size_t line = 0; line < bytes; line += 64) {
    __builtin_prefetch((const char *)block.keys + line, 0, 2);
    __builtin_prefetch((const char *)block.values + line, 0, 2);
  }
}

// A block's part in one row and head: scores: [16] products of the query with its keys; then out = out * keep + weights * values.
PK_INLINE void products(const int type, const float *restrict q, struct kv_block at, size_t head, float *restrict score) {
  float part[4][PK_KV_BLOCK] = {{0}};
  size_t d = 0;
  for (; d + 4 <= head; d += 4)
    for (size_t i = 0; i < 4; i++)
      for (size_t t = 0; t < PK_KV_BLOCK; t++) part[i][t] += q[d + i] * number(type, at.keys, (d + i) * PK_KV_BLOCK + t);
  for (; d < head; d++)
    for (size_t t = 0; t < PK_KV_BLOCK; t++) part[0][t] += q[d] * number(type, at.keys, d * PK_KV_BLOCK + t);
  for (size_t t = 0; t < PK_KV_BLOCK; t++) score[t] = (part[0][t] + part[1][t]) + (part[2][t] + part[3][t]);
}

PK_INLINE void blend(const int type, const float *restrict weight, struct kv_block at, size_t head, size_t hidden, size_t count, float keep,
                     size_t from, float *restrict o) {
  for (size_t d = from; d < head; d++) o[d] *= keep;
  // Other lanes hold whatever the block's last owner left, so they are not touched.
  for (size_t t = hidden; t < count; t++)
    for (size_t d = from; d < head; d++) o[d] += weight[t] * number(type, at.values, t * head + d);
}

#if PK_X86
// 8 numbers from `i` on.
PK_AVX2 PK_INLINE __m256 numbers256(const int type, const void *stored, size_t i) {
  switch (type) {
    case PK_KV_BF16: {
      const __m128i bits = _mm_loadu_si128((const __m128i *)(const void *)((const uint16_t *)stored + i));
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    }
    case PK_KV_I8: return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)((const int8_t *)stored + i))));
    default: return _mm256_loadu_ps((const float *)stored + i);
  }
}

PK_AVX2 PK_INLINE void products256(const int type, const float *q, struct kv_block at, size_t head, float *score) {
  __m256 part[4][2];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) part[i][0] = part[i][1] = _mm256_setzero_ps();
  size_t d = 0;
  for (; d + 4 <= head; d += 4)
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
      const __m256 one = _mm256_set1_ps(q[d + (size_t)i]);
      const size_t place = (d + (size_t)i) * PK_KV_BLOCK;
      part[i][0] = _mm256_fmadd_ps(one, numbers256(type, at.keys, place), part[i][0]);
      part[i][1] = _mm256_fmadd_ps(one, numbers256(type, at.keys, place + 8), part[i][1]);
    }
  for (; d < head; d++) {
    const __m256 one = _mm256_set1_ps(q[d]);
    part[0][0] = _mm256_fmadd_ps(one, numbers256(type, at.keys, d * PK_KV_BLOCK), part[0][0]);
    part[0][1] = _mm256_fmadd_ps(one, numbers256(type, at.keys, d * PK_KV_BLOCK + 8), part[0][1]);
  }
#pragma clang loop unroll(full)
  for (int h = 0; h < 2; h++)
    _mm256_storeu_ps(score + 8 * h, _mm256_add_ps(_mm256_add_ps(part[0][h], part[1][h]), _mm256_add_ps(part[2][h], part[3][h])));
}

PK_AVX2 PK_INLINE void blend256(const int type, const float *weight, struct kv_block at, size_t head, size_t hidden, size_t count, float keep, float *o) {
  size_t d = 0;
  for (; d + 64 <= head; d += 64) {
    __m256 sum[8];
#pragma clang loop unroll(full)
    for (int c = 0; c < 8; c++) sum[c] = _mm256_mul_ps(_mm256_loadu_ps(o + d + 8 * c), _mm256_set1_ps(keep));
    for (size_t t = hidden; t < count; t++) {
      const __m256 one = _mm256_set1_ps(weight[t]);
#pragma clang loop unroll(full)
      for (int c = 0; c < 8; c++) sum[c] = _mm256_fmadd_ps(one, numbers256(type, at.values, t * head + d + 8 * (size_t)c), sum[c]);
    }
#pragma clang loop unroll(full)
    for (int c = 0; c < 8; c++) _mm256_storeu_ps(o + d + 8 * c, sum[c]);
  }
  for (; d + 8 <= head; d += 8) {
    __m256 sum = _mm256_mul_ps(_mm256_loadu_ps(o + d), _mm256_set1_ps(keep));
    for (size_t t = hidden; t < count; t++) sum = _mm256_fmadd_ps(_mm256_set1_ps(weight[t]), numbers256(type, at.values, t * head + d), sum);
    _mm256_storeu_ps(o + d, sum);
  }
  blend(type, weight, at, head, hidden, count, keep, d, o);
}

// For a type that is not a constant.
PK_AVX2 static void products_avx2(int type, const float *q, struct kv_block at, size_t head, float *score) {
  switch (type) {
    case PK_KV_BF16: products256(PK_KV_BF16, q, at, head, score); break;
    case PK_KV_I8: products256(PK_KV_I8, q, at, head, score); break;
    default: products256(PK_KV_F32, q, at, head, score); break;
  }
}

PK_AVX2 static void blend_avx2(int type, const float *weight, struct kv_block at, size_t head, size_t hidden, size_t count, float keep, float *o) {
  switch (type) {
    case PK_KV_BF16: blend256(PK_KV_BF16, weight, at, head, hidden, count, keep, o); break;
    case PK_KV_I8: blend256(PK_KV_I8, weight, at, head, hidden, count, keep, o); break;
    default: blend256(PK_KV_F32, weight, at, head, hidden, count, keep, o); break;
  }
}
#else
#define products_avx2 products
#define blend_avx2(type, weight, at, head, hidden, count, keep, o) blend(type, weight, at, head, hidden, count, keep, 0, o)
#endif

// One row and head. The same order of every sum as in `attention512`, so that machines with fused multiplication give the same bits, whatever their width.
PK_INLINE void chain(const bool is_wide, const int type, const pk_kv_cache *cache, const pk_attention_plan *plan, const float *restrict q,
                     float *restrict o, size_t kv, size_t length, const int32_t *table) {
  const size_t head = cache->head, begin = length > plan->window ? length - plan->window : 0;
  float top = -INFINITY, total = 0;
  for (size_t d = 0; d < head; d++) o[d] = 0;
  // Blocks that lie wholly in front of the window are not read; a block that is read has a visible token.
  for (size_t start = begin / PK_KV_BLOCK * PK_KV_BLOCK; start < length; start += PK_KV_BLOCK) {
    const size_t count = length - start < PK_KV_BLOCK ? length - start : PK_KV_BLOCK;
    const size_t hidden = begin > start ? begin - start : 0;
    const struct kv_block at = kv_block(type, cache, (size_t)table[start / PK_KV_BLOCK], kv);
    // Blocks lie anywhere, and the machine cannot guess where: the next one is asked for from the memory meanwhile.
    if (start + PK_KV_BLOCK < length) prefetch(type, kv_block(type, cache, (size_t)table[start / PK_KV_BLOCK + 1], kv), head);
    float score[PK_KV_BLOCK];
    if (is_wide) products_avx2(type, q, at, head, score);
    else products(type, q, at, head, score);
    const float keep = settle(type, plan, at, score, hidden, count, &top, &total);
    if (is_wide) blend_avx2(type, score, at, head, hidden, count, keep, o);
    else blend(type, score, at, head, hidden, count, keep, 0, o);
  }
  const float inverse = 1.0f / total;
  for (size_t d = 0; d < head; d++) o[d] *= inverse;
}

PK_INLINE void chains(const bool is_wide, ATTENTION_PARAMETERS) {
  const size_t group = plan->heads / cache->kv_heads;
  for (size_t r = first; r < last; r++)
    for (size_t h = first_head * group; h < last_head * group; h++) {
      const size_t at = (r * plan->heads + h) * cache->head, length = (size_t)lengths[r];
      const int32_t *table = blocks + tables[r];
      switch (cache->type) {
        case PK_KV_BF16: chain(is_wide, PK_KV_BF16, cache, plan, query + at, out + at, h / group, length, table); break;
        case PK_KV_I8: chain(is_wide, PK_KV_I8, cache, plan, query + at, out + at, h / group, length, table); break;
        default: chain(is_wide, PK_KV_F32, cache, plan, query + at, out + at, h / group, length, table); break;
      }
    }
}

static void attention_generic(ATTENTION_PARAMETERS) { chains(false, ATTENTION_ARGUMENTS); }
#if PK_X86
PK_AVX2 static void attention_avx2(ATTENTION_PARAMETERS) { chains(true, ATTENTION_ARGUMENTS); }
#endif

void pk_paged_attention(int isa, ATTENTION_PARAMETERS) {
#if PK_X86
  if (isa == PK_ISA_AVX512) {
    attention512(ATTENTION_ARGUMENTS);
    return;
  }
  if (isa == PK_ISA_AVX2) {
    attention_avx2(ATTENTION_ARGUMENTS);
    return;
  }
#else
  (void)isa;
#endif
  attention_generic(ATTENTION_ARGUMENTS);
}
