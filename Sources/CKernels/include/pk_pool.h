// SPDX-License-Identifier: Apache-2.0
//
// Threads that share the pieces of one short computation after another. Handing over takes about a microsecond, because helpers keep looking
// for work for a moment before they sleep.
#ifndef PK_POOL_H
#define PK_POOL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pk_pool pk_pool;

/// A pool of the calling thread and `threads` - 1 helpers; fewer when the system refuses to start one. NULL when there is no memory.
pk_pool *_Nullable pk_pool_create(size_t threads);

/// Threads that compute, the caller's included.
size_t pk_pool_threads(const pk_pool *_Nonnull pool);

/// Calls body(context, piece) once for each piece in [0, pieces), on the caller's thread and on helpers, and returns when all have ended. No
/// order is promised. Only one thread at a time may call this, and `body` may not. The caller waits only for pieces that a helper has begun, so a
/// helper that gets no processor holds nothing up. At most 2^32 - 1 pieces.
void pk_pool_run(pk_pool *_Nonnull pool, void (*_Nonnull body)(void *_Nullable context, size_t piece), void *_Nullable context, size_t pieces);

/// Ends the helpers.
void pk_pool_destroy(pk_pool *_Nonnull pool);

#ifdef __cplusplus
}
#endif
#endif
