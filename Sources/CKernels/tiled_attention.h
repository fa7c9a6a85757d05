// SPDX-License-Identifier: Apache-2.0
// What the kernels of paged attention share. Private to this target.
#pragma once
#include "common.h"
#include "include/pk_attention.h"
#include "include/pk_decode.h"

#define ATTENTION_PARAMETERS                                                                                                            \
  const pk_kv_cache *cache, const pk_attention_plan *plan, const float *query, const int32_t *lengths, const int64_t *tables,           \
      const int32_t *blocks, float *out, size_t first, size_t last, size_t first_head, size_t last_head
#define ATTENTION_ARGUMENTS cache, plan, query, lengths, tables, blocks, out, first, last, first_head, last_head

// `pk_paged_attention` for machines with AVX-512.
void attention512(ATTENTION_PARAMETERS);

// A block of one kv head.
struct kv_block {
  const void *keys;           // [head][16]
  const void *values;         // [16][head]
  const float *key_scales;    // [16], in 8 bits only
  const float *value_scales;  // [16], in 8 bits only
};

PK_INLINE struct kv_block kv_block(const int type, const pk_kv_cache *cache, size_t block, size_t kv) {
  const size_t at = (block * cache->kv_heads + kv) * PK_KV_BLOCK, size = type == PK_KV_I8 ? 1 : type == PK_KV_BF16 ? 2 : 4;
  struct kv_block found = {(const char *)cache->keys + at * cache->head * size, (const char *)cache->values + at * cache->head * size, NULL, NULL};
  if (type == PK_KV_I8) {
    found.key_scales = cache->key_scales + at;
    found.value_scales = cache->value_scales + at;
  }
  return found;
}
