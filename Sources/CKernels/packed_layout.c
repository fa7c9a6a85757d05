// SPDX-License-Identifier: Apache-2.0
//
// Weights to panels of 8 or 4 bits. Plain C on every machine, so that a model has the same weights on all of them.
#include "common.h"
#include "half.h"
#include "include/pk_packed.h"
#include "packed.h"

#include <stdlib.h>

const int8_t pk_table_i4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

size_t pk_panel_bytes(int type, size_t k) { return panel_codes(k) + panel_groups(k) * panel_group_bytes(type); }

// ---- places in a panel ----

static void set_scale(uint8_t *panel, size_t group, size_t row, uint16_t half) {
  memcpy(panel + PANEL_SCALES + (group * PK_PANEL + row) * 2, &half, 2);
}

static void set_codes(int type, uint8_t *panel, size_t k, size_t group, size_t row, const int8_t code[PK_GROUP]) {
  uint8_t *at = panel + panel_codes(k) + group * panel_group_bytes(type) + row * 4;
  if (type == PK_WEIGHT_I8) {
    for (size_t i = 0; i < PK_GROUP; i++) at[i / 4 * 64 + i % 4] = (uint8_t)code[i] ^ 0x80u;
  } else {
    for (size_t i = 0; i < PK_GROUP / 2; i++)
      at[i / 4 * 64 + i % 4] = (uint8_t)((code[i] & 15) | (code[i + PK_GROUP / 2] & 15) << 4);
  }
}

static void begin_panel(int type, uint8_t *panel, size_t k, const int8_t *table) {
  const float one = 1;
  memset(panel, 0, pk_panel_bytes(type, k));
  for (size_t row = 0; row < PK_PANEL; row++) memcpy(panel + row * 4, &one, 4);
  if (type == PK_WEIGHT_I4) memcpy(panel + PANEL_TABLE, table, 16);
}

// ---- choosing codes ----

// The power of two u with largest / u in [1, 2): scales divided by it are far from f16's limits.
static float unit_of(float largest) {
  int exponent;
  if (!(largest > 0)) return 1;
  frexpf(largest, &exponent);
  exponent = exponent - 1 < -126 ? -126 : exponent - 1;
  return ldexpf(1, exponent);
}

static float rounded(float scale, float unit, uint16_t *half) {
  *half = float_to_half_bits(scale / unit);
  return half_bits_to_float(*half) * unit;
}

static void codes_i8(const float *w, float scale, int8_t code[PK_GROUP]) {
  for (size_t i = 0; i < PK_GROUP; i++) {
    const float value = scale > 0 ? w[i] / scale : 0;
    code[i] = (int8_t)lrintf(value > 127 ? 127 : value < -127 ? -127 : value);
  }
}

// The place in the table nearest to each whole number from -128 to 127, and the number there.
struct nearest {
  int8_t place[256];
  float number[256];
};

static void find_nearest(const int8_t *table, struct nearest *nearest) {
  for (int value = -128; value < 128; value++) {
    int best = 0;
    for (int place = 1; place < 16; place++)
      if (abs(table[place] - value) < abs(table[best] - value)) best = place;
    nearest->place[value + 128] = (int8_t)best;
    nearest->number[value + 128] = table[best];
  }
}

static size_t step_of(float value) {
  value = value > 127 ? 127 : value < -128 ? -128 : value;
  return (size_t)(lrintf(value) + 128);
}

// What the largest number of a group may be divided by; a negative scale turns the table round.
static const float divisors[] = {-127, -119, -134, -112, 113, 106, 120, -141, 127};

// Numbers q are chosen for each of some scales. The scale that then suits them best is sum(wq) / sum(q^2), and the squared
// error is sum(w^2) - sum(wq)^2 / sum(q^2): the codes with the largest quotient win.
static uint16_t group_i4(const float *w, float unit, float extreme, const struct nearest *nearest, int8_t code[PK_GROUP]) {
  float most = -1, best = 0;
  for (size_t c = 0; c < sizeof divisors / sizeof *divisors; c++) {
    const float inverse = divisors[c] / extreme;
    float product[4] = {0}, square[4] = {0};
    for (size_t i = 0; i < PK_GROUP; i++) {
      const float number = nearest->number[step_of(w[i] * inverse)];
      product[i % 4] += w[i] * number;
      square[i % 4] += number * number;
    }
    const float products = (product[0] + product[1]) + (product[2] + product[3]);
    const float squares = (square[0] + square[1]) + (square[2] + square[3]);
    const float score = products * (products / squares);
    if (score > most) {
      most = score;
      best = products / squares;
    }
  }
  uint16_t half;
  const float scale = rounded(best, unit, &half);
  if (scale == 0) return 0;
  const float inverse = 1 / scale;
  for (size_t i = 0; i < PK_GROUP; i++) code[i] = nearest->place[step_of(w[i] * inverse)];
  return half;
}

