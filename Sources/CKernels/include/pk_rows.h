// SPDX-License-Identifier: Apache-2.0
//
// Linear layers in 8 bits with one scale for each output and one for each row of inputs, which the fewest instructions are spent on: for encoders,
// whose many rows are bound by arithmetic. Products are summed exactly in integers over the whole row, so that an output has the same bits on every
// instruction set, for any number of rows and any way the outputs are shared out among threads.
#ifndef PK_ROWS_H
#define PK_ROWS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Form of weights, beside those of `pk_decode.h` and `pk_packed.h`.
enum { PK_WEIGHT_I8_ROWS = 4 };
/// The most inputs: more could overflow 32 bits.
enum { PK_ROWS_MOST = 131072 };

/// Bytes of a panel: 16 outputs of `k` inputs. A multiple of 64.
///
/// A panel is 16 f32 scales, then [ceil(k / 32), 8, 16, 4] numbers plus 128; the 4 are consecutive inputs. A weight is scale[output] * number.
size_t pk_rows_panel_bytes(size_t k);

/// Packs `rows` (1 to 16) rows of w: [rows, k] f32 into a panel aligned to 4 bytes: nearest to max / 127. A row with NaN or infinity gets the scale NaN.
void pk_rows_pack(const float *_Nonnull w, size_t rows, size_t k, void *_Nonnull panel);

/// The weights of a panel: out: [rows, k].
void pk_rows_unpack(const void *_Nonnull panel, size_t rows, size_t k, float *_Nonnull out);

/// Brings rows of inputs to int8. x: [rows, k]; codes: [rows, ceil(k / 32) * 32], -127 to 127, 0 behind k; scales: [rows]; starts: [rows], -128 times
/// the sum of a row's codes. A row with NaN or infinity gets the scale NaN.
void pk_rows_quantize(const float *_Nonnull x, size_t rows, size_t k, int8_t *_Nonnull codes, float *_Nonnull scales, int32_t *_Nonnull starts);

/// `pk_activate`, to 2e-4, and `pk_rows_quantize` of rows of inputs, which are overwritten.
void pk_rows_activate(int kind, float *_Nonnull x, size_t rows, size_t k, int8_t *_Nonnull codes, float *_Nonnull scales, int32_t *_Nonnull starts);

/// y[m, n] = sum_k x[m, k] * w[n, k] + bias[n] for outputs n in [first, last); first is a multiple of 16.
/// codes, scales, starts: as `pk_rows_quantize` makes them; w: ceil(n_total / 16) panels; y: [rows, n_total] f32, row-major; isa as in `pk_decode.h`.
void pk_rows_linear(int isa, const int8_t *_Nonnull codes, const float *_Nonnull scales, const int32_t *_Nonnull starts,
                    const void *_Nonnull w, const float *_Nullable bias, float *_Nonnull y, size_t rows, size_t n_total, size_t k,
                    size_t first, size_t last);

#ifdef __cplusplus
}
#endif
#endif
