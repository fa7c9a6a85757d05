// SPDX-License-Identifier: Apache-2.0

/// What people are told of the keys of jobs and tasks. Which keys there are is decided where jobs are read; a key without a text here has its type alone.
struct JobKeyTexts {
  var summary: String
  var shape: ProjectKey.Shape?
  var fallback = ""
  var example = ""

  init(_ summary: String, _ shape: ProjectKey.Shape? = nil, fallback: String = "", example: String = "") {
    self.summary = summary
    self.shape = shape
    self.fallback = fallback
    self.example = example
  }

  static let job: [String: JobKeyTexts] = [
    "name": JobKeyTexts("Its name for people.", .text, fallback: "the key"),
    "description": JobKeyTexts("What it is for.", .text),
    "tags": JobKeyTexts("Names with texts, at most 25.", .mapping),
    "tasks": JobKeyTexts("What it does; at most 1000 tasks."),
    "parameters": JobKeyTexts(
      "Values for `{{job.parameters.NAME}}`, which a run may replace.", .any, example: "parameters: [ { name: day, default: \"2026-01-31\" } ]"),
    "max_concurrent_runs": JobKeyTexts("How many runs at once.", .wholeNumber(1...1000), fallback: "1"),
    "queue": JobKeyTexts("Whether further runs wait or are skipped.", .any, fallback: "{ enabled: true }", example: "queue: { enabled: false }"),
    "timeout_seconds": JobKeyTexts("Of a whole run; 0 is none.", .wholeNumber(0...31_536_000), fallback: "0"),
    "priority": JobKeyTexts("Higher is placed first.", .wholeNumber(-100...100), fallback: "0"),
    "environments": JobKeyTexts(
      "Packages for programs, by `environment_key`.", .any,
      example: "environments: [ { environment_key: default, spec: { dependencies: [ six ] } } ]"),
    "git_source": JobKeyTexts(
      "The repository that files of tasks come from whose `source` is GIT.", .any,
      example: "git_source: { git_url: https://example.org/jobs.git, git_branch: main }"
    ),
    "schedule": JobKeyTexts(
      "Starts it at times, as Quartz writes them.", .any, example: "schedule: { quartz_cron_expression: \"0 30 2 * * ?\", timezone_id: Europe/Berlin }"),
    "trigger": JobKeyTexts("Starts it when something happens.", .any, example: "trigger: { periodic: { interval: 1, unit: DAYS } }"),
    "continuous": JobKeyTexts("Starts it again and again.", .any),
    "permissions": JobKeyTexts(
      "Who may do what with it, besides those of the project. Where nothing is said, rights stay as they are.", .list(ProjectKeys.permission),
      example: "permissions: [ { level: CAN_MANAGE_RUN, user_name: ann } ]"),
  ].merging(told) { $1 }

  /// Of jobs and of tasks.
  private static let told: [String: JobKeyTexts] = [
    "webhook_notifications": JobKeyTexts("Which destinations are told when it starts, ends or takes too long.", .any),
    "email_notifications": JobKeyTexts("Addresses that are told.", .any), "notification_settings": JobKeyTexts("Of what nobody is told.", .any),
    "health": JobKeyTexts("When it takes too long.", .any),
  ]

  static let task: [String: JobKeyTexts] = [
    "task_key": JobKeyTexts("Its name in the job: letters, digits, `_` and `-`.", .text, example: "task_key: ingest"),
    "depends_on": JobKeyTexts("What has to end before; `outcome` asks for that answer of a condition.", .any, example: "depends_on: [ { task_key: ingest } ]"),
    "run_if": JobKeyTexts(
      "How those have to end.",
      .choice(["ALL_SUCCESS", "ALL_DONE", "NONE_FAILED", "AT_LEAST_ONE_SUCCESS", "ALL_FAILED", "AT_LEAST_ONE_FAILED"]), fallback: "ALL_SUCCESS"),
    "disabled": JobKeyTexts("It is left out, and so is what needs it.", .flag, fallback: "false"),
    "max_retries": JobKeyTexts("How often a failed attempt is repeated.", .wholeNumber(0...100), fallback: "0"),
    "min_retry_interval_millis": JobKeyTexts("Before the first repetition; it doubles.", .wholeNumber(0...86_400_000)),
    "retry_on_timeout": JobKeyTexts("Whether an attempt that took too long is repeated.", .flag, fallback: "false"),
    "timeout_seconds": JobKeyTexts("Of one attempt; 0 is none.", .wholeNumber(0...31_536_000), fallback: "0"),
    "description": JobKeyTexts("What it is for.", .text),
    "environment_key": JobKeyTexts("Which of the job's `environments` its program gets.", .text),
    "resources": JobKeyTexts("Room that each of its parts takes of a worker.", .any, example: "resources: { cpus: 4, memory: 8GB }"),
    "node_labels": JobKeyTexts("Labels that its worker must have.", .mapping),
    "preemptible": JobKeyTexts("Whether it may be stopped, and run again, to make room for an endpoint.", .flag),
    "parts_per_batch": JobKeyTexts(
      "How many of its parts share one lease and one durable result: for parts that are very short.", .wholeNumber(1...1000), fallback: "1"),
    "libraries": JobKeyTexts("Further packages: `pypi`, `whl` or `requirements`.", .any, example: "libraries: [ { pypi: { package: six } } ]"),
  ].merging(told) { $1 }

