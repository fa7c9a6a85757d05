// SPDX-License-Identifier: Apache-2.0
#include "pk_decode.h"

// Sixteen sums side by side, so that additions do not wait for each other.
uint64_t pk_sum_words(const uint64_t *words, size_t count) {
  uint64_t sum[16] = {0};
  size_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (int l = 0; l < 16; l++) sum[l] += words[i + l];
  for (; i < count; i++) sum[0] += words[i];
  for (int l = 1; l < 16; l++) sum[0] += sum[l];
  return sum[0];
}
