// SPDX-License-Identifier: Apache-2.0
// IEEE binary16 and bf16 to and from f32 without instructions for it. Private to this target.
#pragma once
#include <stdint.h>
#include <string.h>

static inline float half_bits_to_float(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  uint32_t mantissa = half & 0x3ffu;
  uint32_t bits;
  if (exponent == 0x1fu) {  // infinity, NaN (made quiet, as the hardware does)
    bits = sign | 0x7f800000u | (mantissa << 13) | (mantissa ? 0x00400000u : 0u);
  } else if (exponent != 0) {
    bits = sign | ((exponent + 112u) << 23) | (mantissa << 13);
  } else if (mantissa == 0) {
    bits = sign;
  } else {  // subnormal: normalise
    uint32_t shift = 0;
    while (!(mantissa & 0x400u)) {
      mantissa <<= 1;
      shift++;
    }
    bits = sign | ((113u - shift) << 23) | ((mantissa & 0x3ffu) << 13);
  }
  float out;
  memcpy(&out, &bits, 4);
  return out;
}

// To the nearest, ties to even. What is too large becomes infinity, NaN stays NaN.
static inline uint16_t float_to_half_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  const uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return sign | 0x7e00u;
  if (bits >= 0x477ff000u) return sign | 0x7c00u;
  if (bits < 0x38800000u) {  // below the smallest normal half: the sum's last bit is worth 2^-24
    float magnitude, sum;
    memcpy(&magnitude, &bits, 4);
    sum = magnitude + 0.5f;
    memcpy(&bits, &sum, 4);
    return sign | (uint16_t)(bits - 0x3f000000u);
  }
  return sign | (uint16_t)((bits - 0x38000000u + 0x0fffu + ((bits >> 13) & 1u)) >> 13);
}

// To the nearest, ties to even; NaN stays NaN.
static inline uint16_t float_to_bf16_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  const int is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return is_nan ? (uint16_t)((bits >> 16) | 0x40u) : (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline __attribute__((always_inline)) float bf16_bits_to_float(uint16_t bf16) {
  const uint32_t bits = (uint32_t)bf16 << 16;
  float out;
  memcpy(&out, &bits, 4);
  return out;
}
