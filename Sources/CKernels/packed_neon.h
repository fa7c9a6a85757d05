// SPDX-License-Identifier: Apache-2.0
//
// Products with packed weights in NEON, made once for each way to sum four products: NEON_TARGET, NEON_NAME(x) and NEON_DOT(sum, b, a)
// are defined by the file that includes this. A vector of codes belongs to four outputs. Private to this target.

// MR rows by NQ fours of outputs, from the four `first` of the panel on; MR and NQ are constants at every call.
NEON_TARGET INLINE void NEON_NAME(tile)(const int MR, const int NQ, const int type, struct inputs x, const uint8_t *w, int first,
                                        const float *bias, float *y, size_t n_total, size_t k, size_t count) {
  const uint8_t *codes = w + panel_codes(k) + (size_t)first * 16;
  const size_t stride = x.groups * PK_GROUP;
  const int8x16_t table = vld1q_s8((const int8_t *)w + PANEL_TABLE);
  float32x4_t sum[4][4];
#pragma clang loop unroll(full)
  for (int m = 0; m < MR; m++)
#pragma clang loop unroll(full)
    for (int q = 0; q < NQ; q++) sum[m][q] = vdupq_n_f32(0);
  for (size_t g = 0; g < x.groups; g++) {
    int32x4_t dot[4][4];
    const int8_t *input = x.codes + g * PK_GROUP;
#pragma clang loop unroll(full)
    for (int m = 0; m < MR; m++)
#pragma clang loop unroll(full)
      for (int q = 0; q < NQ; q++) dot[m][q] = vdupq_n_s32(0);
    if (type == PK_WEIGHT_I8) {
#pragma clang loop unroll(full)
      for (int j = 0; j < 8; j++)
#pragma clang loop unroll(full)
        for (int q = 0; q < NQ; q++) {
          const int8x16_t b = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes + g * 512 + (size_t)j * 64 + (size_t)q * 16), vdupq_n_u8(0x80)));
#pragma clang loop unroll(full)
          for (int m = 0; m < MR; m++) dot[m][q] = NEON_DOT(dot[m][q], b, four_inputs(input + (size_t)m * stride + j * 4));
        }
    } else {
#pragma clang loop unroll(full)
      for (int j = 0; j < 4; j++)
#pragma clang loop unroll(full)
        for (int q = 0; q < NQ; q++) {
          const uint8x16_t both = vld1q_u8(codes + g * 256 + (size_t)j * 64 + (size_t)q * 16);
          const int8x16_t low = vqtbl1q_s8(table, vandq_u8(both, vdupq_n_u8(15)));
          const int8x16_t high = vqtbl1q_s8(table, vshrq_n_u8(both, 4));
#pragma clang loop unroll(full)
          for (int m = 0; m < MR; m++) {
            dot[m][q] = NEON_DOT(dot[m][q], low, four_inputs(input + (size_t)m * stride + j * 4));
            dot[m][q] = NEON_DOT(dot[m][q], high, four_inputs(input + (size_t)m * stride + 16 + j * 4));
          }
        }
    }
#pragma clang loop unroll(full)
    for (int q = 0; q < NQ; q++) {
      const uint8_t *at = w + PANEL_SCALES + (g * PK_PANEL + (size_t)(first + q) * 4) * 2;
      const float32x4_t scale = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(at)));
#pragma clang loop unroll(full)
      for (int m = 0; m < MR; m++)
        sum[m][q] = vfmaq_f32(sum[m][q], vcvtq_f32_s32(dot[m][q]), vmulq_n_f32(scale, x.scales[(size_t)m * x.groups + g]));
    }
  }
  float shift[16] = {0}, out[16];
  if (bias) memcpy(shift, bias, count * 4);
#pragma clang loop unroll(full)
  for (int m = 0; m < MR; m++) {
#pragma clang loop unroll(full)
    for (int q = 0; q < NQ; q++) {
      const float32x4_t unit = vreinterpretq_f32_u8(vld1q_u8(w + (size_t)(first + q) * 16));
      vst1q_f32(out + 4 * q, vfmaq_f32(vld1q_f32(shift + 4 * q), sum[m][q], unit));
    }
    memcpy(y + (size_t)m * n_total, out, count * 4);
  }
}

NEON_TARGET INLINE void NEON_NAME(panels)(const int type, struct inputs x, const uint8_t *w, const float *bias, float *y, size_t rows,
                                          size_t n_total, size_t k, size_t first, size_t last) {
  const size_t bytes = pk_panel_bytes(type, k);
  for (size_t n = first; n < last; n += PK_PANEL, w += bytes) {
    const size_t count = last - n < PK_PANEL ? last - n : PK_PANEL;
    const float *shift = bias ? bias + n : NULL;
    size_t m = 0;
    // Sums of four rows fit into the registers for half a panel.
    for (; m + 4 <= rows; m += 4) {
      float *to = y + m * n_total + n;
      NEON_NAME(tile)(4, 2, type, row_of(x, m), w, 0, shift, to, n_total, k, count < 8 ? count : 8);
      if (count > 8) NEON_NAME(tile)(4, 2, type, row_of(x, m), w, 2, shift ? shift + 8 : NULL, to + 8, n_total, k, count - 8);
    }
    for (; m + 2 <= rows; m += 2) NEON_NAME(tile)(2, 4, type, row_of(x, m), w, 0, shift, y + m * n_total + n, n_total, k, count);
    if (m < rows) NEON_NAME(tile)(1, 4, type, row_of(x, m), w, 0, shift, y + m * n_total + n, n_total, k, count);
  }
}

NEON_TARGET static void NEON_NAME(linear)(int type, struct inputs x, const uint8_t *w, const float *bias, float *y, size_t rows,
                                          size_t n_total, size_t k, size_t first, size_t last) {
  w += first / PK_PANEL * pk_panel_bytes(type, k);
  if (type == PK_WEIGHT_I8)
    NEON_NAME(panels)(PK_WEIGHT_I8, x, w, bias, y, rows, n_total, k, first, last);
  else
    NEON_NAME(panels)(PK_WEIGHT_I4, x, w, bias, y, rows, n_total, k, first, last);
}
