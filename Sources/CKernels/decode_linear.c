// SPDX-License-Identifier: Apache-2.0
//
// Linear layers for few rows. An output element is one chain of fused multiply-adds per vector lane over ascending k,
// the tail padded with zeros, followed by one fixed tree over the lanes. Tiles of several rows and columns only
// interleave such chains; they never change one.
#include "half.h"
#include "pk_decode.h"

#include <string.h>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#define INLINE static inline __attribute__((always_inline))

// Plain path: 16 running sums, so that the compiler may use whatever vectors the baseline has.
static float dot_generic(int type, const float *x, const void *w, size_t k) {
  float sum[16] = {0};
  size_t i = 0;
  if (type == PK_WEIGHT_F32) {
    const float *v = w;
    for (; i + 16 <= k; i += 16)
      for (int l = 0; l < 16; l++) sum[l] += x[i + l] * v[i + l];
    for (int l = 0; i < k; i++, l++) sum[l] += x[i] * v[i];
  } else {
    const uint16_t *v = w;
    for (; i + 16 <= k; i += 16)
      for (int l = 0; l < 16; l++) sum[l] += x[i + l] * bf16_bits_to_float(v[i + l]);
    for (int l = 0; i < k; i++, l++) sum[l] += x[i] * bf16_bits_to_float(v[i]);
  }
  for (int width = 8; width > 0; width /= 2)
    for (int l = 0; l < width; l++) sum[l] += sum[l + width];
  return sum[0];
}

static void linear_generic(int type, const float *x, const void *w, const float *bias, float *y, size_t rows,
                           size_t n_total, size_t k, size_t first, size_t last) {
  size_t bytes = type == PK_WEIGHT_F32 ? 4 : 2;
  for (size_t n = first; n < last; n++)
    for (size_t m = 0; m < rows; m++)
      y[m * n_total + n] =
          dot_generic(type, x + m * k, (const char *)w + n * k * bytes, k) + (bias ? bias[n] : 0.0f);
}

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define AVX2 __attribute__((target("avx2,fma")))

// MR rows of x by NR rows of w. MR and NR are constants at every call, so all loops unroll and sums stay in registers.
AVX512 INLINE void tile512(const int MR, const int NR, const int type, const float *x, const char *w, const float *bias,
                           float *y, size_t n_total, size_t k) {
  const size_t bytes = type == PK_WEIGHT_F32 ? 4 : 2;
  __m512 sum[6][8];
#pragma clang loop unroll(full)
  for (int m = 0; m < MR; m++)
#pragma clang loop unroll(full)
    for (int n = 0; n < NR; n++) sum[m][n] = _mm512_setzero_ps();
  for (size_t i = 0; i < k; i += 16) {
    __mmask16 mask = k - i >= 16 ? 0xFFFF : (__mmask16)((1u << (k - i)) - 1);
    __m512 a[6];
#pragma clang loop unroll(full)
    for (int m = 0; m < MR; m++) a[m] = _mm512_maskz_loadu_ps(mask, x + (size_t)m * k + i);
#pragma clang loop unroll(full)
    for (int n = 0; n < NR; n++) {
      const char *row = w + (size_t)n * k * bytes;
      // Rows are too short for the hardware to run ahead, so the next tile's line is asked for. Past the end it is a no-op.
      _mm_prefetch(row + (size_t)NR * k * bytes + i * bytes, _MM_HINT_T0);
      __m512 b;
      if (type == PK_WEIGHT_F32) {
        b = _mm512_maskz_loadu_ps(mask, (const float *)row + i);
      } else {
        __m256i half = _mm256_maskz_loadu_epi16(mask, (const uint16_t *)row + i);
        b = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
      }
#pragma clang loop unroll(full)
      for (int m = 0; m < MR; m++) sum[m][n] = _mm512_fmadd_ps(a[m], b, sum[m][n]);
    }
  }
#pragma clang loop unroll(full)
  for (int m = 0; m < MR; m++)
#pragma clang loop unroll(full)
    for (int n = 0; n < NR; n++)
      y[(size_t)m * n_total + n] = _mm512_reduce_add_ps(sum[m][n]) + (bias ? bias[n] : 0.0f);
}

AVX512 INLINE void columns512(const int NR, const int type, const float *x, const char *w, const float *bias, float *y,
                              size_t rows, size_t n_total, size_t k) {
  size_t m = 0;
  for (; m + 4 <= rows; m += 4) tile512(4, NR, type, x + m * k, w, bias, y + m * n_total, n_total, k);
  if (rows - m == 3) tile512(3, NR, type, x + m * k, w, bias, y + m * n_total, n_total, k);
  if (rows - m == 2) tile512(2, NR, type, x + m * k, w, bias, y + m * n_total, n_total, k);
  if (rows - m == 1) tile512(1, NR, type, x + m * k, w, bias, y + m * n_total, n_total, k);
}

AVX512 INLINE void linear512(const int type, const float *x, const char *w, const float *bias, float *y, size_t rows,
                             size_t n_total, size_t k, size_t first, size_t last) {
  const size_t bytes = type == PK_WEIGHT_F32 ? 4 : 2;
  size_t n = first;
  if (rows == 1)
    for (; n + 8 <= last; n += 8) tile512(1, 8, type, x, w + n * k * bytes, bias ? bias + n : 0, y + n, n_total, k);
  for (; n + 4 <= last; n += 4) columns512(4, type, x, w + n * k * bytes, bias ? bias + n : 0, y + n, rows, n_total, k);
  for (; n < last; n++) columns512(1, type, x, w + n * k * bytes, bias ? bias + n : 0, y + n, rows, n_total, k);
}

