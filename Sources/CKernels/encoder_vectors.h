// SPDX-License-Identifier: Apache-2.0
// What encoder kernels are written with. Each body is written once over 16-lane vectors, which the compiler maps to 4 SSE, 2 AVX
// or 1 AVX-512 registers (or NEON), and is instantiated for each instruction set; `DEFINE` adds the dispatch. Private to this target.
#pragma once
#include "common.h"
#include "include/pk_encoder.h"

typedef float v16 __attribute__((vector_size(64)));
#define INLINE static inline __attribute__((always_inline))

#if PK_X86
#define DEFINE(result, name, parameters, arguments)                                     \
  static result name##_generic parameters { return body_##name arguments; }             \
  PK_AVX2 static result name##_avx2 parameters { return body_##name arguments; }        \
  PK_AVX512 static result name##_avx512 parameters { return body_##name arguments; }    \
  result pk_##name parameters {                                                         \
    switch (pk_encoder_isa()) {                                                         \
      case PK_LEVEL_AVX512: return name##_avx512 arguments;                             \
      case PK_LEVEL_AVX2: return name##_avx2 arguments;                                 \
      default: return name##_generic arguments;                                         \
    }                                                                                   \
  }
#else
#define DEFINE(result, name, parameters, arguments)                         \
  static result name##_generic parameters { return body_##name arguments; } \
  result pk_##name parameters { return name##_generic arguments; }
#endif

#define LOAD(pointer)                         \
  ({                                          \
    v16 loaded_;                              \
    memcpy(&loaded_, (pointer), sizeof(v16)); \
    loaded_;                                  \
  })
#define STORE(pointer, value)                \
  do {                                       \
    v16 stored_ = (value);                   \
    memcpy((pointer), &stored_, sizeof(v16)); \
  } while (0)
#define SPLAT(value)                                                                              \
  ({                                                                                              \
    const float one_ = (value);                                                                   \
    (v16){one_, one_, one_, one_, one_, one_, one_, one_, one_, one_, one_, one_, one_, one_, one_, one_}; \
  })
// The sum of the lanes, pairwise.
#define REDUCE(vector)                                                                            \
  ({                                                                                              \
    v16 r_ = (vector);                                                                            \
    float s_[8];                                                                                  \
    for (int l_ = 0; l_ < 8; l_++) s_[l_] = r_[l_] + r_[l_ + 8];                                  \
    ((s_[0] + s_[4]) + (s_[2] + s_[6])) + ((s_[1] + s_[5]) + (s_[3] + s_[7]));                    \
  })

// ---- elementary functions, per lane ----

// e^x for x in [-87, 88] (clamped): 2^n * e^r, |r| <= ln 2 / 2, degree 6 Taylor-like polynomial; relative error 2e-7.
INLINE float exp_f32(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the integer part lands in the low mantissa bits
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  uint32_t bits;
  memcpy(&bits, &shifted, 4);
  bits = (bits - 0x4B400000u + 127u) << 23;
  float scale;
  memcpy(&scale, &bits, 4);
  return p * scale;
}
