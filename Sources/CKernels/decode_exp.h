// SPDX-License-Identifier: Apache-2.0
//
// exp for f32 without branches, so that loops over it vectorise. Range reduction by ln 2 in two parts and a degree 6
// Taylor polynomial on [-ln2/2, ln2/2]; relative error below 3e-7. Below -87 the result is flushed to 0.
#ifndef PK_DECODE_EXP_H
#define PK_DECODE_EXP_H

#include <stdint.h>
#include <string.h>

static inline __attribute__((always_inline)) float pk_exp1(float x) {
  float low = x < -87.0f ? -87.0f : x;
  float clamped = low > 88.0f ? 88.0f : low;
  float shifted = clamped * 1.44269504088896341f + 12582912.0f;  // 1.5 * 2^23 rounds to the nearest whole number
  float whole = shifted - 12582912.0f;
  float r = clamped - whole * 0.693359375f;
  r = r - whole * -2.12194440e-4f;
  float p = 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  uint32_t bits;
  memcpy(&bits, &shifted, 4);
  uint32_t power = (bits + 127u) << 23;
  float scale;
  memcpy(&scale, &power, 4);
  return x < -87.0f ? 0.0f : p * scale;
}

// tanh by the same; its error, some 1e-7, is absolute.
static inline __attribute__((always_inline)) float pk_tanh1(float x) { return 1.0f - 2.0f / (pk_exp1(2.0f * x) + 1.0f); }

#endif
