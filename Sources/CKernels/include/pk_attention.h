// SPDX-License-Identifier: Apache-2.0
//
// The paged cache of keys and values, and causal attention over it. What a row gets depends on its own sequence only, bit for bit.
#ifndef PK_ATTENTION_H
#define PK_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Tokens of a block of keys and values.
enum { PK_KV_BLOCK = 16 };
/// How keys and values are stored: as they are; rounded to bf16; in 8 bits with an f32 scale for each token and head, which is its largest
/// magnitude / 127.
enum { PK_KV_F32 = 0, PK_KV_BF16 = 1, PK_KV_I8 = 2 };

/// The cache of one layer. keys: [blocks, kv_heads, head, 16], transposed, so that a vector's lanes are tokens; values: [blocks, kv_heads, 16, head];
/// both of `type`. Scales: [blocks, kv_heads, 16], of PK_KV_I8 only.
typedef struct {
  int32_t type;
  size_t kv_heads;
  size_t head;
  void *_Nonnull keys;
  void *_Nonnull values;
  float *_Nullable key_scales;
  float *_Nullable value_scales;
} pk_kv_cache;

/// What is done with scores. Of `heads` query heads, a multiple of kv_heads, each kv head has its share in order.
typedef struct {
  size_t heads;
  /// Scores are multiplied with it ..
  float scale;
  /// .. and replaced by soft_cap * tanh(score / soft_cap) when this is above 0.
  float soft_cap;
  /// How many of its last tokens a row sees, its own among them: at least 1; SIZE_MAX for all.
  size_t window;
} pk_attention_plan;

/// Stores keys and values of a step. key, value: [rows, kv_heads, head]; slots[row] = block * 16 + offset within the block.
/// In 8 bits, what is not finite makes all numbers of its token and head NaN.
void pk_kv_store(const pk_kv_cache *_Nonnull cache, const float *_Nonnull key, const float *_Nonnull value, const int64_t *_Nonnull slots,
                 size_t rows);

/// Attention of the rows [first, last) and the kv heads [first_head, last_head), online softmax block by block in position order.
/// query, out: [rows, heads, head]; lengths[row]: tokens up to the row's own; tables[row]: offset of its block list in `blocks`.
void pk_paged_attention(int isa, const pk_kv_cache *_Nonnull cache, const pk_attention_plan *_Nonnull plan, const float *_Nonnull query,
                        const int32_t *_Nonnull lengths, const int64_t *_Nonnull tables, const int32_t *_Nonnull blocks,
                        float *_Nonnull out, size_t first, size_t last, size_t first_head, size_t last_head);

#ifdef __cplusplus
}
#endif
#endif
