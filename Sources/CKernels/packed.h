// SPDX-License-Identifier: Apache-2.0
// Where things lie in a panel of packed weights. Private to this target.
#pragma once
#include "include/pk_packed.h"

enum { PANEL_TABLE = 64, PANEL_SCALES = 128 };

static inline size_t panel_groups(size_t k) { return (k + PK_GROUP - 1) / PK_GROUP; }
// Offset of the codes.
static inline size_t panel_codes(size_t k) { return PANEL_SCALES + (panel_groups(k) * PK_PANEL * 2 + 63) / 64 * 64; }
static inline size_t panel_group_bytes(int type) { return type == PK_WEIGHT_I8 ? 512 : 256; }

// How weights become codes. Every machine makes the same ones, whatever its instructions.
struct code_choice {
  // The largest finite magnitude of a row, at least 0.
  float (*largest)(const float *row, size_t k);
  // Codes of a group; the answer is its scale as f16 bits, in units of `unit`: NaN when a number is not finite, 0 for nothing but zeros.
  uint16_t (*group)(const float values[PK_GROUP], float unit, int8_t code[PK_GROUP]);
};
struct code_choice code_choice(int isa, int type);
