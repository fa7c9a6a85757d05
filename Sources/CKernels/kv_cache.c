// SPDX-License-Identifier: Apache-2.0
//
// Storing of keys and values. Numbers are rounded one by one in plain C: the same bits on every machine.
#include <math.h>

#include "common.h"
#include "half.h"
#include "include/pk_attention.h"

// Multiplication and addition are rounded each, on every machine.
#pragma clang fp contract(off)

// The scale of `x`, and what to multiply with before rounding; NaN and 0 when something in it is not finite.
static float scale_of(const float *x, size_t head, float *factor) {
  float most = 0;
  bool is_finite = true;
  for (size_t d = 0; d < head; d++) {
    const float magnitude = fabsf(x[d]);
    is_finite &= magnitude <= 3.402823466e38f;
    most = magnitude > most ? magnitude : most;
  }
  *factor = is_finite && most > 0 ? 127.0f / most : 0;
  // Below, the quotient would be infinite: such numbers are nothing.
  if (is_finite && most < 1e-36f) *factor = 0;
  return is_finite ? most / 127.0f : NAN;
}

static int8_t code_of(float x) {
  // 1.5 * 2^23 rounds to the nearest whole number, ties to even.
  const float shifted = x + 12582912.0f;
  return (int8_t)(int32_t)(shifted - 12582912.0f);
}

static void store_f32(const pk_kv_cache *cache, const float *key, const float *value, size_t at, size_t lane) {
  float *keys = (float *)cache->keys + at * cache->head + lane;
  for (size_t d = 0; d < cache->head; d++) keys[d * PK_KV_BLOCK] = key[d];
  memcpy((float *)cache->values + (at + lane) * cache->head, value, cache->head * sizeof(float));
}

static void store_bf16(const pk_kv_cache *cache, const float *key, const float *value, size_t at, size_t lane) {
  uint16_t *keys = (uint16_t *)cache->keys + at * cache->head + lane;
  uint16_t *values = (uint16_t *)cache->values + (at + lane) * cache->head;
  for (size_t d = 0; d < cache->head; d++) {
    keys[d * PK_KV_BLOCK] = float_to_bf16_bits(key[d]);
    values[d] = float_to_bf16_bits(value[d]);
  }
}

static void store_i8(const pk_kv_cache *cache, const float *key, const float *value, size_t at, size_t lane) {
  int8_t *keys = (int8_t *)cache->keys + at * cache->head + lane;
  int8_t *values = (int8_t *)cache->values + (at + lane) * cache->head;
  float of_key, of_value;
  cache->key_scales[at + lane] = scale_of(key, cache->head, &of_key);
  cache->value_scales[at + lane] = scale_of(value, cache->head, &of_value);
  for (size_t d = 0; d < cache->head; d++) {
    // What is not finite would not survive a factor of 0.
    keys[d * PK_KV_BLOCK] = of_key > 0 ? code_of(key[d] * of_key) : 0;
    values[d] = of_value > 0 ? code_of(value[d] * of_value) : 0;
  }
}

void pk_kv_store(const pk_kv_cache *cache, const float *key, const float *value, const int64_t *slots, size_t rows) {
  for (size_t r = 0; r < rows; r++) {
    const size_t block = (size_t)slots[r] / PK_KV_BLOCK, lane = (size_t)slots[r] % PK_KV_BLOCK;
    for (size_t h = 0; h < cache->kv_heads; h++) {
      const size_t from = (r * cache->kv_heads + h) * cache->head, at = (block * cache->kv_heads + h) * PK_KV_BLOCK;
      switch (cache->type) {
        case PK_KV_BF16: store_bf16(cache, key + from, value + from, at, lane); break;
        case PK_KV_I8: store_i8(cache, key + from, value + from, at, lane); break;
        default: store_f32(cache, key + from, value + from, at, lane); break;
      }
    }
  }
}
