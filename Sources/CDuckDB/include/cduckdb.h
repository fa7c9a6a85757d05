// SPDX-License-Identifier: Apache-2.0
// The part of DuckDB's C interface that target DuckDB uses, and how to load it at run time.
#ifndef CDUCKDB_H
#define CDUCKDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Inner pointers of the function types stay without annotation: Swift checks those that may be NULL itself.
#pragma clang diagnostic ignored "-Wnullability-completeness"

typedef struct cd_database_s *cd_database;
typedef struct cd_connection_s *cd_connection;
typedef struct cd_config_s *cd_config;
typedef struct cd_extracted_s *cd_extracted;
typedef struct cd_prepared_s *cd_prepared;
typedef struct cd_pending_s *cd_pending;
typedef struct cd_logical_type_s *cd_logical_type;
typedef struct cd_data_chunk_s *cd_data_chunk;
typedef struct cd_vector_s *cd_vector;
typedef struct cd_appender_s *cd_appender;
typedef struct cd_value_s *cd_value;
typedef struct cd_scalar_function_s *cd_scalar_function;
typedef struct cd_function_info_s *cd_function_info;
// Called for chunks of rows, by any thread of the engine.
typedef void (*cd_scalar_callback)(cd_function_info, cd_data_chunk, cd_vector);
typedef void (*cd_release_callback)(void *);

// Passed by value across the interface, so the size (six words) is part of it. Only internal members.
typedef struct {
  uint64_t reserved_counts[3];
  void *reserved_pointers[2];
  void *internal;
} cd_result;

typedef struct { int32_t days; } cd_date;
typedef struct { int64_t micros; } cd_timestamp;
typedef struct { double percentage; uint64_t rows_processed; uint64_t rows_total; } cd_progress;
typedef struct { uint64_t lower; int64_t upper; } cd_hugeint;
typedef struct { uint64_t offset; uint64_t length; } cd_list_entry;
// A string of up to 12 bytes lies in the 12 bytes after its length, a longer one behind the pointer at offset 8.
typedef struct { uint32_t length; char prefix[4]; const char *pointer; } cd_string;

enum {
  CD_BOOLEAN = 1, CD_TINYINT, CD_SMALLINT, CD_INTEGER, CD_BIGINT, CD_UTINYINT, CD_USMALLINT, CD_UINTEGER, CD_UBIGINT,
  CD_FLOAT, CD_DOUBLE, CD_TIMESTAMP, CD_DATE, CD_TIME, CD_INTERVAL, CD_HUGEINT, CD_VARCHAR, CD_BLOB, CD_DECIMAL,
  CD_TIMESTAMP_S, CD_TIMESTAMP_MS, CD_TIMESTAMP_NS, CD_ENUM, CD_LIST, CD_STRUCT, CD_MAP, CD_UUID, CD_UNION, CD_BIT,
  CD_TIME_TZ, CD_TIMESTAMP_TZ, CD_UHUGEINT, CD_ARRAY, CD_ANY, CD_BIGNUM, CD_SQLNULL
};