void pk_pack_panel(int type, const float *w, size_t rows, size_t k, void *out) {
  uint8_t *panel = out;
  const size_t groups = panel_groups(k);
  struct nearest nearest;
  find_nearest(pk_table_i4, &nearest);
  begin_panel(type, panel, k, pk_table_i4);
  for (size_t row = 0; row < rows; row++) {
    const float *from = w + row * k;
    float largest = 0;
    for (size_t i = 0; i < k; i++) {
      const float size = fabsf(from[i]);
      if (size > largest && size < INFINITY) largest = size;
    }
    const float unit = unit_of(largest / (type == PK_WEIGHT_I8 ? 127.0f : 113.0f));
    memcpy(panel + row * 4, &unit, 4);
    for (size_t group = 0; group < groups; group++) {
      float values[PK_GROUP] = {0};
      int8_t code[PK_GROUP] = {0};
      uint16_t half = 0;
      const size_t count = k - group * PK_GROUP < PK_GROUP ? k - group * PK_GROUP : PK_GROUP;
      memcpy(values, from + group * PK_GROUP, count * 4);
      float extreme = 0;
      bool is_finite = true;
      for (size_t i = 0; i < count; i++) {
        if (!(fabsf(values[i]) < INFINITY)) is_finite = false;
        if (fabsf(values[i]) > fabsf(extreme)) extreme = values[i];
      }
      if (!is_finite) {
        half = 0x7e00u;
      } else if (fabsf(extreme) >= 1e-30f) {  // so that no quotient leaves f32's range
        if (type == PK_WEIGHT_I8) {
          codes_i8(values, rounded(fabsf(extreme) / 127, unit, &half), code);
        } else {
          half = group_i4(values, unit, extreme, &nearest, code);
        }
      }
      set_scale(panel, group, row, half);
      set_codes(type, panel, k, group, row, code);
    }
  }
}

void pk_pack_codes(int type, const int8_t *codes, const uint16_t *scales, const int8_t *table, size_t rows, size_t k,
                   void *out) {
  const size_t groups = panel_groups(k);
  begin_panel(type, out, k, table ? table : pk_table_i4);
  for (size_t row = 0; row < rows; row++)
    for (size_t group = 0; group < groups; group++) {
      set_scale(out, group, row, scales[row * groups + group]);
      set_codes(type, out, k, group, row, codes + (row * groups + group) * PK_GROUP);
    }
}

void pk_unpack_panel(int type, const void *in, size_t rows, size_t k, float *out) {
  const uint8_t *panel = in;
  for (size_t row = 0; row < rows; row++) {
    float unit;
    memcpy(&unit, panel + row * 4, 4);
    for (size_t i = 0; i < k; i++) {
      const size_t group = i / PK_GROUP, place = i % PK_GROUP;
      uint16_t half;
      memcpy(&half, panel + PANEL_SCALES + (group * PK_PANEL + row) * 2, 2);
      const uint8_t *at = panel + panel_codes(k) + group * panel_group_bytes(type) + row * 4;
      const int8_t *table = (const int8_t *)panel + PANEL_TABLE;
      const int number = type == PK_WEIGHT_I8 ? (int8_t)(at[place / 4 * 64 + place % 4] ^ 0x80u)
                         : place < 16         ? table[at[place / 4 * 64 + place % 4] & 15]
                                              : table[at[(place - 16) / 4 * 64 + place % 4] >> 4];
      out[row * k + i] = (float)number * (half_bits_to_float(half) * unit);
    }
  }
}

void pk_f32_to_bf16(const float *x, uint16_t *out, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    out[i] = is_nan ? (uint16_t)((bits >> 16) | 0x40u) : (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  }
}
