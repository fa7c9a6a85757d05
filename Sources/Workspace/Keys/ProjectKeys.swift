// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

/// All keys of project files.
public enum ProjectKeys {
  // MARK: The file

  /// At the top of every file of a project.
  public static let top = ProjectKey.all(
    [
      .key("bundle", .keys(bundle), "What the project is called.", example: "bundle: { name: support }"),
      .key("include", .texts, "Further files of the project, with `*`, `?`, `[a-z]` and `**`.", example: "include: [ \"resources/*.yml\" ]"),
      .key("variables", .named(variable), "Values for `${var.NAME}`.", example: "variables: { catalog: { default: main } }"),
      .key("workspace", .keys(workspace), "Where it is deployed."),
      .key("presets", .keys(presets), "What is done to all resources."),
      .key("resources", .keys(resources), "What is deployed.", example: "resources: { schemas: { s: { catalog_name: main, name: support } } }"),
      .key("permissions", .list(permission), "Who may do what with the project's jobs.", example: "permissions: [ { level: CAN_VIEW, group_name: users } ]"),
      .key("targets", .named(target), "Places and ways to deploy; what they hold is merged over the rest.", example: "targets: { dev: { mode: development } }"),
    ],
    ProjectKey.ignored(["run_as"], ownersName),
    ProjectKey.ignored(["sync"], "files that tasks name travel with them, no others"),
    ProjectKey.ignored(["artifacts"], "nothing is built before it is deployed"),
    ProjectKey.ignored(["scripts", "experimental", "python", "javascript"], "not there"),
    ProjectKey.refused(["environments"], "Databricks calls them 'targets' now."))

