// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "include/pk_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
  LOOKS = 64,             // between two looks at the clock
  AWAKE_NANOS = 100000,   // how long a helper looks for work before it sleeps
  PATIENCE = 4000,        // looks of the caller before it lets others have the processor
};

struct pk_pool {
  // The round in the upper half, pieces that nobody has begun in the lower one.
  _Alignas(64) _Atomic uint64_t open;
  // Pieces of this round that have ended.
  _Alignas(64) _Atomic uint32_t ended;
  // What sleeping helpers watch: changes with every round.
  _Alignas(64) _Atomic uint32_t round;
  _Atomic uint32_t sleeping;
  _Atomic bool is_over;
  // Of the present round: whoever has begun a piece may read them, since the caller waits for it.
  void (*body)(void *, size_t);
  void *context;
  size_t pieces;
  size_t helpers;
  pthread_t threads[];
};

static inline void look_again(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Begins pieces until there are none. Answers how many.
static uint32_t work(pk_pool *pool) {
  uint32_t count = 0;
  uint64_t open = atomic_load_explicit(&pool->open, memory_order_acquire);
  while ((uint32_t)open > 0) {
    if (!atomic_compare_exchange_weak_explicit(&pool->open, &open, open - 1, memory_order_acq_rel, memory_order_acquire)) continue;
    pool->body(pool->context, pool->pieces - (uint32_t)open);
    // After this the caller may begin a round, so nothing of this one is read again.
    atomic_fetch_add_explicit(&pool->ended, 1, memory_order_release);
    count++;
    open = atomic_load_explicit(&pool->open, memory_order_acquire);
  }
  return count;
}

static void *help(void *argument) {
  pk_pool *pool = argument;
  uint32_t seen = 0;
  uint64_t since = nanoseconds();
  for (uint32_t looks = 0;; looks++) {
    if (atomic_load_explicit(&pool->is_over, memory_order_acquire)) return NULL;
    if (work(pool) > 0) {
      since = nanoseconds();
      continue;
    }
    look_again();
    if (looks % LOOKS != 0 || nanoseconds() - since < AWAKE_NANOS) continue;
    seen = atomic_load_explicit(&pool->round, memory_order_seq_cst);
    atomic_fetch_add_explicit(&pool->sleeping, 1, memory_order_seq_cst);
    // A round that began meanwhile has changed what is watched, so that this returns at once.
    if ((uint32_t)atomic_load_explicit(&pool->open, memory_order_seq_cst) == 0 && !atomic_load_explicit(&pool->is_over, memory_order_seq_cst))
      syscall(SYS_futex, &pool->round, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub_explicit(&pool->sleeping, 1, memory_order_seq_cst);
    since = nanoseconds();
  }
}

static void wake(pk_pool *pool) {
  atomic_fetch_add_explicit(&pool->round, 1, memory_order_seq_cst);
  if (atomic_load_explicit(&pool->sleeping, memory_order_seq_cst) > 0)
    syscall(SYS_futex, &pool->round, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

pk_pool *pk_pool_create(size_t threads) {
  const size_t helpers = threads > 1 ? threads - 1 : 0;
  const size_t bytes = (sizeof(pk_pool) + helpers * sizeof(pthread_t) + 63) / 64 * 64;
  pk_pool *pool = aligned_alloc(64, bytes);
  if (!pool) return NULL;
  atomic_init(&pool->open, 0);
  atomic_init(&pool->ended, 0);
  atomic_init(&pool->round, 0);
  atomic_init(&pool->sleeping, 0);
  atomic_init(&pool->is_over, false);
  pool->helpers = 0;
  // Signals are for the process's other threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (pool->helpers < helpers && pthread_create(&pool->threads[pool->helpers], NULL, help, pool) == 0) pool->helpers++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return pool;
}

size_t pk_pool_threads(const pk_pool *pool) { return pool->helpers + 1; }

void pk_pool_run(pk_pool *pool, void (*body)(void *, size_t), void *context, size_t pieces) {
  if (pieces <= 1 || pool->helpers == 0) {
    for (size_t piece = 0; piece < pieces; piece++) body(context, piece);
    return;
  }
  pool->body = body;
  pool->context = context;
  pool->pieces = pieces;
  atomic_store_explicit(&pool->ended, 0, memory_order_relaxed);
  const uint64_t round = (atomic_load_explicit(&pool->open, memory_order_relaxed) >> 32) + 1;
  atomic_store_explicit(&pool->open, round << 32 | (uint32_t)pieces, memory_order_seq_cst);
  wake(pool);
  work(pool);
  for (uint32_t looks = 0; atomic_load_explicit(&pool->ended, memory_order_acquire) != (uint32_t)pieces; looks++) {
    if (looks < PATIENCE)
      look_again();
    else
      sched_yield();
  }
}

void pk_pool_destroy(pk_pool *pool) {
  atomic_store_explicit(&pool->is_over, true, memory_order_seq_cst);
  wake(pool);
  for (size_t i = 0; i < pool->helpers; i++) pthread_join(pool->threads[i], NULL);
  free(pool);
}
