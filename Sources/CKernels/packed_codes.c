// SPDX-License-Identifier: Apache-2.0
//
// Codes of 8 or 4 bits for groups of weights: plain C, and the same with AVX2, to the bit. Without fused multiplication, which would round otherwise.
#include "common.h"
#include "half.h"
#include "include/pk_decode.h"
#include "include/pk_packed.h"
#include "packed.h"

#include <stdlib.h>

const int8_t pk_table_i4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// Groups without a number this large are zeros, so that no quotient leaves f32's range.
static const float least_extreme = 1e-30f;

// What the largest number of a group may be divided by; a negative scale turns the table round.
static const float divisors[] = {-127, -119, -134, 113, 120};

static float rounded(float scale, float unit, uint16_t *half) {
  *half = float_to_half_bits(scale / unit);
  return half_bits_to_float(*half) * unit;
}

// The place in the table nearest to each whole number from -128 to 127, and the number there.
static void find_nearest(int8_t place[256], float number[256]) {
  for (int value = -128; value < 128; value++) {
    int best = 0;
    for (int i = 1; i < 16; i++)
      if (abs(pk_table_i4[i] - value) < abs(pk_table_i4[best] - value)) best = i;
    place[value + 128] = (int8_t)best;
    number[value + 128] = pk_table_i4[best];
  }
}

// ---- plain C ----

// A product that is not fused with the sum it joins: aarch64 always has the instruction, and no pragma keeps the compiler from it.
static float rounded_product(float a, float b) {
  float product = a * b;
#if PK_ARM
  __asm__("" : "+w"(product));
#endif
  return product;
}

static float largest_generic(const float *row, size_t k) {
  float largest = 0;
  for (size_t i = 0; i < k; i++) {
    const float size = fabsf(row[i]);
    if (size > largest && size < INFINITY) largest = size;
  }
  return largest;
}

// The number of the largest magnitude, of equal ones the first.
static bool extreme_generic(const float values[PK_GROUP], float *extreme) {
  bool is_finite = true;
  *extreme = 0;
  for (size_t i = 0; i < PK_GROUP; i++) {
    if (!(fabsf(values[i]) < INFINITY)) is_finite = false;
    if (fabsf(values[i]) > fabsf(*extreme)) *extreme = values[i];
  }
  return is_finite;
}

static uint16_t group_i8_generic(const float values[PK_GROUP], float unit, int8_t code[PK_GROUP]) {
  float extreme;
  if (!extreme_generic(values, &extreme)) return 0x7e00u;
  if (!(fabsf(extreme) >= least_extreme)) return 0;
  uint16_t half;
  const float scale = rounded(fabsf(extreme) / 127, unit, &half);
  for (size_t i = 0; i < PK_GROUP; i++) {
    const float value = scale > 0 ? values[i] / scale : 0;
    code[i] = (int8_t)lrintf(value > 127 ? 127 : value < -127 ? -127 : value);
  }
  return half;
}

static size_t step_of(float value) {
  value = value > 127 ? 127 : value < -128 ? -128 : value;
  return (size_t)(lrintf(value) + 128);
}

// Numbers q are chosen for each of some scales. The scale that then suits them best is sum(wq) / sum(q^2), and the squared
// error is sum(w^2) - sum(wq)^2 / sum(q^2): the codes with the largest quotient win.
static uint16_t group_i4_generic(const float values[PK_GROUP], float unit, int8_t code[PK_GROUP]) {
  static _Thread_local int8_t place[256];
  static _Thread_local float number[256];
  static _Thread_local bool is_ready;
  if (!is_ready) {
    find_nearest(place, number);
    is_ready = true;
  }
  float extreme;
  if (!extreme_generic(values, &extreme)) return 0x7e00u;
  if (!(fabsf(extreme) >= least_extreme)) return 0;
  float most = -1, best = 0;
  for (size_t c = 0; c < sizeof divisors / sizeof *divisors; c++) {
    const float inverse = divisors[c] / extreme;
    float product[4] = {0}, square = 0;
    for (size_t i = 0; i < PK_GROUP; i++) {
      const float chosen = number[step_of(values[i] * inverse)];
      product[i % 4] += rounded_product(values[i], chosen);
      square += chosen * chosen;  // whole numbers below 2^24: exact
    }
    const float products = (product[0] + product[1]) + (product[2] + product[3]);
    const float score = products * (products / square);
    if (score > most) {
      most = score;
      best = products / square;
    }
  }
  uint16_t half;
  const float scale = rounded(best, unit, &half);
  if (scale == 0) return 0;
  const float inverse = 1 / scale;
  for (size_t i = 0; i < PK_GROUP; i++) code[i] = place[step_of(values[i] * inverse)];
  return half;
}

