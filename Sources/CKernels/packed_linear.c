// SPDX-License-Identifier: Apache-2.0
//
// Products of inputs in int8 with packed weights. Whatever the instruction set, a group's products are summed
// exactly in 32 bits (at most 32 * 127 * 128), and a group joins its output by one fused multiply-add:
//   sum = fma((float)dot, scale_w * scale_x, sum), groups ascending; y = fma(sum, unit, bias).
#include "common.h"
#include "half.h"
#include "include/pk_decode.h"
#include "include/pk_packed.h"
#include "packed.h"

#define INLINE static inline __attribute__((always_inline))

#if PK_X86
#define PK_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")))
#endif

struct inputs {
  const int8_t *codes;
  const float *scales;
  const int32_t *starts;
  size_t groups;
};

// One row and one panel, for every machine; also says what the others must compute.
static void dot_generic(int type, struct inputs x, const uint8_t *panel, const float *bias, float *y, size_t k, size_t count) {
  float sum[PK_PANEL] = {0};
  for (size_t g = 0; g < x.groups; g++) {
    const uint8_t *code = panel + panel_codes(k) + g * panel_group_bytes(type);
    const int8_t *input = x.codes + g * PK_GROUP;
    const int8_t *table = (const int8_t *)panel + PANEL_TABLE;
    for (size_t n = 0; n < count; n++) {
      int32_t dot = 0;
      if (type == PK_WEIGHT_I8) {
        for (size_t i = 0; i < PK_GROUP; i++) dot += (int8_t)(code[i / 4 * 64 + n * 4 + i % 4] ^ 0x80u) * input[i];
      } else {
        for (size_t i = 0; i < PK_GROUP / 2; i++) {
          const uint8_t both = code[i / 4 * 64 + n * 4 + i % 4];
          dot += table[both & 15] * input[i] + table[both >> 4] * input[i + PK_GROUP / 2];
        }
      }
      uint16_t half;
      memcpy(&half, panel + PANEL_SCALES + (g * PK_PANEL + n) * 2, 2);
      const float scale = half_bits_to_float(half) * x.scales[g];
      sum[n] = fmaf((float)dot, scale, sum[n]);
    }
  }
  for (size_t n = 0; n < count; n++) {
    float unit;
    memcpy(&unit, panel + n * 4, 4);
    y[n] = fmaf(sum[n], unit, bias ? bias[n] : 0.0f);
  }
}

static struct inputs row_of(struct inputs x, size_t row) {
  x.codes += row * x.groups * PK_GROUP;
  x.scales += row * x.groups;
  x.starts += row * x.groups;
  return x;
}

static void linear_generic(int type, struct inputs x, const uint8_t *w, const float *bias, float *y, size_t rows,
                           size_t n_total, size_t k, size_t first, size_t last) {
  const size_t bytes = pk_panel_bytes(type, k);
  for (size_t n = first; n < last; n += PK_PANEL)
    for (size_t m = 0; m < rows; m++)
      dot_generic(type, row_of(x, m), w + n / PK_PANEL * bytes, bias ? bias + n : NULL, y + m * n_total + n, k,
                  last - n < PK_PANEL ? last - n : PK_PANEL);
}

#if PK_X86
INLINE int32_t four(const int8_t *codes) {
  int32_t bits;
  memcpy(&bits, codes, 4);
  return bits;
}

// MR rows by NR panels, which are constants at every call, so all loops unroll and sums stay in registers. `fetches`: asks for the next panels.
PK_VNNI INLINE void tile_vnni(const int MR, const int NR, const bool fetches, const int type, struct inputs x, const uint8_t *w, size_t bytes,
                              const float *bias, float *y, size_t n_total, size_t k, size_t count) {
  const size_t codes = panel_codes(k);
  const size_t stride = x.groups * PK_GROUP;
  __m512 sum[6][4];
  __m512i table[4];
#pragma clang loop unroll(full)
  for (int n = 0; n < NR; n++) {
    if (type == PK_WEIGHT_I4)
      table[n] = _mm512_xor_si512(
          _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)(w + (size_t)n * bytes + PANEL_TABLE))),
          _mm512_set1_epi8((char)0x80));
