// SPDX-License-Identifier: Apache-2.0
#include "pk_training.h"

#include "common.h"
#include "decode_exp.h"

#if PK_X86
#define PK_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PK_CLONES
#endif
// Sums may be formed in lanes: still one fixed order a machine.
#define PK_LANES _Pragma("clang fp reassociate(on)")

PK_CLONES void pk_train_add(float *restrict y, const float *restrict x, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] += x[i];
}

PK_CLONES void pk_train_sum(float *restrict out, const float *restrict a, const float *restrict b, size_t count) {
  for (size_t i = 0; i < count; i++) out[i] = a[i] + b[i];
}

PK_CLONES double pk_train_square_sum(const float *x, size_t count) {
  PK_LANES
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
  return sum;
}

void pk_train_embed(const int32_t *ids, size_t n, size_t width, const float *table, int32_t first, int32_t count,
                    float *out) {
  for (size_t r = 0; r < n; r++) {
    int64_t row = (int64_t)ids[r] - first;
    if (row >= 0 && row < count)
      memcpy(out + r * width, table + (size_t)row * width, width * sizeof(float));
    else
      memset(out + r * width, 0, width * sizeof(float));
  }
}

void pk_train_embed_backward(const int32_t *ids, size_t n, size_t width, const float *dout, int32_t first, int32_t count,
                             float *gradient) {
  for (size_t r = 0; r < n; r++) {
    int64_t row = (int64_t)ids[r] - first;
    if (row >= 0 && row < count) pk_train_add(gradient + (size_t)row * width, dout + r * width, width);
  }
}

PK_CLONES void pk_train_rms(const float *restrict x, const float *restrict gain, size_t rows, size_t width, float epsilon,
                            float *restrict y, float *restrict inverse) {
  PK_LANES
  for (size_t r = 0; r < rows; r++) {
    const float *in = x + r * width;
    float *out = y + r * width;
    float sum = 0;
    for (size_t i = 0; i < width; i++) sum += in[i] * in[i];
    float scale = 1.0f / sqrtf(sum / (float)width + epsilon);
    inverse[r] = scale;
    for (size_t i = 0; i < width; i++) out[i] = in[i] * scale * gain[i];
  }
}

PK_CLONES void pk_train_rms_backward(const float *restrict x, const float *restrict gain, const float *restrict inverse,
                                     const float *restrict dy, size_t rows, size_t width, float *restrict dx,
                                     float *restrict dgain) {
  PK_LANES
  for (size_t r = 0; r < rows; r++) {
    const float *in = x + r * width;
    const float *grad = dy + r * width;
    float *out = dx + r * width;
    float scale = inverse[r], dot = 0;
    for (size_t i = 0; i < width; i++) {
      dot += grad[i] * gain[i] * in[i];
      dgain[i] += grad[i] * in[i] * scale;
    }
    float shift = dot * scale * scale * scale / (float)width;
    for (size_t i = 0; i < width; i++) out[i] += grad[i] * gain[i] * scale - in[i] * shift;
  }
}

PK_CLONES void pk_train_causal_softmax(float *scores, size_t t, float scale) {
  PK_LANES
  for (size_t r = 0; r < t; r++) {
    float *row = scores + r * t;
    float top = row[0];
    for (size_t i = 1; i <= r; i++) top = row[i] > top ? row[i] : top;
    float sum = 0;
    for (size_t i = 0; i <= r; i++) {
      float e = pk_exp1((row[i] - top) * scale);
      row[i] = e;
      sum += e;
    }
    float inverse = 1.0f / sum;
    for (size_t i = 0; i <= r; i++) row[i] *= inverse;
    memset(row + r + 1, 0, (t - r - 1) * sizeof(float));
  }
}

