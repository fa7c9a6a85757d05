// SPDX-License-Identifier: Apache-2.0
// Private to this target.
#pragma once
#include <stddef.h>
#include <stdint.h>

// `pk_paged_attention_windowed` without a cap of scores, for machines with AVX-512; a window of SIZE_MAX sees everything.
void attention512(const float *query, const float *keys, const float *values, const int32_t *lengths, const int64_t *tables,
                  const int32_t *blocks, float *out, size_t heads, size_t kv_heads, size_t head, float scale, size_t window,
                  size_t first, size_t last);
