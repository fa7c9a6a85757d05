// SPDX-License-Identifier: Apache-2.0
//
// y = fma((float)dot, scale_x * scale_w, bias), dot exact in 32 bits.
#include "common.h"
#include "include/pk_decode.h"
#include "include/pk_packed.h"
#include "include/pk_rows.h"

enum { CODES = 64 };  // where a panel's numbers begin

static size_t padded(size_t k) { return (k + PK_GROUP - 1) / PK_GROUP * PK_GROUP; }

size_t pk_rows_panel_bytes(size_t k) { return CODES + padded(k) * PK_PANEL; }

// ---- to 8 bits ----

// The largest magnitude as bits; 0x7f800000 and more where a number is not finite.
PK_INLINE uint32_t largest_bits(const float *x, size_t k) {
  uint32_t top = 0;
  for (size_t i = 0; i < k; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    bits &= 0x7fffffffu;
    top = bits > top ? bits : top;
  }
  return top;
}

// x to nearest numbers with the scale that is answered. Below 1e-30 the factor would leave f32's range; such a row counts as zero.
PK_INLINE float to_codes(const float *restrict x, size_t k, int8_t *restrict code, int32_t *sum) {
#pragma clang fp contract(off)
  const uint32_t top = largest_bits(x, k);
  float largest;
  memcpy(&largest, &top, 4);
  *sum = 0;
  if (top >= 0x7f800000u || largest < 1e-30f) {
    memset(code, 0, k);
    return top >= 0x7f800000u ? NAN : 0;
  }
  const float factor = 127.0f / largest;
  int32_t total = 0;
  for (size_t i = 0; i < k; i++) {
    // 1.5 * 2^23 rounds to the nearest whole number, which then stands in the lowest bits.
    const float shifted = x[i] * factor + 12582912.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, 4);
    const int32_t number = (int32_t)(bits - 0x4B400000u);
    code[i] = (int8_t)number;
    total += number;
  }
  *sum = total;
  return largest / 127.0f;
}

PK_INLINE void rows_quantize(const float *x, size_t rows, size_t k, int8_t *codes, float *scales, int32_t *starts) {
  const size_t stride = padded(k);
  for (size_t row = 0; row < rows; row++) {
    int8_t *code = codes + row * stride;
    scales[row] = to_codes(x + row * k, k, code, starts + row);
    starts[row] *= -128;
    memset(code + k, 0, stride - k);
  }
}
PK_FUSED(void, rows_quantize, (const float *x, size_t rows, size_t k, int8_t *codes, float *scales, int32_t *starts),
         (x, rows, k, codes, scales, starts))

// x * (1 + erf(x / sqrt 2)) / 2 as x / 2 + x * clipped x * P(x^2), the polynomial that is nearest between -4 and 4: to 2e-4, of which 8 bits show nothing.
PK_INLINE void coarse_gelu(float *x, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const float low = x[i] < -4.0f ? -4.0f : x[i], clipped = low > 4.0f ? 4.0f : low, u = clipped * clipped;
    float p = 2.27814766e-8f * u - 1.59860401e-6f;
    p = p * u + 4.79555486e-5f;
    p = p * u - 8.14015706e-4f;
    p = p * u + 8.77238913e-3f;
    p = p * u - 0.0645731118f;
    p = p * u + 0.397883349f;
    x[i] *= 0.5f + clipped * p;
  }
}
PK_FUSED(void, coarse_gelu, (float *x, size_t n), (x, n))

void pk_rows_activate(int kind, float *x, size_t rows, size_t k, int8_t *codes, float *scales, int32_t *starts) {
  const size_t stride = padded(k);
  // Row by row, so that a row is still near when it is rounded.
  for (size_t row = 0; row < rows; row++) {
    if (kind == PK_GELU_ERF) pk_coarse_gelu(x + row * k, k);
    else pk_activate(kind, x + row * k, k);
    pk_rows_quantize(x + row * k, 1, k, codes + row * stride, scales + row, starts + row);
  }
}

