// SPDX-License-Identifier: Apache-2.0
// Hierarchical navigable small worlds (Malkov and Yashunin 2016) by the header-only library hnswlib, behind C.
// No exception leaves; a call that fails writes the reason into `message` (PH_MESSAGE bytes).
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PH_MESSAGE = 256 };
/// A graph with its vectors. Searches may run at the same time; adding excludes everything else (a lock inside).
typedef struct ph_graph ph_graph;

/// l2: squared distance, else 1 - dot product (give vectors of length 1 for cosine). Null when memory is short.
ph_graph *ph_create(size_t dimension, bool l2, size_t capacity, size_t m, size_t ef_construction, uint64_t seed,
                    char *message);
void ph_destroy(ph_graph *graph);
size_t ph_count(const ph_graph *graph);

/// Adds rows [count, dimension], labelled from the number of rows there are already; one thread gives the same graph every time.
bool ph_add(ph_graph *graph, const float *rows, size_t count, size_t threads, char *message);
/// The k nearest of `query`, nearest first, looking at `ef` candidates; returns how many were found, or -1.
ptrdiff_t ph_search(ph_graph *graph, const float *query, size_t k, size_t ef, uint64_t *labels, float *distances,
                    char *message);
/// out[label] = distance of `query` to that row, exactly; out: [count].
void ph_distances(ph_graph *graph, const float *query, float *out);
/// The vector of `label`, or null when there is none. Valid until the graph is destroyed.
const float *ph_vector(ph_graph *graph, size_t label);

bool ph_save(ph_graph *graph, const char *path, char *message);
/// Refuses files whose header, sizes, labels or links do not fit `count` rows of `dimension`.
ph_graph *ph_load(const char *path, size_t dimension, bool l2, size_t count, char *message);

#ifdef __cplusplus
}
#endif
