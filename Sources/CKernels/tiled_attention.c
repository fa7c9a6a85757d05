// SPDX-License-Identifier: Apache-2.0
//
// Attention over a paged cache for several queries at once. Heads that share a key head, and rows of one sequence that lie side by side, read a
// block of keys and values together; each query has a chain of its own, whose order depends on its own position alone, so that its numbers are
// the same bits in any company.
#include "tiled_attention.h"

#if PK_X86
enum {
  MOST = 4,    // queries that go through a block together
  CHUNK = 64,  // outputs whose sums are held in registers
};

// One query: what it has seen so far.
struct chain {
  const float *query;
  float *out;     // weighted sum of values, relative to `top`
  float top;
  float total;
};

// The exponential of `decode_exp.h`.
PK_AVX512 PK_INLINE __m512 exp512(__m512 x) {
  const __m512 clamped = _mm512_min_ps(_mm512_set1_ps(88.0f), _mm512_max_ps(_mm512_set1_ps(-87.0f), x));
  const __m512 magic = _mm512_set1_ps(12582912.0f);
  const __m512 shifted = _mm512_fmadd_ps(clamped, _mm512_set1_ps(1.44269504088896341f), magic);
  const __m512 whole = _mm512_sub_ps(shifted, magic);
  __m512 r = _mm512_fnmadd_ps(whole, _mm512_set1_ps(0.693359375f), clamped);
  r = _mm512_fnmadd_ps(whole, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.0f / 720.0f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  const __m512i power = _mm512_slli_epi32(_mm512_add_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(127)), 23);
  // What is far below is 0; what is no number stays none.
  const __mmask16 is_seen = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.0f), _CMP_NLT_UQ);
  return _mm512_maskz_mul_ps(is_seen, p, _mm512_castsi512_ps(power));
}

// The sum of all lanes: halves, quarters, ..
PK_AVX512 PK_INLINE float total512(__m512 x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// cap * tanh(x / cap) by the exponential above, as `pk_tanh1`.
PK_AVX512 PK_INLINE __m512 capped512(__m512 x, float cap) {
  const __m512 twice = _mm512_mul_ps(_mm512_set1_ps(2), _mm512_div_ps(x, _mm512_set1_ps(cap)));
  const __m512 rest = _mm512_div_ps(_mm512_set1_ps(2), _mm512_add_ps(exp512(twice), _mm512_set1_ps(1)));
  return _mm512_mul_ps(_mm512_set1_ps(cap), _mm512_sub_ps(_mm512_set1_ps(1), rest));
}

// 16 numbers from `i` on, of those that `mask` names; type is a constant at every call.
PK_AVX512 PK_INLINE __m512 numbers512(const int type, const void *stored, size_t i, __mmask16 mask) {
  switch (type) {
    case PK_KV_BF16:
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)stored + i)), 16));
    case PK_KV_I8: return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, (const int8_t *)stored + i)));
    default: return _mm512_maskz_loadu_ps(mask, (const float *)stored + i);
  }
}