void pk_rows_pack(const float *w, size_t rows, size_t k, void *out) {
  uint8_t *panel = out;
  memset(panel, 0, CODES);
  memset(panel + CODES, 0x80, padded(k) * PK_PANEL);
  for (size_t row = 0; row < rows; row++) {
    const float *from = w + row * k;
    const uint32_t top = largest_bits(from, k);
    float largest, scale = 0;
    memcpy(&largest, &top, 4);
    if (top >= 0x7f800000u) scale = NAN;
    else if (largest >= 1e-30f) scale = largest / 127.0f;
    memcpy(panel + row * 4, &scale, 4);
    if (!(scale > 0)) continue;
    for (size_t i = 0; i < k; i++) panel[CODES + i / 4 * 64 + row * 4 + i % 4] = (uint8_t)(lrintf(from[i] * (127.0f / largest)) + 128);
  }
}

void pk_rows_unpack(const void *in, size_t rows, size_t k, float *out) {
  const uint8_t *panel = in;
  for (size_t row = 0; row < rows; row++) {
    float scale;
    memcpy(&scale, panel + row * 4, 4);
    for (size_t i = 0; i < k; i++) out[row * k + i] = scale * (float)((int)panel[CODES + i / 4 * 64 + row * 4 + i % 4] - 128);
  }
}

// ---- products ----

struct sides {
  const int8_t *codes;
  const float *scales;
  const int32_t *starts;
  const uint8_t *panels;
  const float *bias;
  float *y;
  size_t rows, n_total, k;
};

static void linear_generic(struct sides s, size_t first, size_t last) {
  const size_t stride = padded(s.k), bytes = pk_rows_panel_bytes(s.k);
  for (size_t n = first; n < last; n++) {
    const uint8_t *panel = s.panels + n / PK_PANEL * bytes;
    float unit;
    memcpy(&unit, panel + n % PK_PANEL * 4, 4);
    for (size_t m = 0; m < s.rows; m++) {
      int32_t dot = s.starts[m];
      for (size_t i = 0; i < s.k; i++) dot += (int32_t)panel[CODES + i / 4 * 64 + n % PK_PANEL * 4 + i % 4] * s.codes[m * stride + i];
      s.y[m * s.n_total + n] = fmaf((float)dot, s.scales[m] * unit, s.bias ? s.bias[n] : 0.0f);
    }
  }
}

#if PK_X86
#define PK_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")))

PK_INLINE int32_t four(const int8_t *codes) {
  int32_t bits;
  memcpy(&bits, codes, 4);
  return bits;
}

// MR rows from m by NR panels from output n, which are constants at every call, so that all sums stay in registers.
PK_VNNI PK_INLINE void tile_vnni(const int MR, const int NR, struct sides s, size_t m, size_t n, size_t last) {
  const size_t stride = padded(s.k), bytes = pk_rows_panel_bytes(s.k);
  const uint8_t *w = s.panels + n / PK_PANEL * bytes;
  const int8_t *input = s.codes + m * stride;
  __m512i dot[6][4];
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) dot[i][j] = _mm512_set1_epi32(s.starts[m + (size_t)i]);
  for (size_t k = 0; k < stride; k += 4) {
    __m512i b[4];
#pragma clang loop unroll(full)
    for (int j = 0; j < NR; j++) b[j] = _mm512_loadu_si512(w + (size_t)j * bytes + CODES + k * PK_PANEL);
#pragma clang loop unroll(full)
    for (int i = 0; i < MR; i++) {
      const __m512i a = _mm512_set1_epi32(four(input + (size_t)i * stride + k));
#pragma clang loop unroll(full)
      for (int j = 0; j < NR; j++) dot[i][j] = _mm512_dpbusd_epi32(dot[i][j], b[j], a);
    }
  }
#pragma clang loop unroll(full)
  for (int j = 0; j < NR; j++) {
    const size_t at = n + (size_t)j * PK_PANEL;
    const __mmask16 mask = last - at >= PK_PANEL ? 0xFFFF : (__mmask16)((1u << (last - at)) - 1);
    const __m512 unit = _mm512_loadu_ps(w + (size_t)j * bytes);
    const __m512 shift = s.bias ? _mm512_maskz_loadu_ps(mask, s.bias + at) : _mm512_setzero_ps();
#pragma clang loop unroll(full)
    for (int i = 0; i < MR; i++) {
      const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(s.scales[m + (size_t)i]), unit);
      _mm512_mask_storeu_ps(s.y + (m + (size_t)i) * s.n_total + at, mask, _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[i][j]), scale, shift));
    }
  }
}

