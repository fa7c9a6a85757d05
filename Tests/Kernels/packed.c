// SPDX-License-Identifier: Apache-2.0
//
// Packed weights with every instruction set of this machine beside plain C: the same bits (of NaN: also NaN), for odd sizes, any number of
// rows, addresses of the least alignment, and numbers that are not finite. A program of its own, so that it also runs in an emulator.
// Prints the best instruction set and a sum of the panels' bytes, which all machines share; 1 is the exit status when something differs.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../Sources/CKernels/include/pk_decode.h"
#include "../../Sources/CKernels/include/pk_packed.h"

enum { MOST_ROWS = 11, MOST_OUTPUTS = 53, MOST_INPUTS = 333, GROUPS = (MOST_INPUTS + 31) / 32, PANELS = (MOST_OUTPUTS + 15) / 16 };

static uint64_t state = 88172645463325252u;
static float next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (float)(int32_t)(state >> 32) / 2147483648.0f;
}

static int differ(const float *a, const float *b, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (memcmp(a + i, b + i, 4) != 0 && !(isnan(a[i]) && isnan(b[i]))) return 1;
  return 0;
}

static float x[1 + MOST_ROWS * MOST_INPUTS], w[MOST_OUTPUTS * MOST_INPUTS], bias[1 + MOST_OUTPUTS];
static float y[2][1 + MOST_ROWS * MOST_OUTPUTS], scales[2][MOST_ROWS * GROUPS];
static float factors[1 + MOST_INPUTS], turned[2][1 + MOST_ROWS * MOST_INPUTS];
static int32_t starts[2][MOST_ROWS * GROUPS];
static int8_t codes[2][1 + MOST_ROWS * GROUPS * 32];

int main(void) {
  const int best = pk_decode_isa_best();
  const size_t inputs[] = {1, 31, 32, 33, 64, 100, MOST_INPUTS}, outputs[] = {1, 7, 8, 9, 16, 17, MOST_OUTPUTS};
  uint64_t sum = 14695981039346656037u;
  int wrong = 0, compared = 0;
  uint8_t *memory = malloc(PANELS * pk_panel_bytes(PK_WEIGHT_I8, MOST_INPUTS) + 4);
  if (!memory) return 2;
  uint8_t *panels = memory + 4;
  for (int kind = 0; kind < 4; kind++)
    for (size_t i = 0; i < 7; i++)
      for (size_t o = 0; o < 7; o++)
        for (size_t rows = 1; rows <= MOST_ROWS; rows++)
          for (int type = PK_WEIGHT_I8; type <= PK_WEIGHT_I4; type++) {
            const size_t k = inputs[i], n = outputs[o], bytes = pk_panel_bytes(type, k);
            // Kinds: ordinary numbers; NaN and infinity in places; numbers near the least; one sign and the largest, where sums are greatest.
            for (size_t at = 0; at < rows * k; at++) x[1 + at] = kind == 2 ? next() * 1e-30f : kind == 3 ? -1.0f : next() * 3;
            for (size_t at = 0; at < n * k; at++) w[at] = kind == 2 ? next() * 1e-38f : kind == 3 ? (at % 2 ? -5.0f : -4.9f) : next();
            if (kind == 1) {
              x[1 + rows * k / 2] = NAN;
              x[rows * k] = -INFINITY;
              w[n * k / 3] = INFINITY;
            }
            for (size_t at = 0; at < n; at++) bias[1 + at] = next();
            for (size_t first = 0; first < n; first += 16)
              pk_pack_panel(PK_ISA_GENERIC, type, w + first * k, n - first < 16 ? n - first : 16, k, panels + first / 16 * bytes);
            for (size_t at = 0; at < (n + 15) / 16 * bytes; at++) sum = (sum ^ panels[at]) * 1099511628211u;
            // The least and the greatest number, which packing itself never makes.
            if (kind == 3 && type == PK_WEIGHT_I8)
              for (size_t at = 0; at < 64; at++) panels[bytes - 1 - at] = at % 5 ? 0 : 255;
            for (size_t at = 0; at < k; at++) factors[1 + at] = next();
            const float *turn = (rows + o) % 2 ? factors + 1 : NULL;
            pk_quantize_rows(PK_ISA_GENERIC, x + 1, rows, k, turn, codes[0] + 1, scales[0], starts[0]);
            pk_rotate_rows(PK_ISA_GENERIC, x + 1, rows, k, factors + 1, turned[0] + 1);
            for (int isa = PK_ISA_GENERIC; isa <= best; isa++) {
              const int to = isa != PK_ISA_GENERIC;
              const size_t groups = rows * ((k + 31) / 32);
              memset(codes[1], 99, sizeof codes[1]);
              pk_quantize_rows(isa, x + 1, rows, k, turn, codes[1] + 1, scales[1], starts[1]);
              pk_rotate_rows(isa, x + 1, rows, k, factors + 1, turned[1] + 1);
              if (differ(turned[0] + 1, turned[1] + 1, rows * k)) {
                printf("rotations differ: isa %d kind %d k %zu rows %zu\n", isa, kind, k, rows);
                wrong = 1;
              }
              if (memcmp(codes[0] + 1, codes[1] + 1, groups * 32) || memcmp(starts[0], starts[1], groups * 4) ||
                  differ(scales[0], scales[1], groups)) {
                printf("inputs differ: isa %d kind %d k %zu rows %zu\n", isa, kind, k, rows);
                wrong = 1;
              }
              for (int with_bias = 0; with_bias < 2; with_bias++) {
                // The generic answer is made anew, as both share no memory with it.
                pk_linear_packed(PK_ISA_GENERIC, type, codes[0] + 1, scales[0], starts[0], panels, with_bias ? bias + 1 : NULL, y[0] + 1, rows, n,
                                 k, 0, n);
                for (size_t at = 0; at < sizeof y[1] / 4; at++) y[1][at] = 12345;
                const size_t middle = n > 16 ? 16 : n;
                pk_linear_packed(isa, type, codes[to] + 1, scales[to], starts[to], panels, with_bias ? bias + 1 : NULL, y[1] + 1, rows, n, k, 0,
                                 middle);
                if (middle < n)
                  pk_linear_packed(isa, type, codes[to] + 1, scales[to], starts[to], panels, with_bias ? bias + 1 : NULL, y[1] + 1, rows, n, k,
                                   middle, n);
                compared++;
                if (differ(y[0] + 1, y[1] + 1, rows * n) || y[1][0] != 12345 || (rows * n + 1 < sizeof y[1] / 4 && y[1][rows * n + 1] != 12345)) {
                  printf("products differ: isa %d type %d kind %d k %zu n %zu rows %zu\n", isa, type, kind, k, n, rows);
                  wrong = 1;
                }
              }
            }
          }
  free(memory);
  printf("isa %d compared %d\npanels %016llx\n", best, compared, (unsigned long long)sum);
  return wrong;
}
