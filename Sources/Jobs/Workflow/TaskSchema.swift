// SPDX-License-Identifier: Apache-2.0

/// What the body of a task may contain. One table for checking, suggestions and conversion to JSON.
struct Field: Sendable {
  indirect enum Kind: Sendable {
    case integer(ClosedRange<Int64>)
    case number(ClosedRange<Double>)
    case flag
    case text
    /// Letters, digits, `_`, `-` and `.`.
    case word
    case oneOf([String])
    /// `catalog.schema.object`, or a reference.
    case object
    /// `catalog.schema.model`, with `/version` or `@alias`, or a reference.
    case model
    /// Names of that form with models: `{ polite: main.demo.polite@champion }`.
    case models
    /// A whole number of bytes, or text such as `5MB`.
    case bytes
    case texts
    case fields([Field])
    /// Values of a statement's parameters: by name, or a list of them with types.
    case parameters
    /// Text that may be empty.
    case anyText
    case anyTexts
    /// Names with texts.
    case mapping
    /// Names of environment variables with their texts.
    case environment
    /// A line for the shell, or a list of words: a program and its arguments.
    case command
  }
  var name: String
  var kind: Kind
  var required = false

  static func required(_ name: String, _ kind: Kind) -> Field { Field(name: name, kind: kind, required: true) }
  static func optional(_ name: String, _ kind: Kind) -> Field { Field(name: name, kind: kind) }
}

enum TaskSchema {
  private static let seed = Field.optional("seed", .integer(0...Int64.max))
  private static let shards = Field.optional("shards", .word)
  private static let replicas = Field.optional("replicas", .integer(0...64))

  /// Names of `source.options`, as `read_files` has them.
  private static let fileOptions = [
    "header", "delimiter", "sep", "quote", "escape", "comment", "skipRows", "nullValue", "encoding", "charset", "compression", "dateFormat",
    "timestampFormat", "multiLine", "wholeText", "ignoreLeadingWhiteSpace", "ignoreTrailingWhiteSpace", "mode", "inferColumnTypes", "inferSchema",
    "schemaHints", "schema", "rescuedDataColumn", "pathGlobFilter", "fileNamePattern", "recursiveFileLookup", "modifiedAfter", "modifiedBefore",
    "ignoreCorruptFiles",
  ]

  /// Of people's programs.
  private static let limits: [Field] = [.optional("memory", .bytes), .optional("processes", .integer(1...100_000)), .optional("disk", .bytes)]

