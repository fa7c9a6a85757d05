// SPDX-License-Identifier: Apache-2.0
// Oniguruma: the expressions that tokenizers cut text with are written for it.
#pragma once
#include <oniguruma.h>
#include <stddef.h>
#include <stdint.h>

/// Compiles UTF-8. NULL on failure, with the reason in `message` (ONIG_MAX_ERROR_MESSAGE_LEN bytes).
static inline regex_t *po_compile(const uint8_t *pattern, size_t count, char *message) {
  OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
  onig_initialize(encodings, 1);
  regex_t *compiled = NULL;
  OnigErrorInfo info;
  int status = onig_new(&compiled, pattern, pattern + count, ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (status == ONIG_NORMAL) return compiled;
  onig_error_code_to_str((OnigUChar *)message, status, &info);
  return NULL;
}

/// The first match at or behind `from`: its start, with its end in `end`; below 0 when there is none, or when the search took too long.
static inline ptrdiff_t po_find(regex_t *compiled, const uint8_t *text, size_t count, size_t from, size_t *end) {
  OnigRegion region;
  onig_region_init(&region);
  int start = onig_search(compiled, text, text + count, text + from, text + count, &region, ONIG_OPTION_NONE);
  if (start >= 0) *end = (size_t)region.end[0];
  onig_region_free(&region, 0);
  return start;
}
