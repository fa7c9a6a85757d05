// SPDX-License-Identifier: Apache-2.0
// Stored weights to f32. Bandwidth-bound: 2 or 8 bytes in, 4 out.
#include "common.h"
#include "half.h"
#include "include/pk_encoder.h"

static void f16_generic(const uint8_t *restrict source, float *restrict out, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i++) {
    uint16_t half;
    memcpy(&half, source + 2 * i, 2);
    out[i] = half_bits_to_float(half);
  }
}

#if PK_X86
PK_AVX2 static void f16_avx2(const uint8_t *restrict source, float *restrict out, ptrdiff_t count) {
  ptrdiff_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(source + 2 * i))));
  f16_generic(source + 2 * i, out + i, count - i);
}
#endif

void pk_f16_to_f32(const void *restrict source, float *restrict out, ptrdiff_t count) {
#if PK_X86
  if (pk_encoder_isa() >= PK_LEVEL_AVX2 && __builtin_cpu_supports("f16c")) {
    f16_avx2(source, out, count);
    return;
  }
#endif
  f16_generic(source, out, count);
}

void pk_bf16_to_f32(const void *restrict source, float *restrict out, ptrdiff_t count) {
  const uint8_t *from = source;
  for (ptrdiff_t i = 0; i < count; i++) {
    uint16_t top;
    memcpy(&top, from + 2 * i, 2);
    const uint32_t bits = (uint32_t)top << 16;
    memcpy(out + i, &bits, 4);
  }
}

void pk_f64_to_f32(const void *restrict source, float *restrict out, ptrdiff_t count) {
  const uint8_t *from = source;
  for (ptrdiff_t i = 0; i < count; i++) {
    double value;
    memcpy(&value, from + 8 * i, 8);
    out[i] = (float)value;
  }
}