  /// Those that Databricks has too.
  static let databricksTasks: Set<String> = [
    "sql_task", "spark_python_task", "run_job_task", "condition_task", "notebook_task", "python_wheel_task", "dbt_task", "alert_task",
  ]

  static let bodies: [String: JobKeyTexts] = [
    "ingest_task": JobKeyTexts(
      "Loads documents of a folder, or files into a table.", example: "ingest_task: { source: { path: /Volumes/main/raw/in }, target: main.raw.events }"),
    "postgres_task": JobKeyTexts(
      "Copies a table or query of a Postgres.", example: "postgres_task: { connection: shop, table: orders, target: main.raw.orders }"),
    "prepare_task": JobKeyTexts("Cleans, deduplicates, masks and cuts documents.", example: "prepare_task: { source: main.raw.docs, output: main.raw.chunks }"),
    "embed_task": JobKeyTexts("Computes vectors of texts.", example: "embed_task: { source: main.raw.chunks, output: main.raw.vectors }"),
    "index_sync_task": JobKeyTexts("Makes or refreshes an index of vectors.", example: "index_sync_task: { index: main.raw.idx, source: main.raw.vectors }"),
    "train_task": JobKeyTexts("Trains a language model.", example: "train_task: { data: main.raw.chunks, register_as: main.raw.lm, steps: 200 }"),
    "evaluate_task": JobKeyTexts("Measures a model, and may refuse it.", example: "evaluate_task: { model: main.raw.lm, data: main.raw.chunks }"),
    "deploy_task": JobKeyTexts("Serves a model at an endpoint.", example: "deploy_task: { endpoint: assistant, model: main.raw.lm }"),
    "monitor_task": JobKeyTexts(
      "Compares a table or an endpoint's requests with a baseline.", example: "monitor_task: { endpoint: assistant, output: main.raw.drift }"),
    "sql_task": JobKeyTexts("Runs a statement, or a file with one.", example: "sql_task: { file: { path: report.sql }, parameters: { day: 2026-01-31 } }"),
    "command_task": JobKeyTexts("Runs a program, or a line for the shell.", example: "command_task: { command: [ ./load, \"{{job.parameters.day}}\" ] }"),
    "spark_python_task": JobKeyTexts("Runs a Python file, without Spark.", example: "spark_python_task: { python_file: load.py }"),
    "dbt_task": JobKeyTexts(
      "Runs dbt's commands on a project, with the dbt of its environment.",
      example: "dbt_task: { project_directory: /Volumes/main/default/code/shop, commands: [ dbt build ] }"),
    "python_wheel_task": JobKeyTexts("Calls an entry point of an installed package.", example: "python_wheel_task: { package_name: mine, entry_point: run }"),
    "notebook_task": JobKeyTexts("Runs a notebook.", example: "notebook_task: { notebook_path: report.ipynb, base_parameters: { day: 2026-01-31 } }"),
    "run_job_task": JobKeyTexts("Runs another job and waits for it.", example: "run_job_task: { job_id: \"${resources.jobs.other.id}\" }"),
    "network_task": JobKeyTexts("Measures the network between workers by an all-reduce.", example: "network_task: { ranks: 3 }"),
    "wait_task": JobKeyTexts("Does nothing for a time: to try out a graph, or to measure a cluster.", example: "wait_task: { milliseconds: 100 }"),
    "condition_task": JobKeyTexts(
      "Compares two texts or numbers; tasks after it ask for its `outcome`.",
      example: "condition_task: { op: GREATER_THAN, left: \"{{tasks.a.values.rows}}\", right: \"0\" }"),
  ]