/// Functions that return int return 0 for success and 1 for an error.
typedef struct {
  int (*_Nonnull open_ext_)(const char *, cd_database *, cd_config, char **);
  void (*_Nonnull close_)(cd_database *);
  int (*_Nonnull connect_)(cd_database, cd_connection *);
  void (*_Nonnull disconnect_)(cd_connection *);
  void (*_Nonnull interrupt_)(cd_connection);
  cd_progress (*_Nonnull query_progress_)(cd_connection);
  const char * (*_Nonnull library_version_)(void);
  int (*_Nonnull create_config_)(cd_config *);
  int (*_Nonnull set_config_)(cd_config, const char *, const char *);
  void (*_Nonnull destroy_config_)(cd_config *);
  void (*_Nonnull free_)(void *);
  void (*_Nonnull destroy_result_)(cd_result *);
  const char * (*_Nonnull result_error_)(cd_result *);
  const char * (*_Nonnull column_name_)(cd_result *, uint64_t);
  cd_logical_type (*_Nonnull column_logical_type_)(cd_result *, uint64_t);
  uint64_t (*_Nonnull column_count_)(cd_result *);
  uint64_t (*_Nonnull rows_changed_)(cd_result *);
  cd_data_chunk (*_Nonnull fetch_chunk_)(cd_result);
  uint64_t (*_Nonnull extract_statements_)(cd_connection, const char *, cd_extracted *);
  int (*_Nonnull prepare_extracted_statement_)(cd_connection, cd_extracted, uint64_t, cd_prepared *);
  const char * (*_Nonnull extract_statements_error_)(cd_extracted);
  void (*_Nonnull destroy_extracted_)(cd_extracted *);
  const char * (*_Nonnull prepare_error_)(cd_prepared);
  void (*_Nonnull destroy_prepare_)(cd_prepared *);
  uint64_t (*_Nonnull nparams_)(cd_prepared);
  int (*_Nonnull prepared_statement_type_)(cd_prepared);
  uint64_t (*_Nonnull prepared_column_count_)(cd_prepared);
  cd_logical_type (*_Nonnull prepared_column_logical_type_)(cd_prepared, uint64_t);
  const char *_Nullable (*_Nonnull prepared_column_name_)(cd_prepared, uint64_t);
  int (*_Nonnull bind_parameter_index_)(cd_prepared, uint64_t *, const char *);
  int (*_Nonnull bind_null_)(cd_prepared, uint64_t);
  int (*_Nonnull bind_boolean_)(cd_prepared, uint64_t, bool);
  int (*_Nonnull bind_int64_)(cd_prepared, uint64_t, int64_t);
  int (*_Nonnull bind_double_)(cd_prepared, uint64_t, double);
  int (*_Nonnull bind_varchar_length_)(cd_prepared, uint64_t, const char *, uint64_t);
  int (*_Nonnull bind_blob_)(cd_prepared, uint64_t, const void *, uint64_t);
  int (*_Nonnull bind_date_)(cd_prepared, uint64_t, cd_date);
  int (*_Nonnull bind_timestamp_)(cd_prepared, uint64_t, cd_timestamp);
  int (*_Nonnull bind_value_)(cd_prepared, uint64_t, cd_value);
  cd_value (*_Nonnull create_list_value_)(cd_logical_type, cd_value *, uint64_t);
  cd_value (*_Nonnull create_varchar_length_)(const char *, uint64_t);
  cd_value (*_Nonnull create_double_)(double);
  void (*_Nonnull destroy_value_)(cd_value *);
  int (*_Nonnull pending_prepared_streaming_)(cd_prepared, cd_pending *);
  const char * (*_Nonnull pending_error_)(cd_pending);
  int (*_Nonnull execute_pending_)(cd_pending, cd_result *);
  void (*_Nonnull destroy_pending_)(cd_pending *);
  int (*_Nonnull get_type_id_)(cd_logical_type);
  cd_logical_type (*_Nonnull create_logical_type_)(int);
  cd_logical_type (*_Nonnull create_list_type_)(cd_logical_type);
  void (*_Nonnull destroy_logical_type_)(cd_logical_type *);
  uint8_t (*_Nonnull decimal_width_)(cd_logical_type);
  uint8_t (*_Nonnull decimal_scale_)(cd_logical_type);
  int (*_Nonnull decimal_internal_type_)(cd_logical_type);
  cd_logical_type (*_Nonnull list_type_child_type_)(cd_logical_type);
  cd_logical_type (*_Nonnull array_type_child_type_)(cd_logical_type);
  uint64_t (*_Nonnull array_type_array_size_)(cd_logical_type);
  cd_logical_type (*_Nonnull map_type_key_type_)(cd_logical_type);
  cd_logical_type (*_Nonnull map_type_value_type_)(cd_logical_type);
  uint64_t (*_Nonnull struct_type_child_count_)(cd_logical_type);
  char * (*_Nonnull struct_type_child_name_)(cd_logical_type, uint64_t);
  cd_logical_type (*_Nonnull struct_type_child_type_)(cd_logical_type, uint64_t);
  cd_data_chunk (*_Nonnull create_data_chunk_)(cd_logical_type *, uint64_t);
  void (*_Nonnull destroy_data_chunk_)(cd_data_chunk *);
  void (*_Nonnull data_chunk_reset_)(cd_data_chunk);
  uint64_t (*_Nonnull data_chunk_get_column_count_)(cd_data_chunk);
  cd_vector (*_Nonnull data_chunk_get_vector_)(cd_data_chunk, uint64_t);
  uint64_t (*_Nonnull data_chunk_get_size_)(cd_data_chunk);
  void (*_Nonnull data_chunk_set_size_)(cd_data_chunk, uint64_t);
  void * (*_Nonnull vector_get_data_)(cd_vector);
  uint64_t * (*_Nonnull vector_get_validity_)(cd_vector);
  void (*_Nonnull vector_ensure_validity_writable_)(cd_vector);
  void (*_Nonnull vector_assign_string_element_len_)(cd_vector, uint64_t, const char *, uint64_t);
  cd_vector (*_Nonnull list_vector_get_child_)(cd_vector);
  uint64_t (*_Nonnull list_vector_get_size_)(cd_vector);
  int (*_Nonnull list_vector_set_size_)(cd_vector, uint64_t);
  int (*_Nonnull list_vector_reserve_)(cd_vector, uint64_t);
  cd_vector (*_Nonnull struct_vector_get_child_)(cd_vector, uint64_t);
  cd_vector (*_Nonnull array_vector_get_child_)(cd_vector);
  uint64_t (*_Nonnull vector_size_)(void);
  int (*_Nonnull appender_create_ext_)(cd_connection, const char *, const char *, const char *, cd_appender *);
  uint64_t (*_Nonnull appender_column_count_)(cd_appender);
  cd_logical_type (*_Nonnull appender_column_type_)(cd_appender, uint64_t);
  const char * (*_Nonnull appender_error_)(cd_appender);
  int (*_Nonnull appender_close_)(cd_appender);
  int (*_Nonnull appender_destroy_)(cd_appender *);
  int (*_Nonnull append_data_chunk_)(cd_appender, cd_data_chunk);
  cd_scalar_function (*_Nonnull create_scalar_function_)(void);
  void (*_Nonnull destroy_scalar_function_)(cd_scalar_function *);
  void (*_Nonnull scalar_function_set_name_)(cd_scalar_function, const char *);
  void (*_Nonnull scalar_function_add_parameter_)(cd_scalar_function, cd_logical_type);
  void (*_Nonnull scalar_function_set_return_type_)(cd_scalar_function, cd_logical_type);
  void (*_Nonnull scalar_function_set_extra_info_)(cd_scalar_function, void *, cd_release_callback);
  void (*_Nonnull scalar_function_set_function_)(cd_scalar_function, cd_scalar_callback);
  int (*_Nonnull register_scalar_function_)(cd_connection, cd_scalar_function);
  void (*_Nonnull scalar_function_set_error_)(cd_function_info, const char *);
  void * (*_Nonnull scalar_function_get_extra_info_)(cd_function_info);
  /// Whether the engine's reads can be looked at before they happen.
  bool intercepts_reads;
} cd_api;

/// Asked before the engine reads `count` bytes at `offset` of the file with these numbers: 0 lets it read, anything else fails the read.
typedef int32_t (*cd_read_hook)(uint64_t device, uint64_t inode, int64_t offset, size_t count);

/// Sets or (NULL) takes away what is asked.
void cd_set_read_hook(cd_read_hook _Nullable hook);

/// Puts a function that asks `cd_read_hook` in the place of the library's `pread`; false: it has none, nothing was changed.
bool cd_intercept_reads(void *_Nonnull handle);

/// Opens the stub library (may be NULL) and the engine, and fills `api`. Returns 0, or -1 with a text in `error`.
int cd_load(const char *_Nonnull engine, const char *_Nullable stubs, cd_api *_Nonnull api,
            char *_Nonnull error, size_t error_size);

/// The bytes of row `row` of a VARCHAR or BLOB vector's data.
static inline const char *_Nonnull cd_string_bytes(const void *_Nonnull data, uint64_t row, uint32_t *_Nonnull length) {
  const cd_string *text = (const cd_string *)data + row;
  *length = text->length;
  return text->length <= 12 ? text->prefix : text->pointer;
}

#endif