#pragma clang loop unroll(full)
    for (int m = 0; m < MR; m++) sum[m][n] = _mm512_setzero_ps();
  }
  for (size_t g = 0; g < x.groups; g++) {
    __m512i dot[6][4];
    const int8_t *input = x.codes + g * PK_GROUP;
    // Panels are too short for the hardware to run ahead, so what the next tile needs is asked for, into the second cache: the first one is
    // too small to hold it that long. Past the end it is a no-op. A line of scales is two groups long.
#pragma clang loop unroll(full)
    for (int n = 0; n < NR; n++)
      if (fetches && g % 2 == 0) _mm_prefetch((const char *)w + (size_t)(n + NR) * bytes + PANEL_SCALES + g * PK_PANEL * 2, _MM_HINT_T1);
#pragma clang loop unroll(full)
    for (int m = 0; m < MR; m++)
#pragma clang loop unroll(full)
      for (int n = 0; n < NR; n++) dot[m][n] = _mm512_set1_epi32(x.starts[(size_t)m * x.groups + g]);
    if (type == PK_WEIGHT_I8) {
#pragma clang loop unroll(full)
      for (int j = 0; j < 8; j++) {
        __m512i b[4];
#pragma clang loop unroll(full)
        for (int n = 0; n < NR; n++) {
          const uint8_t *at = w + (size_t)n * bytes + codes + g * 512 + (size_t)j * 64;
          if (fetches) _mm_prefetch((const char *)at + (size_t)NR * bytes, _MM_HINT_T1);
          b[n] = _mm512_loadu_si512(at);
        }
#pragma clang loop unroll(full)
        for (int m = 0; m < MR; m++) {
          const __m512i a = _mm512_set1_epi32(four(input + (size_t)m * stride + j * 4));
#pragma clang loop unroll(full)
          for (int n = 0; n < NR; n++) dot[m][n] = _mm512_dpbusd_epi32(dot[m][n], b[n], a);
        }
      }
    } else {
      const __m512i nibble = _mm512_set1_epi8(15);
#pragma clang loop unroll(full)
      for (int j = 0; j < 4; j++) {
        __m512i low[4], high[4];
#pragma clang loop unroll(full)
        for (int n = 0; n < NR; n++) {
          const uint8_t *at = w + (size_t)n * bytes + codes + g * 256 + (size_t)j * 64;
          if (fetches) _mm_prefetch((const char *)at + (size_t)NR * bytes, _MM_HINT_T1);
          const __m512i both = _mm512_loadu_si512(at);
          low[n] = _mm512_shuffle_epi8(table[n], _mm512_and_si512(both, nibble));
          high[n] = _mm512_shuffle_epi8(table[n], _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble));
        }
#pragma clang loop unroll(full)
        for (int m = 0; m < MR; m++) {
          const __m512i a = _mm512_set1_epi32(four(input + (size_t)m * stride + j * 4));
          const __m512i b = _mm512_set1_epi32(four(input + (size_t)m * stride + 16 + j * 4));
#pragma clang loop unroll(full)
          for (int n = 0; n < NR; n++)
            dot[m][n] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(dot[m][n], low[n], a), high[n], b);
        }
      }
    }
#pragma clang loop unroll(full)
    for (int n = 0; n < NR; n++) {
      const __m512 scale = _mm512_cvtph_ps(
          _mm256_loadu_si256((const __m256i *)(const void *)(w + (size_t)n * bytes + PANEL_SCALES + g * PK_PANEL * 2)));
#pragma clang loop unroll(full)
      for (int m = 0; m < MR; m++)
        sum[m][n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[m][n]),
                                    _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[(size_t)m * x.groups + g])), sum[m][n]);
    }
  }