  static let fields: [String: JobKeyTexts] = [
    "sql_task.statement": JobKeyTexts("The statement itself.", example: "statement: SELECT 1"),
    "sql_task.file.path": JobKeyTexts("Relative to the file that names it."),
    "sql_task.parameters": JobKeyTexts("Values for `:name`.", example: "parameters: { day: 2026-01-31 }"),
    "sql_task.catalog": JobKeyTexts("For names with fewer than three parts.", fallback: "main"),
    "sql_task.schema": JobKeyTexts("For names with one part.", fallback: "default"),
    "sql_task.shards": JobKeyTexts("Into how many parts the statement is cut.", fallback: "1", example: "shards: auto"),
    "sql_task.partition_by": JobKeyTexts("Columns whose equal values stay together."),
    "sql_task.warehouse_id": JobKeyTexts("Accepted; there are no warehouses to choose."),
    "spark_python_task.python_file": JobKeyTexts("Relative to the file that names it, or in a volume.", example: "python_file: src/load.py"),
    "spark_python_task.parameters": JobKeyTexts("Arguments of the program."),
    "command_task.command": JobKeyTexts("A list of words, or one line for the shell."),
    "command_task.env": JobKeyTexts("Variables of its environment."),
    "command_task.memory": JobKeyTexts("What it may use.", fallback: "three quarters of the machine's", example: "memory: 2GB"),
    "command_task.processes": JobKeyTexts("How many it may have.", fallback: "1000"),
    "command_task.disk": JobKeyTexts("What its folder may take."),
    "run_job_task.job_id": JobKeyTexts("The job's number.", example: "job_id: \"${resources.jobs.other.id}\""),
    "run_job_task.job_parameters": JobKeyTexts("Values of its parameters."),
    "serving_plan_task": JobKeyTexts(
      "Says how a language model is best laid out over the nodes, from what they measure.",
      example: "serving_plan_task: { model: main.demo.chat, ranks: 3, dtype: int8 }"),
    "serving_plan_task.ranks": JobKeyTexts("How many nodes measure, one rank each where that is possible."),
    "serving_plan_task.dtype": JobKeyTexts("What the model's matrices would be multiplied as.", fallback: "f32"),
    "network_task.ranks": JobKeyTexts("How many, one a worker where that is possible."),
    "wait_task.milliseconds": JobKeyTexts("How long.", fallback: "0"),
    "wait_task.parts": JobKeyTexts("How often, on as many workers as have room.", fallback: "1"),
    "condition_task.op": JobKeyTexts("EQUAL_TO, NOT_EQUAL, GREATER_THAN, GREATER_THAN_OR_EQUAL, LESS_THAN or LESS_THAN_OR_EQUAL."),
    "train_task.compute.tensor_parallel": JobKeyTexts("Over how many ranks each layer is spread.", fallback: "1", example: "compute: { tensor_parallel: 2 }"),
    "train_task.compute.min_tensor_parallel": JobKeyTexts(
      "The fewest ranks that it goes on with when workers are lost.", fallback: "tensor_parallel",
      example: "compute: { tensor_parallel: 2, min_tensor_parallel: 1 }"),
    "train_task.compute.shrink_after_seconds": JobKeyTexts("How long it waits for room for all its ranks.", fallback: "60"),
    "train_task.compute.spares": JobKeyTexts("For how many more ranks room is kept.", fallback: "0"),
    "train_task.tokenizer": JobKeyTexts(
      "How its tokenizer is learned: bpe (byte pairs) or unigram (SentencePiece's language model; vocabulary 278 at least).", fallback: "bpe"),
    "train_task.steps": JobKeyTexts("How many steps of the optimizer."),
    "train_task.register_as": JobKeyTexts("The model that gets a new version."),
    "ingest_task.source.path": JobKeyTexts("A folder or file of a volume or bucket."),
    "ingest_task.target": JobKeyTexts("The table that rows are appended to."),
    "deploy_task.replicas": JobKeyTexts("How many serve.", fallback: "1"),
    "deploy_task.adapters": JobKeyTexts(
      "LoRA adapters of the model, each served under its name here: registered models.",
      example: "deploy_task: { endpoint: assistant, model: main.demo.chat, adapters: { polite: main.demo.polite, brief: main.demo.brief@champion } }"),
    "deploy_task.max_loras": JobKeyTexts("The most adapters that a replica keeps in memory.", fallback: "8"),
    "deploy_task.dtype": JobKeyTexts("What the model's matrices are multiplied as: f32 (as stored), bf16, int8 or int4.", fallback: "f32"),
    "deploy_task.kv_cache_dtype": JobKeyTexts(
      "How keys and values of language models are kept: f32, bf16, int8, or auto: f32 beside weights as stored, else bf16.", fallback: "auto"),
    "deploy_task.kv_cache_memory": JobKeyTexts(
      "What keys and values of each replica may take: all requests that it computes at once, and prompts that it remembers.", fallback: "256MB",
      example: "deploy_task: { endpoint: assistant, model: main.demo.chat, kv_cache_dtype: int8, kv_cache_memory: 2GB }"),
    "deploy_task.threads": JobKeyTexts("Threads that each replica computes with; answers do not depend on it.", fallback: "1"),
    "deploy_task.tensor_parallel": JobKeyTexts(
      "Over how many processes each replica's model is split; answers do not depend on it.", fallback: "1",
      example: "resources: { memory: 8GB }\ndeploy_task: { endpoint: assistant, model: main.demo.chat, tensor_parallel: 2 }"),
    "prepare_task.split": JobKeyTexts("Which shares of the documents train and test.", example: "split: { train: 0.9, test: 0.1 }"),
  ]
}
