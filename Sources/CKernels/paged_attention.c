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

PK_INLINE void prefetch(const int type, struct kv_block block, size_t head) {
  const size_t bytes = head * PK_KV_BLOCK * (type == PK_KV_I8 ? 1 : type == PK_KV_BF16 ? 2 : 4);
  for (size_t line = 0; line < bytes; line += 64) {
    __builtin_prefetch((const char *)block.keys + line, 0, 2);
    __builtin_prefetch((const char *)block.values + line, 0, 2);
  }
}

// One row and head. The same order of every sum as in `attention512`, so that machines with fused multiplication give the same bits, whatever their width.
PK_INLINE void chain(const int type, const pk_kv_cache *cache, const pk_attention_plan *plan, const float *restrict q, float *restrict o,
                     size_t kv, size_t length, const int32_t *table) {
  const size_t head = cache->head, begin = length > plan->window ? length - plan->window : 0;
  const float scale = plan->scale, cap = plan->soft_cap;
  float top = -INFINITY, total = 0;
  for (size_t d = 0; d < head; d++) o[d] = 0;
  // Blocks that lie wholly in front of the window are not read; a block that is read has a visible token.
  for (size_t start = begin / PK_KV_BLOCK * PK_KV_BLOCK; start < length; start += PK_KV_BLOCK) {
    const size_t count = length - start < PK_KV_BLOCK ? length - start : PK_KV_BLOCK;
    const size_t hidden = begin > start ? begin - start : 0;
    const struct kv_block at = kv_block(type, cache, (size_t)table[start / PK_KV_BLOCK], kv);
    // Blocks lie anywhere, and the machine cannot guess where: the next one is asked for from the memory meanwhile.
    if (start + PK_KV_BLOCK < length) prefetch(type, kv_block(type, cache, (size_t)table[start / PK_KV_BLOCK + 1], kv), head);
    float part[4][PK_KV_BLOCK] = {{0}}, score[PK_KV_BLOCK];
    size_t d = 0;
    for (; d + 4 <= head; d += 4)
      for (size_t i = 0; i < 4; i++)
        for (size_t t = 0; t < PK_KV_BLOCK; t++) part[i][t] += q[d + i] * number(type, at.keys, (d + i) * PK_KV_BLOCK + t);
    for (; d < head; d++)
      for (size_t t = 0; t < PK_KV_BLOCK; t++) part[0][t] += q[d] * number(type, at.keys, d * PK_KV_BLOCK + t);
    float highest = top;
    for (size_t t = 0; t < PK_KV_BLOCK; t++) {
      float raw = (part[0][t] + part[1][t]) + (part[2][t] + part[3][t]);
      if (type == PK_KV_I8) raw *= at.key_scales[t];
      raw *= scale;
      if (cap > 0) raw = cap * pk_tanh1(raw / cap);
      score[t] = t >= hidden && t < count ? raw : -INFINITY;
      highest = score[t] > highest ? score[t] : highest;
    }
    const float keep = pk_exp1(top - highest);
    for (size_t t = 0; t < PK_KV_BLOCK; t++) {
      const float e = pk_exp1(score[t] - highest);
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
      const float p = type == PK_KV_I8 ? score[t] * at.value_scales[t] : score[t];
      for (d = 0; d < head; d++) o[d] += p * number(type, at.values, t * head + d);
    }
  }
  const float inverse = 1.0f / total;
  for (size_t d = 0; d < head; d++) o[d] *= inverse;
}

PK_INLINE void chains(ATTENTION_PARAMETERS) {
  const size_t group = plan->heads / cache->kv_heads;
  for (size_t r = first; r < last; r++)
    for (size_t h = first_head * group; h < last_head * group; h++) {
      const size_t at = (r * plan->heads + h) * cache->head, length = (size_t)lengths[r];
      const int32_t *table = blocks + tables[r];
      switch (cache->type) {
        case PK_KV_BF16: chain(PK_KV_BF16, cache, plan, query + at, out + at, h / group, length, table); break;
        case PK_KV_I8: chain(PK_KV_I8, cache, plan, query + at, out + at, h / group, length, table); break;
        default: chain(PK_KV_F32, cache, plan, query + at, out + at, h / group, length, table); break;
      }
    }
}

static void attention_generic(ATTENTION_PARAMETERS) { chains(ATTENTION_ARGUMENTS); }
#if PK_X86
PK_AVX2 static void attention_avx2(ATTENTION_PARAMETERS) { chains(ATTENTION_ARGUMENTS); }
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