#pragma clang loop unroll(full)
  for (int n = 0; n < NR; n++) {
    const size_t at = (size_t)n * PK_PANEL;
    const __mmask16 mask = count - at >= 16 ? 0xFFFF : (__mmask16)((1u << (count - at)) - 1);
    const __m512 shift = bias ? _mm512_maskz_loadu_ps(mask, bias + at) : _mm512_setzero_ps();
    const __m512 unit = _mm512_loadu_ps(w + (size_t)n * bytes);
#pragma clang loop unroll(full)
    for (int m = 0; m < MR; m++)
      _mm512_mask_storeu_ps(y + (size_t)m * n_total + at, mask, _mm512_fmadd_ps(sum[m][n], unit, shift));
  }
}

PK_VNNI INLINE void rows_vnni(size_t height, const int NR, const bool fetches, const int type, struct inputs x, const uint8_t *w,
                              size_t bytes, const float *bias, float *y, size_t n_total, size_t k, size_t count) {
  switch (height) {
    case 1: tile_vnni(1, NR, fetches, type, x, w, bytes, bias, y, n_total, k, count); break;
    case 2: tile_vnni(2, NR, fetches, type, x, w, bytes, bias, y, n_total, k, count); break;
    case 3: tile_vnni(3, NR, fetches, type, x, w, bytes, bias, y, n_total, k, count); break;
    case 4: tile_vnni(4, NR, fetches, type, x, w, bytes, bias, y, n_total, k, count); break;
    case 5: tile_vnni(5, NR, fetches, type, x, w, bytes, bias, y, n_total, k, count); break;
    default: tile_vnni(6, NR, fetches, type, x, w, bytes, bias, y, n_total, k, count); break;
  }
}

// `count` outputs in NR panels, all rows.
PK_VNNI INLINE void panels_vnni(const int NR, const int type, struct inputs x, const uint8_t *w, size_t bytes,
                                const float *bias, float *y, size_t rows, size_t n_total, size_t k, size_t count) {
  // In as few tiles as there can be, of nearly equal heights.
  const size_t tiles = (rows + 5) / 6;
  for (size_t tile = 0, m = 0; tile < tiles; tile++) {
    const size_t height = (rows - m + tiles - tile - 1) / (tiles - tile);
    // Two tiles are over sooner than the memory answers, so both ask; of more, asking once is enough.
    if (tile == 0 || tiles == 2)
      rows_vnni(height, NR, true, type, row_of(x, m), w, bytes, bias, y + m * n_total, n_total, k, count);
    else
      rows_vnni(height, NR, false, type, row_of(x, m), w, bytes, bias, y + m * n_total, n_total, k, count);
    m += height;
  }
}

PK_VNNI INLINE void linear_vnni(const int type, struct inputs x, const uint8_t *w, const float *bias, float *y, size_t rows,
                                size_t n_total, size_t k, size_t first, size_t last) {
  const size_t bytes = pk_panel_bytes(type, k);
  size_t n = first;
  if (rows == 1)
    for (; last - n > 3 * PK_PANEL; n += last - n < 4 * PK_PANEL ? last - n : 4 * PK_PANEL)
      tile_vnni(1, 4, true, type, x, w + n / PK_PANEL * bytes, bytes, bias ? bias + n : 0, y + n, n_total, k,
                last - n < 4 * PK_PANEL ? last - n : 4 * PK_PANEL);
  for (; last > n && last - n > PK_PANEL; n += last - n < 2 * PK_PANEL ? last - n : 2 * PK_PANEL)
    panels_vnni(2, type, x, w + n / PK_PANEL * bytes, bytes, bias ? bias + n : 0, y + n, rows, n_total, k,
                last - n < 2 * PK_PANEL ? last - n : 2 * PK_PANEL);
  if (last > n) panels_vnni(1, type, x, w + n / PK_PANEL * bytes, bytes, bias ? bias + n : 0, y + n, rows, n_total, k, last - n);
}

