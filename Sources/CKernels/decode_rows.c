// SPDX-License-Identifier: Apache-2.0
//
// Row-wise operators of a decoder step: norms, rotary positions, gated activations, lookups, logits.
#include "pk_decode.h"

#include <math.h>
#include <string.h>

#include "decode_exp.h"

void pk_rms_norm(const float *x, const float *gain, float *y, size_t rows, size_t n, float epsilon) {
  for (size_t r = 0; r < rows; r++) {
    const float *in = x + r * n;
    float *out = y + r * n;
    float sum[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
      for (int l = 0; l < 16; l++) sum[l] += in[i + l] * in[i + l];
    for (int l = 0; i < n; i++, l++) sum[l] += in[i] * in[i];
    for (int width = 8; width > 0; width /= 2)
      for (int l = 0; l < width; l++) sum[l] += sum[l + width];
    float scale = 1.0f / sqrtf(sum[0] / (float)n + epsilon);
    for (i = 0; i < n; i++) out[i] = in[i] * scale * gain[i];
  }
}

void pk_rope_table(const int32_t *positions, const float *frequencies, float *cosine, float *sine, size_t rows,
                   size_t half) {
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < half; i++) {
      float angle = (float)positions[r] * frequencies[i];
      cosine[r * half + i] = cosf(angle);
      sine[r * half + i] = sinf(angle);
    }
}

void pk_rope_apply(float *x, const float *cosine, const float *sine, size_t rows, size_t heads, size_t half) {
  for (size_t r = 0; r < rows; r++) {
    const float *c = cosine + r * half;
    const float *s = sine + r * half;
    for (size_t h = 0; h < heads; h++) {
      float *restrict a = x + (r * heads + h) * 2 * half;
      float *restrict b = a + half;
      for (size_t i = 0; i < half; i++) {
        float first = a[i], second = b[i];
        a[i] = first * c[i] - second * s[i];
        b[i] = second * c[i] + first * s[i];
      }
    }
  }
}

void pk_swiglu(float *gate, const float *up, size_t n) {
  for (size_t i = 0; i < n; i++) gate[i] = gate[i] / (1.0f + pk_exp1(-gate[i])) * up[i];
}

void pk_add(float *x, const float *y, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] += y[i];
}

void pk_embed_row(int type, const void *table, size_t row, float *out, size_t n) {
  if (type == PK_WEIGHT_F32) {
    memcpy(out, (const float *)table + row * n, n * 4);
    return;
  }
  const uint16_t *in = (const uint16_t *)table + row * n;
  for (size_t i = 0; i < n; i++) {
    uint32_t wide = (uint32_t)in[i] << 16;
    memcpy(out + i, &wide, 4);
  }
}

double pk_log_sum_exp(const float *x, size_t n) {
  float top = -INFINITY;
  for (size_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
  if (!(top > -INFINITY)) return -INFINITY;
  double sum = 0;
  float part[64];
  for (size_t i = 0; i < n; i += 64) {
    size_t count = n - i < 64 ? n - i : 64;
    for (size_t l = 0; l < count; l++) part[l] = pk_exp1(x[i + l] - top);
    for (size_t l = 0; l < count; l++) sum += part[l];
  }
  return (double)top + log(sum);
}

size_t pk_argmax(const float *x, size_t n) {
  size_t best = 0;
  float top = -INFINITY;
  int found = 0;
  for (size_t i = 0; i < n; i++)
    if (x[i] > top || (!found && x[i] == x[i])) {
      top = x[i];
      best = i;
      found = 1;
    }
  return best;
}

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

size_t pk_draw(const float *x, size_t n, double log_sum, double unit) {
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < n; i++) {
    double p = (double)pk_exp1((float)((double)x[i] - log_sum));
    if (p > 0) last = i;
    sum += p;
    if (sum > unit) return i;
  }
  return last;
}
