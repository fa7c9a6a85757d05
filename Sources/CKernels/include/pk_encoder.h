// SPDX-License-Identifier: Apache-2.0
// Kernels of text encoders and vector search, and conversions of stored weights. Nothing here allocates or keeps state,
// except the test override of the instruction set. Pointers need no alignment; `restrict` arguments must not overlap.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define PK_RESTRICT
extern "C" {
#else
#define PK_RESTRICT restrict
#endif

/// Instruction set for the kernels of this header: 0 generic, 1 AVX2, 2 AVX-512; a level that the machine lacks is
/// lowered to what it has; -1 gives the choice back. For tests only: not synchronised with running kernels.
void pk_encoder_set_isa(int32_t level);
/// The level in use.
int32_t pk_encoder_isa(void);

// Conversions. source: [count] little-endian, any alignment; out: [count] f32.
void pk_f16_to_f32(const void *PK_RESTRICT source, float *PK_RESTRICT out, ptrdiff_t count);
void pk_bf16_to_f32(const void *PK_RESTRICT source, float *PK_RESTRICT out, ptrdiff_t count);
void pk_f64_to_f32(const void *PK_RESTRICT source, float *PK_RESTRICT out, ptrdiff_t count);

/// Sum of a[i] * b[i]; f32 with 16 or more partial sums. 2 * count flops.
float pk_dot_f32(const float *PK_RESTRICT a, const float *PK_RESTRICT b, ptrdiff_t count);
/// Sum of (a[i] - b[i])^2.
float pk_l2sq_f32(const float *PK_RESTRICT a, const float *PK_RESTRICT b, ptrdiff_t count);
typedef float (*pk_pair_f32)(const float *PK_RESTRICT a, const float *PK_RESTRICT b, ptrdiff_t count);
/// pk_dot_f32 / pk_l2sq_f32 for this machine without the dispatch, for callers of many short pairs.
pk_pair_f32 pk_dot_f32_function(void);
pk_pair_f32 pk_l2sq_f32_function(void);
/// out[r] = 1 - dot(query, base[r]) when l2 is 0, else the squared distance. base: [rows, width].
void pk_scan_f32(const float *PK_RESTRICT query, const float *PK_RESTRICT base, float *PK_RESTRICT out, ptrdiff_t rows,
                 ptrdiff_t width, int32_t l2);
/// Scales v: [count] to Euclidean length 1; returns the old length. Lengths below 1e-12 divide by 1e-12, as PyTorch does.
float pk_normalize_f32(float *v, ptrdiff_t count);

/// x[r][c] += bias[c]; x: [rows, columns].
void pk_bias_add_f32(float *PK_RESTRICT x, const float *PK_RESTRICT bias, ptrdiff_t rows, ptrdiff_t columns);
/// x[r][c] = gelu(x[r][c] + bias[c]); gelu(v) = v * (1 + erf(v / sqrt 2)) / 2, absolute error below 5e-7 * (1 + |v|).
void pk_bias_gelu_erf_f32(float *PK_RESTRICT x, const float *PK_RESTRICT bias, ptrdiff_t rows, ptrdiff_t columns);
/// The tanh approximation (gelu_new, gelu_pytorch_tanh) in the same form.
void pk_bias_gelu_tanh_f32(float *PK_RESTRICT x, const float *PK_RESTRICT bias, ptrdiff_t rows, ptrdiff_t columns);
/// x[r][c] = max(0, x[r][c] + bias[c]).
void pk_bias_relu_f32(float *PK_RESTRICT x, const float *PK_RESTRICT bias, ptrdiff_t rows, ptrdiff_t columns);

/// Layer normalisation of rows: x = (x - mean) / sqrt(var + epsilon) * gain + shift, after adding, when they are not
/// null, bias[c] and residual[r][c]. x, residual: [rows, columns]; sums in f32 lanes, two passes.
void pk_layernorm_f32(float *PK_RESTRICT x, const float *PK_RESTRICT bias, const float *PK_RESTRICT residual,
                      const float *PK_RESTRICT gain, const float *PK_RESTRICT shift, float epsilon, ptrdiff_t rows,
                      ptrdiff_t columns);
/// Softmax of scale * x over each row, in place; x: [rows, columns] with `stride` floats from row to row.
void pk_softmax_rows_f32(float *x, float scale, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride);

/// Attention of one head inside one text, to both sides: out = softmax(scale * query * key^T) * value. query, key, value, out: [count, size] with
/// `stride` floats from row to row; size is a multiple of 16; scratch: as many floats as `pk_text_attention_scratch` says.
void pk_text_attention_f32(const float *query, const float *key, const float *value, ptrdiff_t stride, float *out, ptrdiff_t count, ptrdiff_t size,
                           float scale, float *scratch);
/// The same with queries, keys, values and weights rounded to bf16 where the machine multiplies pairs of such numbers (AVX512_BF16), elsewhere as they are;
/// sums are f32.
void pk_text_attention_bf16(const float *query, const float *key, const float *value, ptrdiff_t stride, float *out, ptrdiff_t count, ptrdiff_t size,
                            float scale, float *scratch);
ptrdiff_t pk_text_attention_scratch(ptrdiff_t count, ptrdiff_t size);

/// out[t] = word[ids[t]] + position[positions[t]] + type[0 or typeIDs[t]]; tables [*, width], out [tokens, width].
/// The caller has checked every index. typeIDs may be null.
void pk_bert_embed_f32(float *PK_RESTRICT out, const float *PK_RESTRICT word, const float *PK_RESTRICT position,
                       const float *PK_RESTRICT type, const int32_t *PK_RESTRICT ids,
                       const int32_t *PK_RESTRICT positions, const int32_t *PK_RESTRICT typeIDs, ptrdiff_t tokens,
                       ptrdiff_t width);
/// out: [width] = mean of x: [tokens, width] over the tokens.
void pk_mean_rows_f32(float *PK_RESTRICT out, const float *PK_RESTRICT x, ptrdiff_t tokens, ptrdiff_t width);

#ifdef __cplusplus
}
#endif
#undef PK_RESTRICT
