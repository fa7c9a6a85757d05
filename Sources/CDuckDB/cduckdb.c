// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cduckdb.h"

#include <dlfcn.h>
#include <stdio.h>

int cd_load(const char *engine, const char *stubs, cd_api *api, char *error, size_t error_size) {
  if (stubs && !dlopen(stubs, RTLD_NOW | RTLD_GLOBAL)) {
    snprintf(error, error_size, "%s", dlerror());
    return -1;
  }
  void *handle = dlopen(engine, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    snprintf(error, error_size, "%s", dlerror());
    return -1;
  }
  struct { const char *name; void *slot; } wanted[] = {
    {"duckdb_open_ext", &api->open_ext_},
    {"duckdb_close", &api->close_},
    {"duckdb_connect", &api->connect_},
    {"duckdb_disconnect", &api->disconnect_},
    {"duckdb_interrupt", &api->interrupt_},
    {"duckdb_query_progress", &api->query_progress_},
    {"duckdb_library_version", &api->library_version_},
    {"duckdb_create_config", &api->create_config_},
    {"duckdb_set_config", &api->set_config_},
    {"duckdb_destroy_config", &api->destroy_config_},
    {"duckdb_free", &api->free_},
    {"duckdb_destroy_result", &api->destroy_result_},
    {"duckdb_result_error", &api->result_error_},
    {"duckdb_column_name", &api->column_name_},
    {"duckdb_column_logical_type", &api->column_logical_type_},
    {"duckdb_column_count", &api->column_count_},
    {"duckdb_rows_changed", &api->rows_changed_},
    {"duckdb_fetch_chunk", &api->fetch_chunk_},
    {"duckdb_extract_statements", &api->extract_statements_},
    {"duckdb_prepare_extracted_statement", &api->prepare_extracted_statement_},
    {"duckdb_extract_statements_error", &api->extract_statements_error_},
    {"duckdb_destroy_extracted", &api->destroy_extracted_},
    {"duckdb_prepare_error", &api->prepare_error_},
    {"duckdb_destroy_prepare", &api->destroy_prepare_},
    {"duckdb_nparams", &api->nparams_},
    {"duckdb_prepared_statement_type", &api->prepared_statement_type_},
    {"duckdb_prepared_statement_column_count", &api->prepared_column_count_},
    {"duckdb_prepared_statement_column_logical_type", &api->prepared_column_logical_type_},
    {"duckdb_prepared_statement_column_name", &api->prepared_column_name_},
    {"duckdb_bind_parameter_index", &api->bind_parameter_index_},
    {"duckdb_bind_null", &api->bind_null_},
    {"duckdb_bind_boolean", &api->bind_boolean_},
    {"duckdb_bind_int64", &api->bind_int64_},
    {"duckdb_bind_double", &api->bind_double_},
    {"duckdb_bind_varchar_length", &api->bind_varchar_length_},
    {"duckdb_bind_blob", &api->bind_blob_},
    {"duckdb_bind_date", &api->bind_date_},
    {"duckdb_bind_timestamp", &api->bind_timestamp_},
    {"duckdb_bind_value", &api->bind_value_},
    {"duckdb_create_list_value", &api->create_list_value_},
    {"duckdb_create_varchar_length", &api->create_varchar_length_},
    {"duckdb_create_double", &api->create_double_},
    {"duckdb_destroy_value", &api->destroy_value_},
    {"duckdb_pending_prepared_streaming", &api->pending_prepared_streaming_},
    {"duckdb_pending_error", &api->pending_error_},
    {"duckdb_execute_pending", &api->execute_pending_},
    {"duckdb_destroy_pending", &api->destroy_pending_},
    {"duckdb_get_type_id", &api->get_type_id_},
    {"duckdb_create_logical_type", &api->create_logical_type_},
    {"duckdb_create_list_type", &api->create_list_type_},
    {"duckdb_destroy_logical_type", &api->destroy_logical_type_},
    {"duckdb_decimal_width", &api->decimal_width_},
    {"duckdb_decimal_scale", &api->decimal_scale_},
    {"duckdb_decimal_internal_type", &api->decimal_internal_type_},
    {"duckdb_list_type_child_type", &api->list_type_child_type_},
    {"duckdb_array_type_child_type", &api->array_type_child_type_},
    {"duckdb_array_type_array_size", &api->array_type_array_size_},
    {"duckdb_map_type_key_type", &api->map_type_key_type_},
    {"duckdb_map_type_value_type", &api->map_type_value_type_},
    {"duckdb_struct_type_child_count", &api->struct_type_child_count_},
    {"duckdb_struct_type_child_name", &api->struct_type_child_name_},
    {"duckdb_struct_type_child_type", &api->struct_type_child_type_},
    {"duckdb_create_data_chunk", &api->create_data_chunk_},
    {"duckdb_destroy_data_chunk", &api->destroy_data_chunk_},
    {"duckdb_data_chunk_reset", &api->data_chunk_reset_},
    {"duckdb_data_chunk_get_column_count", &api->data_chunk_get_column_count_},
    {"duckdb_data_chunk_get_vector", &api->data_chunk_get_vector_},
    {"duckdb_data_chunk_get_size", &api->data_chunk_get_size_},
    {"duckdb_data_chunk_set_size", &api->data_chunk_set_size_},
    {"duckdb_vector_get_data", &api->vector_get_data_},
    {"duckdb_vector_get_validity", &api->vector_get_validity_},
    {"duckdb_vector_ensure_validity_writable", &api->vector_ensure_validity_writable_},
    {"duckdb_vector_assign_string_element_len", &api->vector_assign_string_element_len_},
    {"duckdb_list_vector_get_child", &api->list_vector_get_child_},
    {"duckdb_list_vector_get_size", &api->list_vector_get_size_},
    {"duckdb_list_vector_set_size", &api->list_vector_set_size_},
    {"duckdb_list_vector_reserve", &api->list_vector_reserve_},
    {"duckdb_struct_vector_get_child", &api->struct_vector_get_child_},
    {"duckdb_array_vector_get_child", &api->array_vector_get_child_},
    {"duckdb_vector_size", &api->vector_size_},
    {"duckdb_appender_create_ext", &api->appender_create_ext_},
    {"duckdb_appender_column_count", &api->appender_column_count_},
    {"duckdb_appender_column_type", &api->appender_column_type_},
    {"duckdb_appender_error", &api->appender_error_},
    {"duckdb_appender_close", &api->appender_close_},
    {"duckdb_appender_destroy", &api->appender_destroy_},
    {"duckdb_append_data_chunk", &api->append_data_chunk_},
    {"duckdb_create_scalar_function", &api->create_scalar_function_},
    {"duckdb_destroy_scalar_function", &api->destroy_scalar_function_},
    {"duckdb_scalar_function_set_name", &api->scalar_function_set_name_},
    {"duckdb_scalar_function_add_parameter", &api->scalar_function_add_parameter_},
    {"duckdb_scalar_function_set_return_type", &api->scalar_function_set_return_type_},
    {"duckdb_scalar_function_set_extra_info", &api->scalar_function_set_extra_info_},
    {"duckdb_scalar_function_set_function", &api->scalar_function_set_function_},
    {"duckdb_register_scalar_function", &api->register_scalar_function_},
    {"duckdb_scalar_function_set_error", &api->scalar_function_set_error_},
    {"duckdb_scalar_function_get_extra_info", &api->scalar_function_get_extra_info_},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
    void *found = dlsym(handle, wanted[i].name);
    if (!found) {
      snprintf(error, error_size, "%s has no %s", engine, wanted[i].name);
      return -1;
    }
    *(void **)wanted[i].slot = found;
  }
  api->intercepts_reads = cd_intercept_reads(handle);
  return 0;
}