PK_CLONES void pk_train_causal_softmax_backward(const float *restrict p, float *restrict dp, size_t t, float scale) {
  PK_LANES
  for (size_t r = 0; r < t; r++) {
    const float *weight = p + r * t;
    float *grad = dp + r * t;
    float dot = 0;
    for (size_t i = 0; i <= r; i++) dot += weight[i] * grad[i];
    for (size_t i = 0; i <= r; i++) grad[i] = scale * weight[i] * (grad[i] - dot);
    memset(grad + r + 1, 0, (t - r - 1) * sizeof(float));
  }
}

PK_CLONES void pk_train_row_max(const float *logits, size_t rows, size_t width, float *maxima) {
  PK_LANES
  for (size_t r = 0; r < rows; r++) {
    const float *row = logits + r * width;
    float lane[16];
    for (int l = 0; l < 16; l++) lane[l] = row[0];
    size_t i = 0;
    for (; i + 16 <= width; i += 16)
      for (int l = 0; l < 16; l++) lane[l] = row[i + l] > lane[l] ? row[i + l] : lane[l];
    for (; i < width; i++) lane[0] = row[i] > lane[0] ? row[i] : lane[0];
    for (int l = 1; l < 16; l++) lane[0] = lane[l] > lane[0] ? lane[l] : lane[0];
    maxima[r] = lane[0];
  }
}

PK_CLONES void pk_train_row_exp(float *logits, size_t rows, size_t width, const float *maxima, const int32_t *targets,
                                int32_t first, float *pair) {
  PK_LANES
  for (size_t r = 0; r < rows; r++) {
    float *row = logits + r * width;
    float top = maxima[r], sum = 0;
    int64_t target = (int64_t)targets[r] - first;
    pair[rows + r] = targets[r] >= 0 && target >= 0 && target < (int64_t)width ? row[target] - top : 0.0f;
    for (size_t i = 0; i < width; i++) {
      float e = pk_exp1(row[i] - top);
      row[i] = e;
      sum += e;
    }
    // pk_exp1 clamps, so a NaN would vanish: keep it visible in the loss.
    pair[r] = top != top ? top : sum;
  }
}

PK_CLONES void pk_train_row_gradient(float *e, size_t rows, size_t width, const float *sums, const int32_t *targets,
                                     int32_t first, float scale) {
  for (size_t r = 0; r < rows; r++) {
    float *row = e + r * width;
    if (targets[r] < 0) {
      memset(row, 0, width * sizeof(float));
      continue;
    }
    float factor = scale / sums[r];
    for (size_t i = 0; i < width; i++) row[i] *= factor;
    int64_t target = (int64_t)targets[r] - first;
    if (target >= 0 && target < (int64_t)width) row[target] -= scale;
  }
}

PK_CLONES void pk_train_adamw(float *restrict p, const float *restrict g, float *restrict m, float *restrict v, size_t count,
                              float lr, float beta1, float beta2, float epsilon, float decay, float correction1,
                              float correction2, float gscale) {
  float step = lr / correction1, root = 1.0f / sqrtf(correction2), keep = 1.0f - lr * decay;
  for (size_t i = 0; i < count; i++) {
    float grad = g[i] * gscale;
    float first = beta1 * m[i] + (1.0f - beta1) * grad;
    float second = beta2 * v[i] + (1.0f - beta2) * grad * grad;
    m[i] = first;
    v[i] = second;
    p[i] = p[i] * keep - step * first / (sqrtf(second) * root + epsilon);
  }
}

static inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

void pk_train_normal(float *out, size_t rows, size_t columns, size_t first_row, size_t first_column, size_t whole_columns,
                     uint64_t key, float deviation) {
  for (size_t r = 0; r < rows; r++) {
    for (size_t c = 0; c < columns; c++) {
      uint64_t place = (uint64_t)(first_row + r) * whole_columns + first_column + c;
      uint64_t a = mix(key + (2 * place + 1) * 0x9E3779B97F4A7C15u), b = mix(key + (2 * place + 2) * 0x9E3779B97F4A7C15u);
      double u = ((double)(a >> 11) + 1.0) * 0x1.0p-53, w = (double)(b >> 11) * 0x1.0p-53;
      out[r * columns + c] = (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * w) * deviation);
    }
  }
}