PK_VNNI PK_INLINE void panels_vnni(const int NR, struct sides s, size_t n, size_t last) {
  // In as few tiles as there can be, of nearly equal heights.
  const size_t tiles = (s.rows + 5) / 6, bytes = pk_rows_panel_bytes(s.k);
  const uint8_t *next = s.panels + (n / PK_PANEL + (size_t)NR) * bytes;
  const size_t ahead = n + (size_t)NR * PK_PANEL < last ? bytes * (size_t)NR : 0;
  for (size_t tile = 0, m = 0; tile < tiles; tile++) {
    // The next panels come from far while these are near.
    for (size_t at = ahead * tile / tiles / 64 * 64; at < ahead * (tile + 1) / tiles; at += 64) _mm_prefetch(next + at, _MM_HINT_T1);
    const size_t height = (s.rows - m + tiles - tile - 1) / (tiles - tile);
    switch (height) {
      case 1: tile_vnni(1, NR, s, m, n, last); break;
      case 2: tile_vnni(2, NR, s, m, n, last); break;
      case 3: tile_vnni(3, NR, s, m, n, last); break;
      case 4: tile_vnni(4, NR, s, m, n, last); break;
      case 5: tile_vnni(5, NR, s, m, n, last); break;
      default: tile_vnni(6, NR, s, m, n, last); break;
    }
    m += height;
  }
}

PK_VNNI static void linear_vnni(struct sides s, size_t first, size_t last) {
  size_t n = first;
  for (; n < last && last - n > 3 * PK_PANEL; n += 4 * PK_PANEL) panels_vnni(4, s, n, last);
  for (; n < last && last - n > PK_PANEL; n += 2 * PK_PANEL) panels_vnni(2, s, n, last);
  if (n < last) panels_vnni(1, s, n, last);
}

// MR rows by half a panel. Products of unsigned sizes with inputs that took over the weights' signs: at most 2 * 128 * 127, which 16 bits hold.
PK_AVX2 PK_INLINE void tile256(const int MR, struct sides s, size_t m, size_t n, size_t last) {
  const size_t stride = padded(s.k);
  const uint8_t *panel = s.panels + n / PK_PANEL * pk_rows_panel_bytes(s.k);
  const uint8_t *codes = panel + CODES + n % PK_PANEL * 4;
  const int8_t *input = s.codes + m * stride;
  __m256i dot[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++) dot[i] = _mm256_setzero_si256();
  for (size_t k = 0; k < stride; k += 4) {
    const __m256i b =
        _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)(codes + k * PK_PANEL)), _mm256_set1_epi8((char)0x80));
    const __m256i size = _mm256_abs_epi8(b);
#pragma clang loop unroll(full)
    for (int i = 0; i < MR; i++) {
      const __m256i a = _mm256_set1_epi32(four(input + (size_t)i * stride + k));
      const __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(a, b));
      dot[i] = _mm256_add_epi32(dot[i], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
  }
  const size_t count = last - n < 8 ? last - n : 8;
  const __m256 unit = _mm256_loadu_ps((const float *)(const void *)panel + n % PK_PANEL);
  float shift[8] = {0};
  if (s.bias) memcpy(shift, s.bias + n, count * 4);
#pragma clang loop unroll(full)
  for (int i = 0; i < MR; i++) {
    float out[8];
    const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(s.scales[m + (size_t)i]), unit);
    _mm256_storeu_ps(out, _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[i]), scale, _mm256_loadu_ps(shift)));
    memcpy(s.y + (m + (size_t)i) * s.n_total + n, out, count * 4);
  }
}

PK_AVX2 static void linear256(struct sides s, size_t first, size_t last) {
  for (size_t n = first; n < last; n += 8) {
    size_t m = 0;
    for (; m + 4 <= s.rows; m += 4) tile256(4, s, m, n, last);
    for (; m < s.rows; m++) tile256(1, s, m, n, last);
  }
}
#endif

void pk_rows_linear(int isa, const int8_t *codes, const float *scales, const int32_t *starts, const void *w, const float *bias, float *y,
                    size_t rows, size_t n_total, size_t k, size_t first, size_t last) {
  const struct sides s = {codes, scales, starts, w, bias, y, rows, n_total, k};
#if PK_X86
  if (isa >= PK_ISA_AVX512 && __builtin_cpu_supports("avx512vnni")) return linear_vnni(s, first, last);
  if (isa >= PK_ISA_AVX2) return linear256(s, first, last);
#else
  (void)isa;
#endif
  linear_generic(s, first, last);
}