// ---- AVX2 ----

#if PK_X86
#define NO_FMA __attribute__((target("avx2")))

// Of whole numbers v from -128 to 127, by their upper four bits: what is nearest below a first bound, from there on, and from a second
// bound on. No sixteen neighbours have more than two bounds.
struct ladder {
  int8_t after[2][16];
  int8_t place[3][16];
  int8_t number[3][16];
};

static void build(struct ladder *ladder) {
  int8_t place[256];
  float number[256];
  find_nearest(place, number);
  for (int upper = 0; upper < 16; upper++) {
    const int first = upper < 8 ? upper * 16 : upper * 16 - 256;
    int8_t found[3];
    int count = 0;
    ladder->after[0][upper] = ladder->after[1][upper] = 127;  // nothing is greater
    for (int value = first; value < first + 16; value++) {
      const int8_t own = place[value + 128];
      if (count > 0 && found[count - 1] == own) continue;
      if (count > 0) ladder->after[count - 1][upper] = (int8_t)(value - 1);
      found[count++] = own;
    }
    for (int i = 0; i < 3; i++) {
      ladder->place[i][upper] = found[i < count ? i : count - 1];
      ladder->number[i][upper] = pk_table_i4[(int)ladder->place[i][upper]];
    }
  }
}

NO_FMA static __m256 magnitude(__m256 x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }

NO_FMA static float across(__m256 x) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

NO_FMA static float largest_avx2(const float *row, size_t k) {
  const __m256 infinity = _mm256_set1_ps(INFINITY);
  __m256 most = _mm256_setzero_ps();
  size_t i = 0;
  for (; i + 8 <= k; i += 8) {
    const __m256 size = magnitude(_mm256_loadu_ps(row + i));
    most = _mm256_max_ps(most, _mm256_and_ps(size, _mm256_cmp_ps(size, infinity, _CMP_LT_OQ)));
  }
  const float rest = largest_generic(row + i, k - i), own = across(most);
  return rest > own ? rest : own;
}

NO_FMA static bool extreme_avx2(const __m256 v[4], const float values[PK_GROUP], float *extreme) {
  const __m256 infinity = _mm256_set1_ps(INFINITY);
  __m256 size[4], finite = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  for (int i = 0; i < 4; i++) {
    size[i] = magnitude(v[i]);
    finite = _mm256_and_ps(finite, _mm256_cmp_ps(size[i], infinity, _CMP_LT_OQ));
  }
  if (_mm256_movemask_ps(finite) != 255) return false;
  const float most = across(_mm256_max_ps(_mm256_max_ps(size[0], size[1]), _mm256_max_ps(size[2], size[3])));
  uint32_t equal = 0;
  for (int i = 0; i < 4; i++) equal |= (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(size[i], _mm256_set1_ps(most), _CMP_EQ_OQ)) << i * 8;
  *extreme = values[__builtin_ctz(equal)];
  return true;
}

// The nearest whole numbers as bytes, in the order of the group.
NO_FMA static __m256i bytes_of(const __m256 x[4]) {
  const __m256i low = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[1]));
  const __m256i high = _mm256_packs_epi32(_mm256_cvtps_epi32(x[2]), _mm256_cvtps_epi32(x[3]));
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

NO_FMA static uint16_t group_i8_avx2(const float values[PK_GROUP], float unit, int8_t code[PK_GROUP]) {
  __m256 v[4];
  for (int i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(values + i * 8);
  float extreme;
  if (!extreme_avx2(v, values, &extreme)) return 0x7e00u;
  if (!(fabsf(extreme) >= least_extreme)) return 0;
  uint16_t half;
  const float scale = rounded(fabsf(extreme) / 127, unit, &half);
  if (!(scale > 0)) return half;
  for (int i = 0; i < 4; i++) {
    const __m256 value = _mm256_div_ps(v[i], _mm256_set1_ps(scale));
    v[i] = _mm256_max_ps(_mm256_min_ps(value, _mm256_set1_ps(127)), _mm256_set1_ps(-127));
  }
  _mm256_storeu_si256((__m256i *)code, bytes_of(v));
  return half;
}

NO_FMA static __m256i twice(const int8_t table[16]) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
}