  /// By the key in the file.
  static let bodies: [(key: String, fields: [Field])] = [
    (
      "ingest_task",
      [
        .optional("input", .text), .optional("table", .object), .optional("quarantine", .object), .optional("limit", .bytes),
        seed, .optional("target", .object), .optional("trigger", .word), .optional("order", .word),
        .optional("max_files_per_batch", .integer(1...10_000)), .optional("max_bytes_per_batch", .bytes), .optional("schema_evolution", .word),
        .optional("reload_changed", .flag), .optional("bad_rows", .word),
        .optional(
          "source",
          .fields([.required("path", .text), .optional("format", .word), .optional("options", .fields(fileOptions.map { .optional($0, .text) }))])),
      ]
    ),
    (
      "postgres_task",
      [
        .required("connection", .word), .optional("table", .text), .optional("query", .text), .required("target", .object), .optional("mode", .word),
        .optional("watermark", .text), .optional("lag_seconds", .number(0...86_400)), .optional("batch_rows", .integer(1...100_000_000)),
      ]
    ),
    (
      "prepare_task",
      [
        .required("source", .object), .required("output", .object), .optional("chunk_tokens", .integer(8...8192)),
        .optional("overlap", .integer(0...4096)),
        .optional("split", .fields([.optional("train", .number(0...1)), .optional("test", .number(0...1))])), seed,
        shards,
      ]
    ),
    ("embed_task", [.required("source", .object), .required("output", .object), .optional("model", .model)]),
    ("index_sync_task", [.required("index", .object), .required("source", .object), replicas]),
    (
      "train_task",
      [
        .required("data", .object), .required("register_as", .object), .optional("vocabulary", .integer(258...1_000_000)),
        .optional("tokenizer", .oneOf(["bpe", "unigram"])),
        .optional("hidden", .integer(2...65_536)), .optional("layers", .integer(1...1024)),
        .optional("heads", .integer(1...1024)),
        .optional("kv_heads", .integer(1...1024)), .optional("intermediate", .integer(1...1_048_576)),
        .optional("sequence_length", .integer(2...1_048_576)), .optional("batch_tokens", .integer(1...1_073_741_824)),
        .optional("steps", .integer(1...1_000_000_000)), .optional("learning_rate", .number(1e-12...10)),
        .optional("warmup_steps", .integer(0...1_000_000_000)), .optional("weight_decay", .number(0...10)), seed,
        .optional("checkpoint", .fields([.optional("every_steps", .integer(1...1_000_000_000))])),
        .optional(
          "compute",
          .fields([
            .optional("tensor_parallel", .integer(1...8)), .optional("min_tensor_parallel", .integer(1...8)),
            .optional("shrink_after_seconds", .integer(0...86_400)), .optional("spares", .integer(0...8)),
          ])),
      ]
    ),
    (
      "evaluate_task",
      [
        .required("model", .model), .required("data", .object),
        .optional(
          "gate", .fields([.optional("max_ratio_to_unigram", .number(0...1000)), .optional("below_bigram", .flag)])),
      ]
    ),
    (
      "deploy_task",
      [
        .required("endpoint", .word), .required("model", .model), replicas, .optional("dtype", .oneOf(["auto", "f32", "bf16", "int8", "int4"])),
        .optional("threads", .integer(1...256)), .optional("tensor_parallel", .integer(1...64)), .optional("speculate", .integer(0...8)),
        .optional("adapters", .models), .optional("max_loras", .integer(1...256)),
        .optional("kv_cache_dtype", .oneOf(["auto", "f32", "bf16", "int8"])), .optional("kv_cache_memory", .bytes),
      ]
    ),
    (
      "monitor_task",
      [
        .optional("table", .object), .optional("endpoint", .word), .optional("baseline", .object),
        .required("output", .object),
        .optional("columns", .texts), .optional("threshold", .number(0...1000)),
      ]
    ),
    (
      "sql_task",
      [
        .optional("statement", .text), .optional("file", .fields([.required("path", .text), .optional("source", .word)])),
        .optional("parameters", .parameters), .optional("catalog", .word), .optional("schema", .word), shards, .optional("partition_by", .texts),
        .optional("query", .fields([.optional("query_id", .text)])), .optional("warehouse_id", .anyText),
      ]
    ),
    ("command_task", [.required("command", .command), .optional("parameters", .anyTexts), .optional("env", .environment)] + limits),
    (
      "spark_python_task",
      [.required("python_file", .text), .optional("parameters", .anyTexts), .optional("env", .environment), .optional("source", .word)] + limits
    ),
    (
      "python_wheel_task",
      [
        .required("package_name", .text), .required("entry_point", .text), .optional("parameters", .anyTexts), .optional("named_parameters", .mapping),
        .optional("env", .environment),
      ] + limits
    ),
    (
      "notebook_task",
      [
        .required("notebook_path", .text), .optional("base_parameters", .mapping), .optional("env", .environment), .optional("source", .word),
        .optional("warehouse_id", .anyText),
      ] + limits
    ),
    (
      "dbt_task",
      [
        .required("commands", .texts), .optional("project_directory", .anyText), .optional("profiles_directory", .anyText), .optional("catalog", .anyText),
        .optional("schema", .anyText), .optional("warehouse_id", .anyText), .optional("source", .word), .optional("env", .environment),
      ] + limits
    ),
    ("run_job_task", [.required("job_id", .integer(1...Int64.max)), .optional("job_parameters", .mapping)]),
    ("wait_task", [.optional("milliseconds", .integer(0...86_400_000)), .optional("parts", .integer(1...100_000))]),
    ("network_task", [.required("ranks", .integer(2...64))]),
    (
      "serving_plan_task",
      [.required("model", .model), .required("ranks", .integer(1...64)), .optional("dtype", .oneOf(["f32", "bf16", "int8", "int4"]))]
    ),
    ("condition_task", [.required("op", .word), .required("left", .anyText), .required("right", .anyText)]),
  ]
  /// Read by themselves: what is inside of them is a task again.
  static let loop = "for_each_task"
  /// Kinds that run people's programs, which may ask for packages.
  static let programs: Set<String> = ["command_task", "spark_python_task", "python_wheel_task", "notebook_task", "dbt_task"]
  /// Kinds whose work is one, or whose parts are no more repeatable than people's programs.
  static let undivided: Set<String> = programs.union(["deploy_task", "network_task", "serving_plan_task", "run_job_task", "condition_task"])
  static let kinds = bodies.map(\.key) + [loop]

  static let taskKeys = [
    "task_key", "depends_on", "run_if", "disabled", "max_retries", "min_retry_interval_millis", "retry_on_timeout", "timeout_seconds", "description",
    "environment_key", "libraries",
    "resources", "node_labels", "preemptible", "parts_per_batch",
  ]

  /// Kinds of tasks of Databricks, and of our own design, that no planner exists for.
  static let notBuilt: Set<String> = [
    "spark_jar_task", "spark_submit_task", "pipeline_task", "alert_task", "dashboard_task",
    "power_bi_task", "clean_rooms_notebook_task", "gen_ai_compute_task", "finetune_task",
  ]

  static let ignoredTaskKeys: Set<String> = [
    "job_cluster_key", "existing_cluster_id", "new_cluster", "email_notifications",
    "webhook_notifications", "notification_settings", "health", "disable_auto_optimization",
  ]
  static let ignoredJobKeys: Set<String> = [
    "schedule", "trigger", "continuous", "job_clusters", "email_notifications", "webhook_notifications",
    "notification_settings", "permissions", "run_as", "health", "format", "edit_mode", "deployment", "access_control_list",
    "usage_policy_id",
    "performance_target", "budget_policy_id",
  ]
  static let jobKeys = [
    "name", "description", "tags", "tasks", "parameters", "environments", "git_source", "max_concurrent_runs", "queue", "timeout_seconds", "priority",
  ]
  static let ignoredTopKeys: Set<String> = [
    "targets", "permissions", "run_as", "sync", "artifacts", "scripts", "include", "workspace", "experimental", "presets",
  ]
}