// n queries and the tokens [hidden, count) of a block, which are the same for all; type and n are constants at every call. `next`, which is as
// large, is asked for from the memory meanwhile: blocks lie anywhere, and the machine cannot guess where.
PK_AVX512 PK_INLINE void block512(const int type, const int n, struct chain *chains, struct kv_block at, struct kv_block next, size_t head,
                                  const pk_attention_plan *plan, size_t hidden, size_t count) {
  const size_t size = type == PK_KV_I8 ? 1 : type == PK_KV_BF16 ? 2 : 4;
  const __mmask16 visible = (__mmask16)((count >= 16 ? 0xFFFFu : (1u << count) - 1) & ~((1u << hidden) - 1));
  __m512 sum[MOST][4];
#pragma clang loop unroll(full)
  for (int i = 0; i < n; i++)
#pragma clang loop unroll(full)
    for (int part = 0; part < 4; part++) sum[i][part] = _mm512_setzero_ps();
  if (type == PK_KV_I8) {
    __builtin_prefetch(next.key_scales);
    __builtin_prefetch(next.value_scales);
  }
  size_t d = 0;
  for (; d + 4 <= head; d += 4)
#pragma clang loop unroll(full)
    for (int part = 0; part < 4; part++) {
      if ((size_t)part * PK_KV_BLOCK * size % 64 == 0) {
        const size_t line = (d + (size_t)part) * PK_KV_BLOCK * size;
        __builtin_prefetch((const char *)next.keys + line, 0, 2);
        __builtin_prefetch((const char *)next.values + line, 0, 2);
      }
      const __m512 key = numbers512(type, at.keys, (d + (size_t)part) * PK_KV_BLOCK, 0xFFFF);
#pragma clang loop unroll(full)
      for (int i = 0; i < n; i++) sum[i][part] = _mm512_fmadd_ps(_mm512_set1_ps(chains[i].query[d + (size_t)part]), key, sum[i][part]);
    }
  for (; d < head; d++) {
    const __m512 key = numbers512(type, at.keys, d * PK_KV_BLOCK, 0xFFFF);
#pragma clang loop unroll(full)
    for (int i = 0; i < n; i++) sum[i][0] = _mm512_fmadd_ps(_mm512_set1_ps(chains[i].query[d]), key, sum[i][0]);
  }
  float weight[MOST][PK_KV_BLOCK], keep[MOST];
#pragma clang loop unroll(full)
  for (int i = 0; i < n; i++) {
    __m512 raw = _mm512_add_ps(_mm512_add_ps(sum[i][0], sum[i][1]), _mm512_add_ps(sum[i][2], sum[i][3]));
    if (type == PK_KV_I8) raw = _mm512_mul_ps(raw, _mm512_loadu_ps(at.key_scales));
    raw = _mm512_mul_ps(raw, _mm512_set1_ps(plan->scale));
    if (plan->soft_cap > 0) raw = capped512(raw, plan->soft_cap);
    const __m512 score = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), visible, raw);
    const float highest = fmaxf(chains[i].top, _mm512_reduce_max_ps(score));
    const __m512 e = _mm512_maskz_mov_ps(visible, exp512(_mm512_sub_ps(score, _mm512_set1_ps(highest))));
    keep[i] = _mm512_cvtss_f32(exp512(_mm512_set1_ps(chains[i].top - highest)));
    chains[i].total = chains[i].total * keep[i] + total512(e);
    chains[i].top = highest;
    _mm512_storeu_ps(weight[i], type == PK_KV_I8 ? _mm512_mul_ps(e, _mm512_loadu_ps(at.value_scales)) : e);
  }
  for (size_t start = 0; start < head; start += CHUNK) {
    const size_t wide = head - start < CHUNK ? head - start : CHUNK;
    __mmask16 mask[4];
    __m512 o[MOST][4];
#pragma clang loop unroll(full)
    for (int c = 0; c < 4; c++) {
      const size_t place = (size_t)c * 16;
      mask[c] = wide >= place + 16 ? 0xFFFF : wide > place ? (__mmask16)((1u << (wide - place)) - 1) : 0;
#pragma clang loop unroll(full)
      for (int i = 0; i < n; i++)
        o[i][c] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask[c], chains[i].out + start + place), _mm512_set1_ps(keep[i]));
    }
    // Tokens that nobody sees hold whatever the block's last owner left, so they are not touched.
    for (size_t t = hidden; t < count; t++) {
      __m512 v[4];
#pragma clang loop unroll(full)
      for (int c = 0; c < 4; c++) v[c] = numbers512(type, at.values, t * head + start + (size_t)c * 16, mask[c]);
#pragma clang loop unroll(full)
      for (int i = 0; i < n; i++) {
        const __m512 p = _mm512_set1_ps(weight[i][t]);
#pragma clang loop unroll(full)
        for (int c = 0; c < 4; c++) o[i][c] = _mm512_fmadd_ps(p, v[c], o[i][c]);
      }
    }
#pragma clang loop unroll(full)
    for (int c = 0; c < 4; c++)
#pragma clang loop unroll(full)
      for (int i = 0; i < n; i++) _mm512_mask_storeu_ps(chains[i].out + start + (size_t)c * 16, mask[c], o[i][c]);
  }
}

