// SPDX-License-Identifier: Apache-2.0
//
// What a sampler asks of a row of logits: the largest, the sum of their exponentials, the best few, a draw. Sums are formed in an order that does
// not depend on the machine, and without fused multiplication, so that a request draws the same tokens everywhere.
#include "common.h"
#include "decode_exp.h"
#include "pk_decode.h"

enum { STRIP = 64 };  // elements that are looked at together

// The largest element; NaN counts as nothing.
PK_INLINE float largest(const float *x, size_t n) {
  float top[STRIP];
  for (int l = 0; l < STRIP; l++) top[l] = -INFINITY;
  size_t i = 0;
  for (; i + STRIP <= n; i += STRIP)
    for (int l = 0; l < STRIP; l++) top[l] = x[i + (size_t)l] > top[l] ? x[i + (size_t)l] : top[l];
  for (; i < n; i++) top[0] = x[i] > top[0] ? x[i] : top[0];
  for (int l = 1; l < STRIP; l++) top[0] = top[l] > top[0] ? top[l] : top[0];
  return top[0];
}

// The sum of up to STRIP numbers that are 0 behind `count`: eight sums side by side, then those.
PK_INLINE double strip_sum(const float *part) {
  double sum[8] = {0};
  for (int l = 0; l < STRIP; l += 8)
    for (int i = 0; i < 8; i++) sum[i] += (double)part[l + i];
  for (int width = 4; width > 0; width /= 2)
    for (int i = 0; i < width; i++) sum[i] += sum[i + width];
  return sum[0];
}

// part[l] = exp(x[l] - shift), 0 behind count.
PK_INLINE void strip_exp(const float *x, size_t count, double shift, float *part) {
  if (count < STRIP) {
    for (size_t l = 0; l < STRIP; l++) part[l] = l < count ? pk_exp1((float)((double)x[l] - shift)) : 0;
    return;
  }
  for (size_t l = 0; l < STRIP; l++) part[l] = pk_exp1((float)((double)x[l] - shift));
}

PK_INLINE double log_sum_exp(const float *x, size_t n) {
  const float top = largest(x, n);
  if (!(top > -INFINITY)) return -INFINITY;
  double sum = 0;
  float part[STRIP];
  for (size_t i = 0; i < n; i += STRIP) {
    strip_exp(x + i, n - i < STRIP ? n - i : STRIP, top, part);
    sum += strip_sum(part);
  }
  return (double)top + log(sum);
}

PK_INLINE size_t argmax(const float *x, size_t n) {
  const float top = largest(x, n);
  if (top > -INFINITY) {
    for (size_t i = 0; i < n; i += STRIP) {
      const size_t end = n - i < STRIP ? n : i + STRIP;
      int found = 0;
      for (size_t l = i; l < end; l++) found |= x[l] == top;
      if (!found) continue;
      for (size_t l = i; l < end; l++)
        if (x[l] == top) return l;
    }
  }
  for (size_t i = 0; i < n; i++)
    if (x[i] == x[i]) return i;
  return 0;
}

PK_INLINE size_t draw(const float *x, size_t n, double log_sum, double unit) {
  double sum = 0;
  size_t last = 0;
  float part[STRIP];
  for (size_t i = 0; i < n; i += STRIP) {
    const size_t count = n - i < STRIP ? n - i : STRIP;
    strip_exp(x + i, count, log_sum, part);
    const double next = sum + strip_sum(part);
    if (next > unit || i + STRIP >= n) {
      double inside = sum;
      for (size_t l = 0; l < count; l++) {
        if (part[l] > 0) last = i + l;
        inside += (double)part[l];
        if (inside > unit) return i + l;
      }
      // The order of the sums rounded the other way.
      if (next > unit) return last;
    } else if (next > sum) {
      for (size_t l = 0; l < count; l++)
        if (part[l] > 0) last = i + l;
    }
    sum = next;
  }
  return last;
}

PK_TWICE(double, log_sum_exp, (const float *x, size_t n), (x, n))
PK_TWICE(size_t, argmax, (const float *x, size_t n), (x, n))
PK_TWICE(size_t, draw, (const float *x, size_t n, double log_sum, double unit), (x, n, log_sum, unit))

// Whether element a comes behind element b in the order of pk_top_k.
static int behind(const float *x, int32_t a, int32_t b) { return x[a] < x[b] || (x[a] == x[b] && a > b); }

// Heap with the element that comes last at its root.
static void sift(const float *x, int32_t *heap, size_t count, size_t at) {
  for (;;) {
    size_t last = at, left = 2 * at + 1, right = left + 1;
    if (left < count && behind(x, heap[left], heap[last])) last = left;
    if (right < count && behind(x, heap[right], heap[last])) last = right;
    if (last == at) return;
    int32_t moved = heap[at];
    heap[at] = heap[last];
    heap[last] = moved;
    at = last;
  }
}

void pk_top_k(const float *x, size_t n, size_t k, int32_t *ids) {
  for (size_t i = 0; i < k; i++) ids[i] = (int32_t)i;
  for (size_t i = k / 2; i-- > 0;) sift(x, ids, k, i);
  for (size_t i = k; i < n; i++)
    if (behind(x, ids[0], (int32_t)i)) {
      ids[0] = (int32_t)i;
      sift(x, ids, k, 0);
    }
  for (size_t count = k; count > 1; count--) {
    int32_t moved = ids[0];
    ids[0] = ids[count - 1];
    ids[count - 1] = moved;
    sift(x, ids, count - 1, 0);
  }
}
