// SPDX-License-Identifier: Apache-2.0
#include "common.h"
#include "include/pk_encoder.h"

// -1: as the machine allows. Written by tests only.
static volatile int32_t requested_isa = -1;

void pk_encoder_set_isa(int32_t level) { requested_isa = level; }

int32_t pk_encoder_isa(void) {
  const int32_t machine = pk_machine_isa();
  const int32_t requested = requested_isa;
  return requested < 0 || requested > machine ? machine : requested;
}
