// SPDX-License-Identifier: Apache-2.0
//
// Linear layers over weights of 8 or 4 bits. Weights have one scale for each group of 32 along the input axis; inputs are
// brought to int8 on the fly, one scale for each group as well. Products are summed in integers inside a group, the groups
// in ascending order by fused multiply-adds: an output has the same bits on every instruction set, for any number of rows
// and for any way the outputs are shared out among threads.
#ifndef PK_PACKED_H
#define PK_PACKED_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Forms of packed weights, beside those of `pk_decode.h`: int8, and 4-bit places in a table of 16 int8 numbers.
enum { PK_WEIGHT_I8 = 2, PK_WEIGHT_I4 = 3 };
/// Inputs that share a scale, and outputs that lie interleaved in a panel.
enum { PK_GROUP = 32, PK_PANEL = 16 };

/// Bytes of a panel: 16 outputs of `k` inputs. A multiple of 64.
///
/// A panel is, with G = ceil(k / 32): 16 f32 units, a table of 16 int8 (4 bits only) in 64 bytes, [G, 16] f16 scales up to a
/// multiple of 64 bytes, then codes. A weight is unit[output] * scale[group, output] * number. int8: [G, 8, 16, 4] numbers
/// plus 128; the 4 are consecutive inputs. 4 bits: [G, 4, 16, 4] bytes, whose low half belongs to input 4 j + i of the group
/// and whose high half to input 16 + 4 j + i.
size_t pk_panel_bytes(int type, size_t k);

/// Packs `rows` (1 to 16) rows of w: [rows, k] f32 into a panel aligned to 4 bytes. A group that holds NaN or infinity gets the
/// scale NaN. int8: nearest to max/127. 4 bits: the table below, scales by least squares over some candidates.
/// The same bytes for every `isa`.
void pk_pack_panel(int isa, int type, const float *_Nonnull w, size_t rows, size_t k, void *_Nonnull panel);

/// Packs rows that are stored in groups of 32 already, exactly: codes: [rows, groups, 32] numbers from -128 to 127 (int8), or
/// places 0 to 15 in `table` (4 bits); scales: [rows, groups] f16.
void pk_pack_codes(int type, const int8_t *_Nonnull codes, const uint16_t *_Nonnull scales, const int8_t *_Nullable table,
                   size_t rows, size_t k, void *_Nonnull panel);

/// The table that `pk_pack_panel` uses: near the best 16 levels for groups of normal numbers (ggml's IQ4_NL).
extern const int8_t pk_table_i4[16];

/// The weights of a panel: out: [rows, k].
void pk_unpack_panel(int type, const void *_Nonnull panel, size_t rows, size_t k, float *_Nonnull out);

/// Multiplies the inputs by `factors`: [k], and rotates each full group of 32 by the Hadamard matrix H of ones and minus ones (H H = 32): what
/// is large in one input is then spread over all of its group. x, out: [rows, k]; may be the same.
void pk_rotate_rows(int isa, const float *_Nonnull x, size_t rows, size_t k, const float *_Nonnull factors, float *_Nonnull out);

/// out[i] = the mean of x[row, i]^2 over the rows. x: [rows, k]; out: [k].
void pk_mean_squares(const float *_Nonnull x, size_t rows, size_t k, float *_Nonnull out);

/// Brings rows of inputs to int8, with `factors` those that `pk_rotate_rows` would make of them. x: [rows, k]; codes: [rows, G * 32], numbers
/// from -127 to 127, 0 behind k; scales: [rows, G]; starts: [rows, G], -128 times the sum of a group's codes. A group that holds NaN or
/// infinity gets the scale NaN. The same bytes for every `isa`.
void pk_quantize_rows(int isa, const float *_Nonnull x, size_t rows, size_t k, const float *_Nullable factors, int8_t *_Nonnull codes,
                      float *_Nonnull scales, int32_t *_Nonnull starts);

/// y[m, n] = sum_k x[m, k] * w[n, k] + bias[n] for outputs n in [first, last); first is a multiple of 16.
/// codes, scales, starts: as `pk_quantize_rows` makes them; w: ceil(n_total / 16) panels; y: [rows, n_total] f32, row-major.
void pk_linear_packed(int isa, int type, const int8_t *_Nonnull codes, const float *_Nonnull scales,
                      const int32_t *_Nonnull starts, const void *_Nonnull w, const float *_Nullable bias, float *_Nonnull y,
                      size_t rows, size_t n_total, size_t k, size_t first, size_t last);

/// f32 to bf16, to the nearest, ties to even; NaN stays NaN.
void pk_f32_to_bf16(const float *_Nonnull x, uint16_t *_Nonnull out, size_t count);

#ifdef __cplusplus
}
#endif
#endif
