// SPDX-License-Identifier: Apache-2.0
//
// Inputs to int8, and the rotation that spreads what is large in a group over all of it. The same bits on every instruction set: a product
// never joins a sum in one instruction here.
#include "common.h"
#include "include/pk_decode.h"
#include "include/pk_packed.h"
#include "packed.h"

// Below 1e-30 the factor 127 / largest would leave f32's range; such a group counts as zero.
static const float least_largest = 1e-30f;

static bool is_code_less(uint32_t top, int8_t *code, float *scale, int32_t *start) {
  float largest;
  memcpy(&largest, &top, 4);
  *start = 0;
  if (top < 0x7f800000u && largest >= least_largest) return false;
  memset(code, 0, PK_GROUP);
  *scale = top >= 0x7f800000u ? NAN : 0;
  return true;
}

// ---- plain C ----

static float rounded_product(float a, float b) {
  float product = a * b;
#if PK_ARM
  __asm__("" : "+w"(product));
#endif
  return product;
}

static void rotate_generic(const float *x, const float *factors, float *out) {
  float v[PK_GROUP];
  for (int i = 0; i < PK_GROUP; i++) v[i] = rounded_product(x[i], factors[i]);
  for (int distance = PK_GROUP / 2; distance > 0; distance /= 2)
    for (int i = 0; i < PK_GROUP; i++)
      if ((i & distance) == 0) {
        const float low = v[i], high = v[i + distance];
        v[i] = low + high;
        v[i + distance] = low - high;
      }
  memcpy(out, v, sizeof v);
}

static void group_generic(const float *x, const float *factors, int8_t *code, float *scale, int32_t *start) {
  float rotated[PK_GROUP];
  if (factors) {
    rotate_generic(x, factors, rotated);
    x = rotated;
  }
  uint32_t top = 0;
  for (int i = 0; i < PK_GROUP; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    bits &= 0x7fffffffu;
    top = bits > top ? bits : top;
  }
  if (is_code_less(top, code, scale, start)) return;
  float largest;
  memcpy(&largest, &top, 4);
  const float factor = 127.0f / largest;
  int32_t sum = 0;
  for (int i = 0; i < PK_GROUP; i++) {
    const int32_t value = (int32_t)lrintf(x[i] * factor);
    code[i] = (int8_t)value;
    sum += value;
  }
  *scale = largest / 127.0f;
  *start = -128 * sum;
}

// ---- AVX2, for AVX-512 too: half as wide a register has half as many steps between its own lanes (12 against 25 ns a group) ----

#if PK_X86
#define NO_FMA __attribute__((target("avx2")))

// Sums and differences with the neighbour that is found by `swapped`; `sign` is -1 where the difference belongs.
NO_FMA PK_INLINE __m256 met(__m256 v, __m256 swapped, __m256 sign) { return _mm256_add_ps(_mm256_xor_ps(v, sign), swapped); }

NO_FMA PK_INLINE void load_avx2(const float *x, const float *factors, __m256 v[4]) {
  for (int i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(x + 8 * i);
  if (!factors) return;
  for (int i = 0; i < 4; i++) v[i] = _mm256_mul_ps(v[i], _mm256_loadu_ps(factors + 8 * i));
  for (int distance = 2; distance > 0; distance /= 2)
    for (int i = 0; i < 4; i++)
      if ((i & distance) == 0) {
        const __m256 low = v[i], high = v[i + distance];
        v[i] = _mm256_add_ps(low, high);
        v[i + distance] = _mm256_sub_ps(low, high);
      }
  const __m256 four = _mm256_setr_ps(0.0f, 0.0f, 0.0f, 0.0f, -0.0f, -0.0f, -0.0f, -0.0f);
  const __m256 two = _mm256_setr_ps(0.0f, 0.0f, -0.0f, -0.0f, 0.0f, 0.0f, -0.0f, -0.0f);
  const __m256 one = _mm256_setr_ps(0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f);
  for (int i = 0; i < 4; i++) {
    v[i] = met(v[i], _mm256_permute2f128_ps(v[i], v[i], 1), four);
    v[i] = met(v[i], _mm256_permute_ps(v[i], 0x4e), two);
    v[i] = met(v[i], _mm256_permute_ps(v[i], 0xb1), one);
  }
}

NO_FMA static void rotate_avx2(const float *x, const float *factors, float *out) {
  __m256 v[4];
  load_avx2(x, factors, v);
  for (int i = 0; i < 4; i++) _mm256_storeu_ps(out + 8 * i, v[i]);
}

NO_FMA static void group_avx2(const float *x, const float *factors, int8_t *code, float *scale, int32_t *start) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256 v[4];
  load_avx2(x, factors, v);
  __m256i top = _mm256_setzero_si256();
  for (int i = 0; i < 4; i++) top = _mm256_max_epi32(top, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
  __m128i t = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
  t = _mm_max_epi32(t, _mm_shuffle_epi32(t, 0x4e));
  t = _mm_max_epi32(t, _mm_shuffle_epi32(t, 0xb1));
  if (is_code_less((uint32_t)_mm_cvtsi128_si32(t), code, scale, start)) return;
  const float largest = _mm_cvtss_f32(_mm_castsi128_ps(t));
  const __m256 factor = _mm256_set1_ps(127.0f / largest);
  __m256i q[4], sum = _mm256_setzero_si256();
  for (int i = 0; i < 4; i++) {
    q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], factor));
    sum = _mm256_add_epi32(sum, q[i]);
  }
  const __m256i low = _mm256_packs_epi32(q[0], q[1]), high = _mm256_packs_epi32(q[2], q[3]);
  const __m256i bytes =
      _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256((__m256i *)(void *)code, bytes);
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
  *scale = largest / 127.0f;
  *start = -128 * _mm_cvtsi128_si32(s);
}
#endif

