// SPDX-License-Identifier: Apache-2.0
//
// Weights in ggml's blocks (ggml-common.h, ggml-quants.c of llama.cpp) to f32, with the reference's order of operations.
#ifndef PK_BLOCKS_H
#define PK_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// ggml's numbers of the block formats that are built.
enum {
  PK_BLOCK_Q4_0 = 2,
  PK_BLOCK_Q4_1 = 3,
  PK_BLOCK_Q5_0 = 6,
  PK_BLOCK_Q5_1 = 7,
  PK_BLOCK_Q8_0 = 8,
  PK_BLOCK_Q4_K = 12,
  PK_BLOCK_Q5_K = 13,
  PK_BLOCK_Q6_K = 14,
  PK_BLOCK_IQ4_NL = 20
};

/// Weights of a block, and its bytes; 0 for a format that is not built.
size_t pk_block_weights(int format);
size_t pk_block_bytes(int format);

/// in: `blocks` blocks at any address; out: [blocks * pk_block_weights] f32.
void pk_dequantize_blocks(int format, const void *_Nonnull in, size_t blocks, float *_Nonnull out);

/// The numbers and f16 scales of Q8_0, or the places and scales of Q4_0 and IQ4_NL, as `pk_pack_codes` takes them.
/// codes: [blocks, 32]; scales: [blocks].
void pk_split_blocks(int format, const void *_Nonnull in, size_t blocks, int8_t *_Nonnull codes, uint16_t *_Nonnull scales);

/// The 16 numbers that places of Q4_0 stand for: -8 to 7.
extern const int8_t pk_table_q4_0[16];

#ifdef __cplusplus
}
#endif
#endif
