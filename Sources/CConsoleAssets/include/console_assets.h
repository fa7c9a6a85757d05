// SPDX-License-Identifier: Apache-2.0
// The console's files, compiled into the binary: nothing is looked up on disk and nothing comes from another host.
#pragma once
#include <stddef.h>

typedef struct {
  const char *path;
  const char *content_type;
  const unsigned char *bytes;
  size_t count;
} pc_asset;

/// Number of assets, and the asset at `index`.
size_t pc_asset_count(void);
pc_asset pc_asset_at(size_t index);
/// The demo's workflow file.
pc_asset pc_lifecycle_workflow(void);