  static let permission: [ProjectKey] =
    [
      .key(
        "level", .choice(["CAN_VIEW", "CAN_RUN", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"]), "The right; `CAN_RUN` is `CAN_MANAGE_RUN`.", required: true,
        example: "level: CAN_MANAGE_RUN"),
      .key("user_name", .text, "Whose it is."), .key("group_name", .text, "Or a group's: `users` are everybody, `admins` the administrators."),
    ] + ProjectKey.refused(["service_principal_name"], "There are no accounts of programs; they use the token of a user.")

  static let ownersName = "jobs run in the name of their owner"

  static let bundle = ProjectKey.all(
    [.key("name", .text, "The project's name, a part of where it is deployed.", required: true, example: "name: support_assistant")],
    ProjectKey.ignored(["compute_id", "cluster_id"], "there are no clusters to choose"),
    ProjectKey.ignored(["databricks_cli_version", "deployment", "git", "uuid", "engine", "mode"], "not there"))

  static let variable: [ProjectKey] = [
    .key("default", .any, "Its value where nothing else gives one; a mapping or list too.", example: "default: main"),
    .key("description", .text, "What it is for."),
    .key("type", .choice(["complex", "string"]), "`complex` for mappings and lists.", fallback: "string"),
    .key("lookup", .keys(lookup), "Its value is the number of something that exists by that name when the project is deployed."),
  ]

  static let lookup = ProjectKey.all(
    [.key("job", .text, "The number of the job of this name.", example: "lookup: { job: nightly }")],
    ProjectKey.ignored(
      [
        "alert", "cluster", "cluster_policy", "dashboard", "instance_pool", "metastore", "notification_destination", "pipeline", "query",
        "service_principal", "warehouse",
      ], "there are none here, the variable is empty"))

  static let workspace = ProjectKey.all(
    [
      .key("host", .text, "The cluster's address, where `--host` and `PLATFORM_HOST` give none.", example: "host: https://lake.example:8400"),
      .key(
        "root_path", .text, "Tells deployments apart: the same path is the same deployment.",
        fallback: "/Workspace/Users/USER/.bundle/NAME/TARGET in development, else /Workspace/Shared/.bundle/NAME/TARGET"),
    ],
    ProjectKey.ignored(["file_path", "artifact_path", "state_path", "resource_path"], "state is kept by the cluster, files travel with jobs"),
    ProjectKey.ignored(
      [
        "profile", "auth_type", "client_id", "google_service_account", "azure_resource_id", "azure_client_id", "azure_tenant_id", "azure_environment",
        "azure_login_app_id", "azure_workspace_resource_id", "account_id", "workspace_id", "experimental_is_unified_host",
      ], "PLATFORM_TOKEN says who you are"))

  static let presets = ProjectKey.all(
    [
      .key(
        "name_prefix", .text, "Before the names of jobs; before those of schemas and models as letters, digits and `_`.",
        fallback: "`[dev USER] ` in development"),
      .key("tags", .mapping, "For every job that has none of the name.", fallback: "`dev: USER` in development"),
      .key("jobs_max_concurrent_runs", .wholeNumber(1...1000), "For jobs that do not say.", fallback: "4 in development"),
      .key("trigger_pause_status", .choice(["PAUSED", "UNPAUSED"]), "Of schedules and triggers that do not say.", fallback: "PAUSED in development"),
    ], ProjectKey.ignored(["pipelines_development", "source_linked_deployment", "artifacts_dynamic_version", "catalog", "schema"], "not there"))

  static let target = ProjectKey.all(
    [
      .key("default", .flag, "The target when none is named.", fallback: "false; an only target is the default"),
      .key(
        "mode", .choice(["development", "production"]),
        "`development` puts `[dev USER]` before names, pauses schedules and keeps a deployment for each person.", example: "mode: development"),
      .key("variables", .any, "Values over the variables' defaults.", example: "variables: { catalog: test }"),
      .key("resources", .any, "Merged over `resources`: mappings by key, tasks by `task_key`, other lists are put behind."),
      .key("workspace", .keys(workspace), "Over `workspace`."),
      .key("presets", .keys(presets), "Over `presets`."),
      .key("bundle", .any, "Over `bundle`."), .key("permissions", .list(permission), "Behind `permissions`."),
    ],
    ProjectKey.ignored(["run_as"], ownersName),
    ProjectKey.ignored(["sync", "artifacts", "git", "compute_id", "cluster_id"], "not there"))

  // MARK: Resources

  public static let resources = ProjectKey.all(
    [
      .key("jobs", .named(job), "Stored jobs.", example: "jobs: { nightly: { tasks: [ { task_key: a, command_task: { command: date } } ] } }"),
      .key("schemas", .named(schema), "Schemas of the catalog.", example: "schemas: { s: { catalog_name: main, name: support } }"),
      .key("volumes", .named(volume), "Volumes for files.", example: "volumes: { raw: { catalog_name: main, schema_name: support, name: raw } }"),
      .key("registered_models", .named(registeredModel), "Models in the catalog; training tasks register versions of them."),
      .key("catalogs", .named(catalog), "Catalogs."),
    ],
    ProjectKey.refused(["model_serving_endpoints"], "Not built as a resource. A deploy_task of a job makes and changes an endpoint."),
    ProjectKey.refused(
      ["vector_search_indexes", "vector_search_endpoints"], "Not built as a resource. An index_sync_task of a job makes and refreshes an index."),
    ProjectKey.refused(["quality_monitors"], "Not built as a resource. A monitor_task of a job measures drift."),
    ProjectKey.refused(["experiments", "models"], "Not built. Models of the catalog are registered_models; runs keep their own curves."),
    ProjectKey.refused(["pipelines"], "There is no Spark here. Write the steps as tasks of a job."),
    ProjectKey.refused(["clusters", "sql_warehouses", "instance_pools", "cluster_policies"], "Nodes join the cluster by 'platform join'."),
    ProjectKey.refused(
      [
        "dashboards", "apps", "secret_scopes", "alerts", "database_instances", "database_catalogs", "synced_database_tables", "genie_spaces",
        "external_locations", "postgres_projects", "postgres_branches", "postgres_endpoints",
      ], "Not built."))

  /// Of every resource.
  private static let common = ProjectKey.all(
    [.key("targets", .texts, "Only in these targets.", own: true, fallback: "all", example: "targets: [ prod ]")],
    ProjectKey.ignored(["permissions", "grants"], "jobs have rights, other resources have none"),
    ProjectKey.ignored(["lifecycle"], "not there"))

  /// Why a key of every resource is ignored.
  static func reason(_ name: String) -> String {
    if case .ignored(let why)? = common.first(where: { $0.name == name })?.treatment { why } else { "" }
  }

  static let catalog = ProjectKey.all(
    [
      .key("name", .form("letters, digits, '_' and '-'"), "Its name.", required: true), .key("comment", .text, "What it is for."),
      .key("properties", .mapping, "Names with texts."),
    ], common, ProjectKey.ignored(["options", "connection_name", "share_name", "provider_name", "isolation_mode"], "not there"),
    ProjectKey.refused(["storage_root"], "Catalogs have no place of their own."))

  static let schema = ProjectKey.all(
    [
      .key("catalog_name", .form("letters, digits, '_' and '-'"), "The catalog that it is in.", required: true, example: "catalog_name: main"),
      .key("name", .form("letters, digits, '_' and '-'"), "Its name in the catalog.", required: true, example: "name: support"),
      .key("comment", .text, "What it is for."), .key("properties", .mapping, "Names with texts."),
    ], common, ProjectKey.refused(["storage_root"], "Schemas have no place of their own."))

  static let volume = ProjectKey.all(
    [
      .key("catalog_name", .form("letters, digits, '_' and '-'"), "The catalog that it is in.", required: true),
      .key("schema_name", .form("letters, digits, '_' and '-'"), "The schema that it is in.", required: true),
      .key("name", .form("letters, digits, '_' and '-'"), "Its name in the schema.", required: true), .key("comment", .text, "What it is for."),
      .key("volume_type", .choice(["MANAGED", "EXTERNAL"]), "EXTERNAL is a folder that exists.", fallback: "MANAGED"),
      .key("storage_location", .text, "The folder of an external volume.", example: "storage_location: file:///srv/shared"),
    ], common)

  static let registeredModel = ProjectKey.all(
    [
      .key("catalog_name", .form("letters, digits, '_' and '-'"), "The catalog that it is in.", required: true),
      .key("schema_name", .form("letters, digits, '_' and '-'"), "The schema that it is in.", required: true),
      .key("name", .form("letters, digits, '_' and '-'"), "Its name in the schema.", required: true), .key("comment", .text, "What it is for."),
    ], common, ProjectKey.ignored(["aliases"], "set them with 'platform models alias'"),
    ProjectKey.refused(["storage_location"], "Models lie in the platform's own folder."))

  // MARK: Jobs

  /// Keys of jobs; what decides about them is the checker of workflow files.
  public static let job: [ProjectKey] = {
    let own = ["priority"]
    let texts = JobKeyTexts.job
    let keys = ProjectJobs.jobKeys.map { name in
      ProjectKey.key(
        name, name == "tasks" ? .list(task) : texts[name]?.shape ?? .any, texts[name]?.summary ?? "", required: name == "tasks", own: own.contains(name),
        fallback: texts[name]?.fallback ?? "", example: texts[name]?.example ?? "")
    }
    let common = ProjectKeys.common.filter { one in !keys.contains { $0.name == one.name } }
    let known = Set(keys.map(\.name) + common.map(\.name))
    return keys + common + ProjectKey.ignored(ProjectJobs.ignoredJobKeys.filter { !known.contains($0) }, "not there")
  }()

  public static let task: [ProjectKey] = taskKeys(with: bodies + [loop])

  private static func taskKeys(with bodies: [ProjectKey]) -> [ProjectKey] {
    let texts = JobKeyTexts.task
    let keys = ProjectJobs.taskKeys.map { name in
      ProjectKey.key(
        name, texts[name]?.shape ?? .any, texts[name]?.summary ?? "", required: name == "task_key", fallback: texts[name]?.fallback ?? "",
        example: texts[name]?.example ?? "")
    }
    let known = Set((keys + bodies).map(\.name))
    return keys + bodies + ProjectKey.ignored(ProjectJobs.ignoredTaskKeys.filter { !known.contains($0) }, "not there")
      + ProjectKey.refused(ProjectJobs.refusedTaskKeys.filter { !known.contains($0) }, "Not built yet.")
  }

  private static let bodies: [ProjectKey] = ProjectJobs.bodies.map { body in
    ProjectKey(
      name: body.key, shape: .keys(body.keys.map { converted($0, body.key) }), isOwn: !JobKeyTexts.databricksTasks.contains(body.key),
      summary: JobKeyTexts.bodies[body.key]?.summary ?? "", example: JobKeyTexts.bodies[body.key]?.example ?? "")
  }

  private static let loop = ProjectKey.key(
    ProjectJobs.loop,
    .keys([
      .key("inputs", .any, "A list, its JSON text, or a reference to one.", required: true, example: "inputs: [1, 2, 3]"),
      .key("concurrency", .wholeNumber(1...100), "How many at once.", fallback: "1"),
      .key("task", .keys(taskKeys(with: bodies)), "What is repeated, with `{{input}}`.", required: true),
    ]), "Repeats a task for every item of a list.")

  private static func converted(_ own: ProjectJobs.Key, _ place: String) -> ProjectKey {
    let here = "\(place).\(own.name)"
    let shape: ProjectKey.Shape =
      switch own.shape {
      case .text: .text
      case .wholeNumber(let range): .wholeNumber(range)
      case .number(let range): .number(range)
      case .flag: .flag
      case .texts: .texts
      case .mapping: .mapping
      case .any: .any
      case .form(let words): .form(words)
      case .keys(let keys): .keys(keys.map { converted($0, here) })
      }
    let text = JobKeyTexts.fields[here]
    return .key(own.name, shape, text?.summary ?? "", required: own.isRequired, fallback: text?.fallback ?? "", example: text?.example ?? "")
  }
}
