// SPDX-License-Identifier: Apache-2.0
//
// Weights to panels of 8 or 4 bits, and back.
#include "common.h"
#include "half.h"
#include "include/pk_packed.h"
#include "packed.h"

size_t pk_panel_bytes(int type, size_t k) { return panel_codes(k) + panel_groups(k) * panel_group_bytes(type); }

// ---- places in a panel ----

static void set_scale(uint8_t *panel, size_t group, size_t row, uint16_t half) {
  memcpy(panel + PANEL_SCALES + (group * PK_PANEL + row) * 2, &half, 2);
}

static void set_codes(int type, uint8_t *panel, size_t k, size_t group, size_t row, const int8_t code[PK_GROUP]) {
  uint8_t *at = panel + panel_codes(k) + group * panel_group_bytes(type) + row * 4;
  // Four codes at once, byte by byte.
  if (type == PK_WEIGHT_I8) {
    for (size_t i = 0; i < PK_GROUP / 4; i++) {
      uint32_t four;
      memcpy(&four, code + i * 4, 4);
      four ^= 0x80808080u;
      memcpy(at + i * 64, &four, 4);
    }
  } else {
    for (size_t i = 0; i < PK_GROUP / 8; i++) {
      uint32_t low, high;
      memcpy(&low, code + i * 4, 4);
      memcpy(&high, code + PK_GROUP / 2 + i * 4, 4);
      low = (low & 0x0f0f0f0fu) | (high & 0x0f0f0f0fu) << 4;
      memcpy(at + i * 64, &low, 4);
    }
  }
}

static void begin_panel(int type, uint8_t *panel, size_t k, const int8_t *table) {
  const float one = 1;
  memset(panel, 0, pk_panel_bytes(type, k));
  for (size_t row = 0; row < PK_PANEL; row++) memcpy(panel + row * 4, &one, 4);
  if (type == PK_WEIGHT_I4) memcpy(panel + PANEL_TABLE, table, 16);
}

// The power of two u with largest / u in [1, 2): scales divided by it are far from f16's limits.
static float unit_of(float largest) {
  int exponent;
  if (!(largest > 0)) return 1;
  frexpf(largest, &exponent);
  exponent = exponent - 1 < -126 ? -126 : exponent - 1;
  return ldexpf(1, exponent);
}

void pk_pack_panel(int isa, int type, const float *w, size_t rows, size_t k, void *out) {
  uint8_t *panel = out;
  const size_t groups = panel_groups(k);
  const struct code_choice choice = code_choice(isa, type);
  begin_panel(type, panel, k, pk_table_i4);
  for (size_t row = 0; row < rows; row++) {
    const float *from = w + row * k;
    const float unit = unit_of(choice.largest(from, k) / (type == PK_WEIGHT_I8 ? 127.0f : 113.0f));
    memcpy(panel + row * 4, &unit, 4);
    for (size_t group = 0; group < groups; group++) {
      float values[PK_GROUP] = {0};
      int8_t code[PK_GROUP] = {0};
      const size_t count = k - group * PK_GROUP < PK_GROUP ? k - group * PK_GROUP : PK_GROUP;
      memcpy(values, from + group * PK_GROUP, count * 4);
      set_scale(panel, group, row, choice.group(values, unit, code));
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
  for (size_t i = 0; i < count; i++) out[i] = float_to_bf16_bits(x[i]);
}