// ---- NEON ----

#if PK_ARM
static void load_neon(const float *x, const float *factors, float32x4_t v[8]) {
  for (int i = 0; i < 8; i++) v[i] = vld1q_f32(x + 4 * i);
  if (!factors) return;
  for (int i = 0; i < 8; i++) {
    v[i] = vmulq_f32(v[i], vld1q_f32(factors + 4 * i));
    __asm__("" : "+w"(v[i]));  // else the product joins a sum
  }
  for (int distance = 4; distance > 0; distance /= 2)
    for (int i = 0; i < 8; i++)
      if ((i & distance) == 0) {
        const float32x4_t low = v[i], high = v[i + distance];
        v[i] = vaddq_f32(low, high);
        v[i + distance] = vsubq_f32(low, high);
      }
  for (int i = 0; i < 8; i++) {
    const float32x2_t low = vget_low_f32(v[i]), high = vget_high_f32(v[i]);
    const float32x4_t two = vcombine_f32(vadd_f32(low, high), vsub_f32(low, high));
    const float32x4_t even = vtrn1q_f32(two, two), odd = vtrn2q_f32(two, two);
    v[i] = vtrn1q_f32(vaddq_f32(even, odd), vsubq_f32(even, odd));
  }
}

static void rotate_neon(const float *x, const float *factors, float *out) {
  float32x4_t v[8];
  load_neon(x, factors, v);
  for (int i = 0; i < 8; i++) vst1q_f32(out + 4 * i, v[i]);
}

static void group_neon(const float *x, const float *factors, int8_t *code, float *scale, int32_t *start) {
  uint32x4_t most = vdupq_n_u32(0);
  float32x4_t v[8];
  load_neon(x, factors, v);
  for (int i = 0; i < 8; i++) most = vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(v[i]), vdupq_n_u32(0x7fffffffu)));
  const uint32_t top = vmaxvq_u32(most);
  if (is_code_less(top, code, scale, start)) return;
  float largest;
  memcpy(&largest, &top, 4);
  const float factor = 127.0f / largest;
  int32x4_t sum = vdupq_n_s32(0);
  for (int i = 0; i < 8; i += 2) {
    const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(v[i], factor)), high = vcvtnq_s32_f32(vmulq_n_f32(v[i + 1], factor));
    sum = vaddq_s32(sum, vaddq_s32(low, high));
    vst1_s8(code + 4 * i, vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high))));
  }
  *scale = largest / 127.0f;
  *start = -128 * vaddvq_s32(sum);
}
#endif

// ---- rows ----

void pk_mean_squares(const float *x, size_t rows, size_t k, float *out) {
  for (size_t i = 0; i < k; i++) out[i] = 0;
  for (size_t row = 0; row < rows; row++)
    for (size_t i = 0; i < k; i++) out[i] += x[row * k + i] * x[row * k + i] / (float)rows;
}

void pk_rotate_rows(int isa, const float *x, size_t rows, size_t k, const float *factors, float *out) {
  void (*rotate)(const float *, const float *, float *) = rotate_generic;
#if PK_X86
  if (isa >= PK_ISA_AVX2) rotate = rotate_avx2;
#elif PK_ARM
  if (isa >= PK_ISA_NEON) rotate = rotate_neon;
#else
  (void)isa;
#endif
  const size_t whole = k / PK_GROUP * PK_GROUP;
  for (size_t row = 0; row < rows; row++) {
    for (size_t i = 0; i < whole; i += PK_GROUP) rotate(x + row * k + i, factors + i, out + row * k + i);
    for (size_t i = whole; i < k; i++) out[row * k + i] = x[row * k + i] * factors[i];
  }
}

void pk_quantize_rows(int isa, const float *x, size_t rows, size_t k, const float *factors, int8_t *codes, float *scales, int32_t *starts) {
  void (*group)(const float *, const float *, int8_t *, float *, int32_t *) = group_generic;
#if PK_X86
  if (isa >= PK_ISA_AVX2) group = group_avx2;
#elif PK_ARM
  if (isa >= PK_ISA_NEON) group = group_neon;
#else
  (void)isa;
#endif
  const size_t groups = panel_groups(k), whole = k / PK_GROUP;
  for (size_t row = 0; row < rows; row++) {
    const size_t first = row * groups;
    for (size_t g = 0; g < whole; g++)
      group(x + row * k + g * PK_GROUP, factors ? factors + g * PK_GROUP : NULL, codes + (first + g) * PK_GROUP, scales + first + g,
            starts + first + g);
    if (whole == groups) continue;
    float tail[PK_GROUP] = {0};
    for (size_t i = whole * PK_GROUP; i < k; i++) tail[i - whole * PK_GROUP] = factors ? x[row * k + i] * factors[i] : x[row * k + i];
    group(tail, NULL, codes + (first + whole) * PK_GROUP, scales + first + whole, starts + first + whole);
  }
}
