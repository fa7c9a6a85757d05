// SPDX-License-Identifier: Apache-2.0
// What all kernel files share. Private to this target.
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define PK_X86 1
// Wider vectors for plain loops, without fused multiplication: the same bits as without it.
#define PK_WIDE __attribute__((target("avx2")))
#define PK_IS_WIDE __builtin_cpu_supports("avx2")
#define PK_AVX2 __attribute__((target("avx2,fma,f16c")))
#define PK_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
#else
#define PK_X86 0
#if defined(__aarch64__)
#include <arm_neon.h>
#define PK_ARM 1
#endif
#define PK_WIDE
#define PK_IS_WIDE 0
#endif

#ifndef PK_ARM
#define PK_ARM 0
#endif

#define PK_INLINE static inline __attribute__((always_inline))

// pk_NAME, from an inline function NAME: compiled for vectors of two widths, with the same bits.
#define PK_TWICE(type, name, parameters, arguments)                       \
  PK_WIDE static type name##_wide parameters { return name arguments; }   \
  type pk_##name parameters { return PK_IS_WIDE ? name##_wide arguments : name arguments; }

// The same with fused multiplication where the machine has it: the same bits on all machines that have, whatever the width of their vectors.
#if PK_X86
#define PK_FUSED(type, name, parameters, arguments)                            \
  PK_AVX2 static type name##_avx2 parameters { return name arguments; }        \
  PK_AVX512 static type name##_avx512 parameters { return name arguments; }    \
  type pk_##name parameters {                                                  \
    switch (pk_machine_isa()) {                                                \
      case PK_LEVEL_AVX512: return name##_avx512 arguments;                    \
      case PK_LEVEL_AVX2: return name##_avx2 arguments;                        \
      default: return name arguments;                                          \
    }                                                                          \
  }
#else
#define PK_FUSED(type, name, parameters, arguments) \
  type pk_##name parameters { return name arguments; }
#endif

// Instruction sets in ascending order; a kernel uses the best one that both it and the machine have.
enum pk_isa_level { PK_GENERIC = 0, PK_LEVEL_AVX2 = 1, PK_LEVEL_AVX512 = 2 };

// What this machine supports. __builtin_cpu_supports reads a table that is filled once, so this costs a few loads.
static inline int pk_machine_isa(void) {
#if PK_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"))
    return PK_LEVEL_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return PK_LEVEL_AVX2;
#endif
  return PK_GENERIC;
}