// The same for a type that is not a constant.
PK_AVX512 static void block(int type, int n, struct chain *chains, struct kv_block at, struct kv_block next, size_t head,
                            const pk_attention_plan *plan, size_t hidden, size_t count) {
#define COUNTS(type)                                                                   \
  switch (n) {                                                                         \
    case 1: block512(type, 1, chains, at, next, head, plan, hidden, count); break;           \
    case 2: block512(type, 2, chains, at, next, head, plan, hidden, count); break;           \
    case 3: block512(type, 3, chains, at, next, head, plan, hidden, count); break;           \
    default: block512(type, 4, chains, at, next, head, plan, hidden, count); break;          \
  }
  switch (type) {
    case PK_KV_BF16: COUNTS(PK_KV_BF16); break;
    case PK_KV_I8: COUNTS(PK_KV_I8); break;
    default: COUNTS(PK_KV_F32); break;
  }
#undef COUNTS
}

// The tokens [hidden, count) of the block at `start` that a row of `length` tokens sees through its window.
static void seen(size_t start, size_t length, size_t window, size_t *hidden, size_t *count) {
  const size_t begin = length > window ? length - window : 0;
  const size_t after = length > start ? length - start : 0;
  *count = after < PK_KV_BLOCK ? after : PK_KV_BLOCK;
  *hidden = begin > start ? begin - start : 0;
  if (*hidden > *count) *hidden = *count;
}

void attention512(ATTENTION_PARAMETERS) {
  const size_t heads = plan->heads, kv_heads = cache->kv_heads, head = cache->head, window = plan->window;
  const size_t group = heads / kv_heads;
  for (size_t r = first; r < last;) {
    // Rows of one sequence, as many as it takes to fill a tile with the heads of a group.
    size_t rows = 1;
    while (rows * group < 2 * MOST && r + rows < last && tables[r + rows] == tables[r]) rows++;
    size_t longest = 0, begin = SIZE_MAX;
    for (size_t i = 0; i < rows; i++) {
      const size_t length = (size_t)lengths[r + i], from = length > window ? length - window : 0;
      if (length > longest) longest = length;
      if (from < begin) begin = from;
    }
    for (size_t kv = first_head; kv < last_head; kv++)
      for (size_t place = 0; place < rows * group; place += MOST) {
        const int n = (int)(rows * group - place < MOST ? rows * group - place : MOST);
        struct chain chains[MOST];
        size_t length[MOST];
        for (int i = 0; i < n; i++) {
          const size_t row = r + (place + (size_t)i) / group, h = kv * group + (place + (size_t)i) % group;
          const size_t at = (row * heads + h) * head;
          chains[i] = (struct chain){query + at, out + at, -INFINITY, 0};
          length[i] = (size_t)lengths[row];
          memset(out + at, 0, head * 4);
        }
        for (size_t start = begin / PK_KV_BLOCK * PK_KV_BLOCK; start < longest; start += PK_KV_BLOCK) {
          const struct kv_block at = kv_block(cache->type, cache, (size_t)blocks[tables[r] + (int64_t)(start / PK_KV_BLOCK)], kv);
          struct kv_block next = at;
          if (start + PK_KV_BLOCK < longest)
            next = kv_block(cache->type, cache, (size_t)blocks[tables[r] + (int64_t)(start / PK_KV_BLOCK) + 1], kv);
          else if (kv + 1 < last_head)
            next = kv_block(cache->type, cache, (size_t)blocks[tables[r] + (int64_t)(begin / PK_KV_BLOCK)], kv + 1);
          else if (r + rows < last)
            next = kv_block(cache->type, cache, (size_t)blocks[tables[r + rows]], first_head);
          size_t hidden[MOST], count[MOST];
          bool together = true;
          for (int i = 0; i < n; i++) {
            seen(start, length[i], window, &hidden[i], &count[i]);
            if (hidden[i] != hidden[0] || count[i] != count[0]) together = false;
          }
          if (together) {
            if (hidden[0] < count[0]) block(cache->type, n, chains, at, next, head, plan, hidden[0], count[0]);
            continue;
          }
          for (int i = 0; i < n; i++)
            if (hidden[i] < count[i]) block(cache->type, 1, chains + i, at, next, head, plan, hidden[i], count[i]);
        }
        for (int i = 0; i < n; i++) {
          const float inverse = 1.0f / chains[i].total;
          for (size_t d = 0; d < head; d++) chains[i].out[d] *= inverse;
        }
      }
    r += rows;
  }
}
#endif