NO_FMA static uint16_t group_i4_avx2(const float values[PK_GROUP], float unit, int8_t code[PK_GROUP]) {
  static _Thread_local struct ladder ladder;
  static _Thread_local bool is_ready;
  if (!is_ready) {
    build(&ladder);
    is_ready = true;
  }
  __m256 v[4];
  for (int i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(values + i * 8);
  float extreme;
  if (!extreme_avx2(v, values, &extreme)) return 0x7e00u;
  if (!(fabsf(extreme) >= least_extreme)) return 0;
  const __m256i bound0 = twice(ladder.after[0]), bound1 = twice(ladder.after[1]);
  const __m256i n0 = twice(ladder.number[0]), n1 = twice(ladder.number[1]), n2 = twice(ladder.number[2]);
  const __m256i nibble = _mm256_set1_epi8(15);

  float most = -1, best = 0;
  for (size_t c = 0; c < sizeof divisors / sizeof *divisors; c++) {
    const __m256 inverse = _mm256_set1_ps(divisors[c] / extreme);
    __m256 x[4];
    for (int i = 0; i < 4; i++) x[i] = _mm256_mul_ps(v[i], inverse);
    const __m256i value = bytes_of(x);  // no magnitude is above 141, so packing does what limits do
    const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(value, 4), nibble);
    __m256i number = _mm256_shuffle_epi8(n0, upper);
    number = _mm256_blendv_epi8(number, _mm256_shuffle_epi8(n1, upper), _mm256_cmpgt_epi8(value, _mm256_shuffle_epi8(bound0, upper)));
    number = _mm256_blendv_epi8(number, _mm256_shuffle_epi8(n2, upper), _mm256_cmpgt_epi8(value, _mm256_shuffle_epi8(bound1, upper)));

    const __m256i size = _mm256_abs_epi8(number);
    const __m256i squares = _mm256_madd_epi16(_mm256_maddubs_epi16(size, size), _mm256_set1_epi16(1));
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(squares), _mm256_extracti128_si256(squares, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    const float square = (float)(_mm_cvtsi128_si32(four) + _mm_extract_epi32(four, 1));

    __m128 sum = _mm_setzero_ps();
    const __m128i halves[2] = {_mm256_castsi256_si128(number), _mm256_extracti128_si256(number, 1)};
    for (int i = 0; i < 4; i++) {
      const __m128i eight = i % 2 ? _mm_srli_si128(halves[i / 2], 8) : halves[i / 2];
      const __m256 product = _mm256_mul_ps(v[i], _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight)));
      sum = _mm_add_ps(sum, _mm256_castps256_ps128(product));
      sum = _mm_add_ps(sum, _mm256_extractf128_ps(product, 1));
    }
    float product[4];
    _mm_storeu_ps(product, sum);
    const float products = (product[0] + product[1]) + (product[2] + product[3]);
    const float score = products * (products / square);
    if (score > most) {
      most = score;
      best = products / square;
    }
  }
  uint16_t half;
  const float scale = rounded(best, unit, &half);
  if (scale == 0) return 0;
  const __m256 inverse = _mm256_set1_ps(1 / scale);
  for (int i = 0; i < 4; i++) {
    const __m256 value = _mm256_mul_ps(v[i], inverse);
    v[i] = _mm256_max_ps(_mm256_min_ps(value, _mm256_set1_ps(127)), _mm256_set1_ps(-128));
  }
  const __m256i value = bytes_of(v);
  const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(value, 4), nibble);
  __m256i place = _mm256_shuffle_epi8(twice(ladder.place[0]), upper);
  place = _mm256_blendv_epi8(
      place, _mm256_shuffle_epi8(twice(ladder.place[1]), upper), _mm256_cmpgt_epi8(value, _mm256_shuffle_epi8(bound0, upper)));
  place = _mm256_blendv_epi8(
      place, _mm256_shuffle_epi8(twice(ladder.place[2]), upper), _mm256_cmpgt_epi8(value, _mm256_shuffle_epi8(bound1, upper)));
  _mm256_storeu_si256((__m256i *)code, place);
  return half;
}
#endif

struct code_choice code_choice(int isa, int type) {
#if PK_X86
  if (isa >= PK_ISA_AVX2)
    return (struct code_choice){largest_avx2, type == PK_WEIGHT_I8 ? group_i8_avx2 : group_i4_avx2};
#endif
  (void)isa;
  return (struct code_choice){largest_generic, type == PK_WEIGHT_I8 ? group_i8_generic : group_i4_generic};
}
