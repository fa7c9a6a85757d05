// SPDX-License-Identifier: Apache-2.0
//
// Kernels of training in f32: everything but the matrix products, which OpenBLAS does. Matrices are row-major.
// Gradients accumulate (+=) where nothing else is said. No allocation, no global state; the same input gives the same bits on one machine.
#ifndef PK_TRAINING_H
#define PK_TRAINING_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// y[i] += x[i].
void pk_train_add(float *_Nonnull y, const float *_Nonnull x, size_t count);
/// out[i] = a[i] + b[i].
void pk_train_sum(float *_Nonnull out, const float *_Nonnull a, const float *_Nonnull b, size_t count);
/// Sum of squares, added in f64.
double pk_train_square_sum(const float *_Nonnull x, size_t count);

/// out[n, width] = table[id - first] for ids in [first, first + count), 0 for others.
void pk_train_embed(const int32_t *_Nonnull ids, size_t n, size_t width, const float *_Nonnull table, int32_t first,
                    int32_t count, float *_Nonnull out);
/// gradient[id - first] += dout, rows in order.
void pk_train_embed_backward(const int32_t *_Nonnull ids, size_t n, size_t width, const float *_Nonnull dout,
                             int32_t first, int32_t count, float *_Nonnull gradient);

/// y = x / sqrt(mean(x^2) + epsilon) * gain; inverse: [rows] keeps 1 / sqrt(..).
void pk_train_rms(const float *_Nonnull x, const float *_Nonnull gain, size_t rows, size_t width, float epsilon,
                  float *_Nonnull y, float *_Nonnull inverse);
void pk_train_rms_backward(const float *_Nonnull x, const float *_Nonnull gain, const float *_Nonnull inverse,
                           const float *_Nonnull dy, size_t rows, size_t width, float *_Nonnull dx, float *_Nonnull dgain);

/// Rotates pairs (i, i + size/2) of each head in place; row r has position r % period. x: [rows, heads * size] at the front of
/// rows of `stride`. table: [period, size] with cosines in the first half of a row and sines in the second.
/// direction: 1 forward, -1 backward.
void pk_train_rope_rows(float *_Nonnull x, size_t rows, size_t heads, size_t size, size_t stride, size_t period,
                        const float *_Nonnull table, float direction);

/// scores: [t, t]; row i becomes softmax(scale * scores[i, 0...i]), 0 behind the diagonal.
void pk_train_causal_softmax(float *_Nonnull scores, size_t t, float scale);
/// dp: [t, t] becomes the gradient of the unscaled scores: scale * p * (dp - sum(p * dp)), 0 behind the diagonal.
void pk_train_causal_softmax_backward(const float *_Nonnull p, float *_Nonnull dp, size_t t, float scale);

/// pair: [rows, gate | up] of width each. y = gate * sigmoid(gate) * up.
void pk_train_swiglu_rows(const float *_Nonnull pair, size_t rows, size_t width, float *_Nonnull y);
/// Sets (does not add to) dpair.
void pk_train_swiglu_rows_backward(const float *_Nonnull pair, const float *_Nonnull dy, size_t rows, size_t width,
                                   float *_Nonnull dpair);

/// maxima[r] = the largest of logits[r, 0..<width].
void pk_train_row_max(const float *_Nonnull logits, size_t rows, size_t width, float *_Nonnull maxima);
/// Replaces logits by exp(logits - maximum). pair[r]: their sum; pair[rows + r]: logit - maximum of the target if it is one of
/// the columns, which stand for tokens [first, first + width), else 0.
void pk_train_row_exp(float *_Nonnull logits, size_t rows, size_t width, const float *_Nonnull maxima,
                      const int32_t *_Nonnull targets, int32_t first, float *_Nonnull pair);
/// Replaces exponentials by the gradient (e / sum - [target]) * scale; 0 in rows whose target is negative.
void pk_train_row_gradient(float *_Nonnull e, size_t rows, size_t width, const float *_Nonnull sums,
                           const int32_t *_Nonnull targets, int32_t first, float scale);

/// One AdamW step with decoupled decay (Loshchilov and Hutter, 2019). g is multiplied by gscale first;
/// correction1 = 1 - beta1^t, correction2 = 1 - beta2^t.
void pk_train_adamw(float *_Nonnull p, const float *_Nonnull g, float *_Nonnull m, float *_Nonnull v, size_t count, float lr,
                    float beta1, float beta2, float epsilon, float decay, float correction1, float correction2,
                    float gscale);

/// out: [rows, columns], element (r, c) a normal number of deviation `deviation` that depends only on `key` and the place
/// ((first_row + r) * whole_columns + first_column + c) in the whole matrix.
void pk_train_normal(float *_Nonnull out, size_t rows, size_t columns, size_t first_row, size_t first_column,
                     size_t whole_columns, uint64_t key, float deviation);

#ifdef __cplusplus
}
#endif
#endif