PK_VNNI static void linear_vnni_i8(struct inputs x, const uint8_t *w, const float *bias, float *y, size_t rows,
                                   size_t n_total, size_t k, size_t first, size_t last) {
  linear_vnni(PK_WEIGHT_I8, x, w, bias, y, rows, n_total, k, first, last);
}
PK_VNNI static void linear_vnni_i4(struct inputs x, const uint8_t *w, const float *bias, float *y, size_t rows,
                                   size_t n_total, size_t k, size_t first, size_t last) {
  linear_vnni(PK_WEIGHT_I4, x, w, bias, y, rows, n_total, k, first, last);
}

// Products of unsigned sizes with inputs that took over the weights' signs: at most 2 * 128 * 127, which 16 bits hold.
PK_AVX2 INLINE __m256i dot256(__m256i dot, __m256i weights, __m256i input) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(input, weights));
  return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// MR rows by half a panel (8 outputs).
PK_AVX2 INLINE void tile256(const int MR, const int type, struct inputs x, const uint8_t *w, size_t half, const float *bias,
                            float *y, size_t n_total, size_t k, size_t count) {
  const uint8_t *codes = w + panel_codes(k) + half * 32;
  const size_t stride = x.groups * PK_GROUP;
  const __m256i table =
      _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(w + PANEL_TABLE)));
  __m256 sum[4];
#pragma clang loop unroll(full)
  for (int m = 0; m < MR; m++) sum[m] = _mm256_setzero_ps();
  for (size_t g = 0; g < x.groups; g++) {
    __m256i dot[4];
    const int8_t *input = x.codes + g * PK_GROUP;
#pragma clang loop unroll(full)
    for (int m = 0; m < MR; m++) dot[m] = _mm256_setzero_si256();
    if (type == PK_WEIGHT_I8) {
#pragma clang loop unroll(full)
      for (int j = 0; j < 8; j++) {
        const __m256i b = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)(codes + g * 512 + j * 64)),
                                           _mm256_set1_epi8((char)0x80));
#pragma clang loop unroll(full)
        for (int m = 0; m < MR; m++)
          dot[m] = dot256(dot[m], b, _mm256_set1_epi32(four(input + (size_t)m * stride + j * 4)));
      }
    } else {
      const __m256i nibble = _mm256_set1_epi8(15);
#pragma clang loop unroll(full)
      for (int j = 0; j < 4; j++) {
        const __m256i both = _mm256_loadu_si256((const __m256i *)(const void *)(codes + g * 256 + j * 64));
        const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(both, nibble));
        const __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble));
#pragma clang loop unroll(full)
        for (int m = 0; m < MR; m++) {
          dot[m] = dot256(dot[m], low, _mm256_set1_epi32(four(input + (size_t)m * stride + j * 4)));
          dot[m] = dot256(dot[m], high, _mm256_set1_epi32(four(input + (size_t)m * stride + 16 + j * 4)));
        }
      }
    }
    const __m256 scale = _mm256_cvtph_ps(
        _mm_loadu_si128((const __m128i *)(const void *)(w + PANEL_SCALES + g * PK_PANEL * 2 + half * 16)));
#pragma clang loop unroll(full)
    for (int m = 0; m < MR; m++)
      sum[m] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[m]),
                               _mm256_mul_ps(scale, _mm256_set1_ps(x.scales[(size_t)m * x.groups + g])), sum[m]);
  }
  const __m256 unit = _mm256_loadu_ps((const float *)(const void *)w + half * 8);
  float shift[8] = {0};
  if (bias) memcpy(shift, bias, count * 4);
#pragma clang loop unroll(full)
  for (int m = 0; m < MR; m++) {
    float out[8];
    _mm256_storeu_ps(out, _mm256_fmadd_ps(sum[m], unit, _mm256_loadu_ps(shift)));
    memcpy(y + (size_t)m * n_total, out, count * 4);
  }
}