AVX512 static void linear512_f32(const float *x, const void *w, const float *bias, float *y, size_t rows, size_t n_total,
                                 size_t k, size_t first, size_t last) {
  linear512(PK_WEIGHT_F32, x, w, bias, y, rows, n_total, k, first, last);
}
AVX512 static void linear512_bf16(const float *x, const void *w, const float *bias, float *y, size_t rows,
                                  size_t n_total, size_t k, size_t first, size_t last) {
  linear512(PK_WEIGHT_BF16, x, w, bias, y, rows, n_total, k, first, last);
}

AVX2 INLINE __m256 weights256(const int type, const char *row, size_t i) {
  if (type == PK_WEIGHT_F32) return _mm256_loadu_ps((const float *)row + i);
  __m128i half = _mm_loadu_si128((const __m128i *)((const uint16_t *)row + i));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

AVX2 INLINE float sum256(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

AVX2 INLINE void tile256(const int MR, const int NR, const int type, const float *x, const char *w, const float *bias,
                         float *y, size_t n_total, size_t k) {
  const size_t bytes = type == PK_WEIGHT_F32 ? 4 : 2;
  __m256 sum[3][8];
#pragma clang loop unroll(full)
  for (int m = 0; m < MR; m++)
#pragma clang loop unroll(full)
    for (int n = 0; n < NR; n++) sum[m][n] = _mm256_setzero_ps();
  size_t i = 0;
  for (; i + 8 <= k; i += 8) {
    __m256 a[3];
#pragma clang loop unroll(full)
    for (int m = 0; m < MR; m++) a[m] = _mm256_loadu_ps(x + (size_t)m * k + i);
#pragma clang loop unroll(full)
    for (int n = 0; n < NR; n++) {
      __m256 b = weights256(type, w + (size_t)n * k * bytes, i);
#pragma clang loop unroll(full)
      for (int m = 0; m < MR; m++) sum[m][n] = _mm256_fmadd_ps(a[m], b, sum[m][n]);
    }
  }
  if (i < k) {
    size_t rest = k - i;
    for (int n = 0; n < NR; n++) {
      _Alignas(32) char padded[32] = {0};
      memcpy(padded, w + ((size_t)n * k + i) * bytes, rest * bytes);
      __m256 b = weights256(type, padded, 0);
      for (int m = 0; m < MR; m++) {
        float part[8] = {0};
        memcpy(part, x + (size_t)m * k + i, rest * 4);
        sum[m][n] = _mm256_fmadd_ps(_mm256_loadu_ps(part), b, sum[m][n]);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int m = 0; m < MR; m++)
#pragma clang loop unroll(full)
    for (int n = 0; n < NR; n++) y[(size_t)m * n_total + n] = sum256(sum[m][n]) + (bias ? bias[n] : 0.0f);
}

AVX2 INLINE void columns256(const int NR, const int type, const float *x, const char *w, const float *bias, float *y,
                            size_t rows, size_t n_total, size_t k) {
  size_t m = 0;
  for (; m + 3 <= rows; m += 3) tile256(3, NR, type, x + m * k, w, bias, y + m * n_total, n_total, k);
  if (rows - m == 2) tile256(2, NR, type, x + m * k, w, bias, y + m * n_total, n_total, k);
  if (rows - m == 1) tile256(1, NR, type, x + m * k, w, bias, y + m * n_total, n_total, k);
}

AVX2 INLINE void linear256(const int type, const float *x, const char *w, const float *bias, float *y, size_t rows,
                           size_t n_total, size_t k, size_t first, size_t last) {
  const size_t bytes = type == PK_WEIGHT_F32 ? 4 : 2;
  size_t n = first;
  if (rows == 1)
    for (; n + 8 <= last; n += 8) tile256(1, 8, type, x, w + n * k * bytes, bias ? bias + n : 0, y + n, n_total, k);
  for (; n + 4 <= last; n += 4) columns256(4, type, x, w + n * k * bytes, bias ? bias + n : 0, y + n, rows, n_total, k);
  for (; n < last; n++) columns256(1, type, x, w + n * k * bytes, bias ? bias + n : 0, y + n, rows, n_total, k);
}

AVX2 static void linear256_f32(const float *x, const void *w, const float *bias, float *y, size_t rows, size_t n_total,
                               size_t k, size_t first, size_t last) {
  linear256(PK_WEIGHT_F32, x, w, bias, y, rows, n_total, k, first, last);
}
AVX2 static void linear256_bf16(const float *x, const void *w, const float *bias, float *y, size_t rows, size_t n_total,
                                size_t k, size_t first, size_t last) {
  linear256(PK_WEIGHT_BF16, x, w, bias, y, rows, n_total, k, first, last);
}
#endif

int pk_decode_isa_best(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"))
    return PK_ISA_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return PK_ISA_AVX2;
#elif defined(__aarch64__)
#if defined(__linux__)
  if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) return PK_ISA_NEON_DOT;
#endif
  return PK_ISA_NEON;
#endif
  return PK_ISA_GENERIC;
}

void pk_linear(int isa, int type, const float *x, const void *w, const float *bias, float *y, size_t rows,
               size_t n_total, size_t k, size_t first, size_t last) {
#if defined(__x86_64__)
  if (isa == PK_ISA_AVX512) {
    (type == PK_WEIGHT_F32 ? linear512_f32 : linear512_bf16)(x, w, bias, y, rows, n_total, k, first, last);
    return;
  }
  if (isa == PK_ISA_AVX2) {
    (type == PK_WEIGHT_F32 ? linear256_f32 : linear256_bf16)(x, w, bias, y, rows, n_total, k, first, last);
    return;
  }
#else
  (void)isa;
#endif
  linear_generic(type, x, w, bias, y, rows, n_total, k, first, last);
}
