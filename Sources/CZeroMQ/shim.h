// SPDX-License-Identifier: Apache-2.0
// libzmq, and the few things next to it that Swift cannot express: futexes and atomics on memory that processes share.
#pragma once
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

static inline uint32_t pz_load_u32(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
static inline void pz_store_u32(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_SEQ_CST); }
static inline uint32_t pz_add_u32(uint32_t *word, uint32_t value) { return __atomic_add_fetch(word, value, __ATOMIC_SEQ_CST); }

/// Sleeps until `word` is woken, no longer equals `expected`, or `milliseconds` have passed. Works between processes.
static inline void pz_futex_wait(uint32_t *word, uint32_t expected, int milliseconds) {
  struct timespec limit = {milliseconds / 1000, (milliseconds % 1000) * 1000000L};
  syscall(SYS_futex, word, FUTEX_WAIT, expected, &limit, NULL, 0);
}
static inline void pz_futex_wake_all(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0); }

/// A short pause inside a spin loop.
static inline void pz_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/// target[i] += source[i]
static inline void pz_sum_f32(float *restrict target, const float *restrict source, size_t count) {
  for (size_t i = 0; i < count; i++) target[i] += source[i];
}
/// target[i] = max(target[i], source[i]); a NaN on either side stays a NaN.
static inline void pz_max_f32(float *restrict target, const float *restrict source, size_t count) {
  for (size_t i = 0; i < count; i++) {
    float a = target[i], b = source[i];
    target[i] = (a > b || a != a) ? a : b;
  }
}

static inline int64_t pz_monotonic_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
