// SPDX-License-Identifier: Apache-2.0
//
// Kernels of decoder inference. Every output element is computed in one fixed order (per instruction set), whatever
// the number of rows: a request's tokens never depend on its neighbours in the batch. No allocation, no global state.
#ifndef PK_DECODE_H
#define PK_DECODE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Instruction sets, worst first, of x86-64 and of aarch64. A caller may ask for any that `pk_decode_isa_best` or a smaller number allows.
/// NEON: packed weights only; for all else the compiler's own vectors, which aarch64 always has, are as wide.
enum { PK_ISA_GENERIC = 0, PK_ISA_AVX2 = 1, PK_ISA_AVX512 = 2, PK_ISA_NEON = 1, PK_ISA_NEON_DOT = 2 };
/// How weights are stored.
enum { PK_WEIGHT_F32 = 0, PK_WEIGHT_BF16 = 1 };

/// The best instruction set of this machine.
int pk_decode_isa_best(void);

/// y[m, n] = sum_k x[m, k] * w[n, k] + bias[n], for outputs n in [first, last).
/// x: [rows, k] f32; w: [n_total, k] as `type`; bias: [n_total] f32 or NULL; y: [rows, n_total] f32, row-major.
/// Accumulation f32. 2 * rows * (last - first) * k flops.
void pk_linear(int isa, int type, const float *_Nonnull x, const void *_Nonnull w, const float *_Nullable bias,
               float *_Nonnull y, size_t rows, size_t n_total, size_t k, size_t first, size_t last);

/// y[r, :] = x[r, :] / sqrt(mean(x[r, :]^2) + epsilon) * gain.   x, y: [rows, n].
void pk_rms_norm(const float *_Nonnull x, const float *_Nonnull gain, float *_Nonnull y, size_t rows, size_t n,
                 float epsilon);

/// cosine, sine: [rows, half] of positions[row] * frequencies[i].
void pk_rope_table(const int32_t *_Nonnull positions, const float *_Nonnull frequencies, float *_Nonnull cosine,
                   float *_Nonnull sine, size_t rows, size_t half);
/// Rotates pairs (i, i + half) of every head in place.   x: [rows, heads, 2 * half].
void pk_rope_apply(float *_Nonnull x, const float *_Nonnull cosine, const float *_Nonnull sine, size_t rows, size_t heads,
                   size_t half);

/// gate[i] = silu(gate[i]) * up[i].
void pk_swiglu(float *_Nonnull gate, const float *_Nonnull up, size_t n);
/// x[i] += y[i].
void pk_add(float *_Nonnull x, const float *_Nonnull y, size_t n);

/// Copies one row of an embedding table of `type` into f32.
void pk_embed_row(int type, const void *_Nonnull table, size_t row, float *_Nonnull out, size_t n);

/// Rotates pairs (i, i + half) at the front of every head in place; the rest of a head stays.   x: [rows, heads, size].
void pk_rope_apply_partial(float *_Nonnull x, const float *_Nonnull cosine, const float *_Nonnull sine, size_t rows,
                           size_t heads, size_t size, size_t half);

/// Activations: x * sigmoid(x), x * (1 + erf(x / sqrt 2)) / 2, its tanh form, x * sigmoid(1.702 x), max(0, x) and its square.
enum { PK_SILU, PK_GELU_ERF, PK_GELU_TANH, PK_GELU_SIGMOID, PK_RELU, PK_RELU_SQUARED, PK_TANH, PK_SIGMOID };
/// x[i] = activation(x[i]), libm's accuracy.
void pk_activate(int kind, float *_Nonnull x, size_t n);
/// x[i] *= y[i].
void pk_multiply(float *_Nonnull x, const float *_Nonnull y, size_t n);
/// x[i] *= factor.
void pk_scale(float *_Nonnull x, float factor, size_t n);
/// x[i] += y[i] * factor.
void pk_add_scaled(float *_Nonnull x, const float *_Nonnull y, float factor, size_t n);
/// x[i] within [-limit, limit].
void pk_clip(float *_Nonnull x, float limit, size_t n);
/// x[i] = cap * tanh(x[i] / cap).
void pk_soft_cap(float *_Nonnull x, float cap, size_t n);
/// y[r, :] = (x[r, :] - mean) / sqrt(variance + epsilon) * gain + shift, sums in 32 f32 lanes; gain and shift may be null. y may be x.
void pk_layer_norm(const float *_Nonnull x, const float *_Nullable gain, const float *_Nullable shift, float *_Nonnull y,
                   size_t rows, size_t n, float epsilon);

/// scores[i][j] = scores[i][j] * scale + table[buckets[j - i + count - 1]][head].
/// scores: [count, count]; table: [*, heads]; buckets: [2 * count - 1].
void pk_attention_bias(float *_Nonnull scores, const float *_Nonnull table, size_t heads, size_t head,
                       const int32_t *_Nonnull buckets, size_t count, float scale);
/// -1e30, which no softmax keeps anything of, where |i - j| is above `reach`.   scores: [count, count].
void pk_attention_window(float *_Nonnull scores, size_t count, size_t reach);

/// The sum of words, modulo 2^64. Reads 8 * count bytes once, in ascending order: what decoding can be at best.
uint64_t pk_sum_words(const uint64_t *_Nonnull words, size_t count);

/// log(sum(exp(x))), accumulated in f64.
double pk_log_sum_exp(const float *_Nonnull x, size_t n);
/// Index of the largest element; ties go to the lowest index; NaN never wins. n > 0.
size_t pk_argmax(const float *_Nonnull x, size_t n);
/// Ids of the k largest elements, largest first, ties by lower index. 0 < k <= n. O(n log k).
void pk_top_k(const float *_Nonnull x, size_t n, size_t k, int32_t *_Nonnull ids);
/// The index at which the running sum of exp(x[i] - log_sum) first exceeds `unit` (in [0, 1)).
size_t pk_draw(const float *_Nonnull x, size_t n, double log_sum, double unit);

#ifdef __cplusplus
}
#endif
#endif