PK_AVX2 INLINE void linear256(const int type, struct inputs x, const uint8_t *w, const float *bias, float *y, size_t rows,
                              size_t n_total, size_t k, size_t first, size_t last) {
  const size_t bytes = pk_panel_bytes(type, k);
  for (size_t n = first; n < last; n += 8) {
    const uint8_t *panel = w + n / PK_PANEL * bytes;
    const size_t half = n % PK_PANEL / 8, count = last - n < 8 ? last - n : 8;
    const float *shift = bias ? bias + n : NULL;
    size_t m = 0;
    for (; m + 4 <= rows; m += 4) tile256(4, type, row_of(x, m), panel, half, shift, y + m * n_total + n, n_total, k, count);
    if (rows - m >= 2) {
      tile256(2, type, row_of(x, m), panel, half, shift, y + m * n_total + n, n_total, k, count);
      m += 2;
    }
    if (rows - m == 1) tile256(1, type, row_of(x, m), panel, half, shift, y + m * n_total + n, n_total, k, count);
  }
}

PK_AVX2 static void linear256_i8(struct inputs x, const uint8_t *w, const float *bias, float *y, size_t rows, size_t n_total,
                                 size_t k, size_t first, size_t last) {
  linear256(PK_WEIGHT_I8, x, w, bias, y, rows, n_total, k, first, last);
}
PK_AVX2 static void linear256_i4(struct inputs x, const uint8_t *w, const float *bias, float *y, size_t rows, size_t n_total,
                                 size_t k, size_t first, size_t last) {
  linear256(PK_WEIGHT_I4, x, w, bias, y, rows, n_total, k, first, last);
}
#endif

#if PK_ARM
INLINE int8x16_t four_inputs(const int8_t *codes) {
  int32_t bits;
  memcpy(&bits, codes, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(bits));
}

// Products of 8 bits fit into 16, their sums of two into 32.
INLINE int32x4_t dot_multiplied(int32x4_t sum, int8x16_t b, int8x16_t a) {
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(b), vget_low_s8(a))), high = vpaddlq_s16(vmull_high_s8(b, a));
  return vaddq_s32(sum, vpaddq_s32(low, high));
}

#define NEON_TARGET
#define NEON_NAME(name) name##_neon
#define NEON_DOT(sum, b, a) dot_multiplied(sum, b, a)
#include "packed_neon.h"
#undef NEON_TARGET
#undef NEON_NAME
#undef NEON_DOT
#define NEON_TARGET __attribute__((target("dotprod")))
#define NEON_NAME(name) name##_neon_dot
#define NEON_DOT(sum, b, a) vdotq_s32(sum, b, a)
#include "packed_neon.h"
#endif

void pk_linear_packed(int isa, int type, const int8_t *codes, const float *scales, const int32_t *starts, const void *w,
                      const float *bias, float *y, size_t rows, size_t n_total, size_t k, size_t first, size_t last) {
  const struct inputs x = {codes, scales, starts, panel_groups(k)};
#if PK_X86
  if (isa >= PK_ISA_AVX512 && __builtin_cpu_supports("avx512vnni")) {
    (type == PK_WEIGHT_I8 ? linear_vnni_i8 : linear_vnni_i4)(x, w, bias, y, rows, n_total, k, first, last);
    return;
  }
  if (isa >= PK_ISA_AVX2 && __builtin_cpu_supports("f16c")) {
    (type == PK_WEIGHT_I8 ? linear256_i8 : linear256_i4)(x, w, bias, y, rows, n_total, k, first, last);
    return;
  }
#elif PK_ARM
  if (isa >= PK_ISA_NEON) {
    (isa >= PK_ISA_NEON_DOT ? linear_neon_dot : linear_neon)(type, x, w, bias, y, rows, n_total, k, first, last);
    return;
  }
#else
  (void)isa;
#endif
  linear_generic(type, x, w, bias, y, rows, n_total, k, first, last);
}
