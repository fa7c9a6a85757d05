// SPDX-License-Identifier: Apache-2.0
//
// ggml's blocks to f32. Every weight is one or two roundings of f32, as in ggml-quants.c, so equal bits are expected.
#include "common.h"
#include "half.h"
#include "include/pk_blocks.h"
#include "include/pk_packed.h"

const int8_t pk_table_q4_0[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};

size_t pk_block_weights(int format) {
  switch (format) {
    case PK_BLOCK_Q4_0: case PK_BLOCK_Q4_1: case PK_BLOCK_Q5_0: case PK_BLOCK_Q5_1: case PK_BLOCK_Q8_0: case PK_BLOCK_IQ4_NL: return 32;
    case PK_BLOCK_Q4_K: case PK_BLOCK_Q5_K: case PK_BLOCK_Q6_K: return 256;
    default: return 0;
  }
}

size_t pk_block_bytes(int format) {
  switch (format) {
    case PK_BLOCK_Q4_0: case PK_BLOCK_IQ4_NL: return 18;
    case PK_BLOCK_Q4_1: return 20;
    case PK_BLOCK_Q5_0: return 22;
    case PK_BLOCK_Q5_1: return 24;
    case PK_BLOCK_Q8_0: return 34;
    case PK_BLOCK_Q4_K: return 144;
    case PK_BLOCK_Q5_K: return 176;
    case PK_BLOCK_Q6_K: return 210;
    default: return 0;
  }
}

static float half_at(const uint8_t *bytes) {
  uint16_t half;
  memcpy(&half, bytes, 2);
  return half_bits_to_float(half);
}

// Q4_0, IQ4_NL: f16 scale, 16 bytes; the low halves come first.
static void table4(const int8_t *table, const uint8_t *in, float *out) {
  const float d = half_at(in);
  for (int i = 0; i < 16; i++) {
    out[i] = d * (float)table[in[2 + i] & 15];
    out[i + 16] = d * (float)table[in[2 + i] >> 4];
  }
}

// Q4_1: f16 scale, f16 minimum, 16 bytes.
static void q4_1(const uint8_t *in, float *out) {
  const float d = half_at(in), m = half_at(in + 2);
  for (int i = 0; i < 16; i++) {
    out[i] = d * (float)(in[4 + i] & 15) + m;
    out[i + 16] = d * (float)(in[4 + i] >> 4) + m;
  }
}

// The fifth bits of 32 weights, and their low bits as in Q4_0.
static int fifth(const uint8_t *high, const uint8_t *low, int i) {
  uint32_t bits;
  memcpy(&bits, high, 4);
  return (i < 16 ? low[i] & 15 : low[i - 16] >> 4) | (int)(bits >> i & 1) << 4;
}

static void q5_0(const uint8_t *in, float *out) {
  const float d = half_at(in);
  for (int i = 0; i < 32; i++) out[i] = d * (float)(fifth(in + 2, in + 6, i) - 16);
}

static void q5_1(const uint8_t *in, float *out) {
  const float d = half_at(in), m = half_at(in + 2);
  for (int i = 0; i < 32; i++) out[i] = d * (float)fifth(in + 4, in + 8, i) + m;
}

static void q8_0(const uint8_t *in, float *out) {
  const float d = half_at(in);
  for (int i = 0; i < 32; i++) out[i] = (float)(int8_t)in[2 + i] * d;
}

// The 6-bit scale and minimum of a group of 32, of 8 such pairs in 12 bytes.
static void scale_and_minimum(const uint8_t *s, int group, int *scale, int *minimum) {
  if (group < 4) {
    *scale = s[group] & 63;
    *minimum = s[group + 4] & 63;
  } else {
    *scale = (s[group + 4] & 15) | (s[group - 4] >> 6) << 4;
    *minimum = s[group + 4] >> 4 | (s[group] >> 6) << 4;
  }
}

// Q4_K and Q5_K: f16 scale of scales, f16 scale of minima, 12 bytes of both, (32 bytes of fifth bits,) 128 bytes.
static void k4_k5(const uint8_t *in, float *out, bool has_fifth) {
  const float d = half_at(in), m = half_at(in + 2);
  const uint8_t *high = in + 16, *low = has_fifth ? in + 48 : in + 16;
  for (int group = 0; group < 8; group++) {
    int scale, minimum;
    scale_and_minimum(in + 4, group, &scale, &minimum);
    const float step = d * (float)scale, below = m * (float)minimum;
    for (int i = 0; i < 32; i++) {
      const uint8_t both = low[group / 2 * 32 + i];
      int q = group % 2 ? both >> 4 : both & 15;
      if (has_fifth) q += (high[i] >> group & 1) << 4;
      out[group * 32 + i] = step * (float)q - below;
    }
  }
}

// Q6_K: 128 bytes of low halves, 64 bytes of high quarters, 16 int8 scales, f16 scale of scales.
static void q6_k(const uint8_t *in, float *out) {
  const float d = half_at(in + 208);
  for (int i = 0; i < 256; i++) {
    const int half = i / 128, part = i % 128 / 32, place = i % 32;
    const uint8_t low = in[half * 64 + part % 2 * 32 + place];
    const int high = in[128 + half * 32 + place] >> (2 * part) & 3;
    const int q = ((part < 2 ? low & 15 : low >> 4) | high << 4) - 32;
    out[i] = d * (float)(int8_t)in[192 + i / 16] * (float)q;
  }
}

void pk_dequantize_blocks(int format, const void *in, size_t blocks, float *out) {
  const size_t bytes = pk_block_bytes(format), weights = pk_block_weights(format);
  const uint8_t *from = in;
  for (size_t b = 0; b < blocks; b++, from += bytes, out += weights) {
    switch (format) {
      case PK_BLOCK_Q4_0: table4(pk_table_q4_0, from, out); break;
      case PK_BLOCK_IQ4_NL: table4(pk_table_i4, from, out); break;
      case PK_BLOCK_Q4_1: q4_1(from, out); break;
      case PK_BLOCK_Q5_0: q5_0(from, out); break;
      case PK_BLOCK_Q5_1: q5_1(from, out); break;
      case PK_BLOCK_Q8_0: q8_0(from, out); break;
      case PK_BLOCK_Q4_K: k4_k5(from, out, false); break;
      case PK_BLOCK_Q5_K: k4_k5(from, out, true); break;
      case PK_BLOCK_Q6_K: q6_k(from, out); break;
      default: break;
    }
  }
}

void pk_split_blocks(int format, const void *in, size_t blocks, int8_t *codes, uint16_t *scales) {
  const uint8_t *from = in;
  for (size_t b = 0; b < blocks; b++, from += pk_block_bytes(format), codes += PK_GROUP) {
    memcpy(scales + b, from, 2);
    if (format == PK_BLOCK_Q8_0) {
      memcpy(codes, from + 2, PK_GROUP);
    } else {
      for (int i = 0; i < 16; i++) {
        codes[i] = from[2 + i] & 15;
        codes[i + 16] = (int8_t)(from[2 + i] >> 4);
      }
    }
  }
}
