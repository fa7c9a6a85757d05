// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs
import Testing

@testable import Workspace

/// What a tree of files means for a target. The rules are those of Databricks' command line: where one of them is meant, the file of its repository
/// that has it is named.
@Suite struct ProjectTests {
  static func read(
    _ main: String, _ more: [String: String] = [:], target: String? = nil, variables: [String: String] = [:], environment: [String: String] = [:],
    user: String = "Jane.Doe@example.com"
  ) -> ProjectReading {
    var context = ProjectContext(target: target, user: user)
    context.variables = variables
    context.environment = environment
    return Project.read("databricks.yml", ProjectFiles(more.merging(["databricks.yml": main]) { $1 }), context)
  }

  static func project(
    _ main: String, _ more: [String: String] = [:], target: String? = nil, variables: [String: String] = [:], environment: [String: String] = [:]
  ) throws -> Project {
    let reading = read(main, more, target: target, variables: variables, environment: environment)
    #expect(reading.errors == [], "\(reading.errors)")
    return try #require(reading.project)
  }

  static func job(_ project: Project, _ key: String = "j") throws -> JSONValue { try #require(project.resource(key)).definition }

  private static let task = "tasks: [ { task_key: a, command_task: { command: date } } ]"

  // MARK: Files

  @Test func filesThatAreIncludedBecomeOneProject() throws {
    let project = try Self.project(
      """
      bundle: { name: p }
      include: [ "resources/*.yml", "more/**/*.yaml", single.json ]
      """,
      [
        "resources/a.yml": "resources: { jobs: { a: { tasks: [ { task_key: t, spark_python_task: { python_file: ../src/a.py } } ] } } }",
        "resources/deep/not.yml": "resources: { nothing: here }",
        "more/x/y/b.yaml": "resources: { schemas: { b: { catalog_name: main, name: b } } }",
        "more/c.yaml": "resources: { jobs: { c: { tasks: [ { task_key: t, sql_task: { file: { path: q.sql } } } ] } } }",
        "more/q.sql": "select 1", "src/a.py": "print('${x} {{y}}')",
        "single.json": #"{"resources": {"schemas": {"d": {"catalog_name": "main", "name": "d"}}}}"#,
      ])
    #expect(project.resources.map(\.key) == ["b", "d", "a", "c"])
    // Paths are relative to the file that they stand in, and travel as they are from the project's folder.
    let a = try #require(project.resource("a"))
    #expect(a.attachments == ["src/a.py": "print('${x} {{y}}')"] && a.path == "resources/a.yml" && a.line == 1)
    #expect(a.definition["tasks"]?.arrayValue?[0]["spark_python_task"]?["python_file"] == "src/a.py")
    #expect(project.resource("c")?.attachments == ["more/q.sql": "select 1"])
  }

  @Test func everythingWrongIsToldAtOnceWithFileAndLine() throws {
    let reading = Self.read(
      """
      bundle: { name: p }
      include: [ resources/a.yml, ../out.yml, gone.yml ]
      varables: {}
      variables:
        catalog: { defualt: main }
        none: {}
      targets:
        dev: { mode: developmemt }
      resources:
        pipelines: { x: {} }
        schemas:
          s: { catalog_name: "${var.catalgo}", nam: support }
      """,
      [
        "resources/a.yml": """
        resources:
          jobs:
            a:
              max_concurrent_runs: 0
              schedule: { quartz_cron_expression: "0 0 0 * *", timezone_id: UTC }
              tasks:
                - { task_key: one, command_task: { comand: date } }
                - { task_key: two, depends_on: [ { task_key: on } ], spark_python_task: { python_file: ../src/gone.py } }
                - { task_key: three, spark_jar_task: {} }
        """,
        "src/gone2.py": "",
      ])
    #expect(reading.project == nil && reading.identity?.target == "dev")
    let shown = reading.errors.map { "\($0.path ?? ""):\($0.line ?? 0) \($0.number) \($0.message)" }
    func has(_ text: String, _ comment: Comment? = nil) { #expect(shown.contains { $0.contains(text) }, comment ?? "\(text) is not in \(shown)") }
    has("databricks.yml:3 PLT-1202 unknown key 'varables'")
    has("databricks.yml:5 PLT-1202 variables.catalog: unknown key 'defualt'")
    has("databricks.yml:6 PLT-1207 variables.none: has no value")
    has("databricks.yml:8 PLT-1203 targets.dev.mode: 'developmemt' is not possible")
    has("databricks.yml:10 PLT-4276 resources.pipelines: 'pipelines' is refused")
    has("databricks.yml:12 PLT-4278 resources.schemas.s.catalog_name: '${var.catalgo}' stands for nothing")
    has("databricks.yml:12 PLT-1202 resources.schemas.s: unknown key 'nam'")
    has("databricks.yml:12 PLT-1202 resources.schemas.s: 'name' is missing")
    has("databricks.yml:2 PLT-4274 include: '../out.yml' leads out of the project")
    has("databricks.yml:2 PLT-4274 include: there is no file 'gone.yml'")
    has("resources/a.yml:4 PLT-1203 resources.jobs.a.max_concurrent_runs: 0 is out of range")
    has("resources/a.yml:5 PLT-4230 resources.jobs.a")
    has("resources/a.yml:7 PLT-1202 resources.jobs.a.tasks[0].command_task: unknown key 'comand'")
    has("resources/a.yml:8 PLT-1205 resources.jobs.a.tasks[1].depends_on[0]: there is no task 'on'")
    has("resources/a.yml:8 PLT-1211 resources.jobs.a.tasks[1].spark_python_task.python_file: there is no file 'src/gone.py'")
    has("resources/a.yml:9 PLT-1210")
    #expect(reading.errors.first { $0.message.contains("catalgo") }?.hint == "Did you mean '${var.catalog}'?")
    #expect(reading.errors.first { $0.message.contains("gone.py") }?.hint == "Did you mean 'gone2.py'?")
    #expect(reading.errors.first { $0.message.contains("'nam'") }?.hint == "Did you mean 'name'?")
  }

  @Test(arguments: [
    ("*.yml", "a.yml", true), ("*.yml", "a.yaml", false), ("a?c", "abc", true), ("a?c", "ac", false), ("[a-c]x", "bx", true), ("[!a-c]x", "bx", false),
    ("[^a]x", "bx", true), ("*a*b*c*", "xxaxxbxxc", true), ("*a*b*c*", "xxaxxbxx", false), ("**", "any", true), ("a", "a", true), ("", "", true),
    ("[", "[", true),
  ])
  func patternsFitNames(pattern: String, name: String, fits: Bool) {
    #expect(IncludePattern.fits(Array(name)[...], Array(pattern)[...]) == fits)
  }

  @Test func aKeyIsOneResource() {
    let reading = Self.read(
      "bundle: { name: p }\ninclude: [ a.yml ]\nresources: { schemas: { x: { catalog_name: main, name: x } } }",
      ["a.yml": "resources: { volumes: { x: { catalog_name: main, schema_name: x, name: v } } }"])
    #expect(reading.errors.map(\.number) == ["PLT-4275"] && reading.errors[0].path == "a.yml" && reading.errors[0].hint.contains("databricks.yml:3"))
  }

  @Test func mergeKeysOfYAMLAreRead() throws {
    let project = try Self.project(
      """
      bundle: { name: p }
      resources:
        jobs:
          j: { description: one, <<: &base { timeout_seconds: 60, description: base }, tasks: [ { task_key: a, command_task: { command: date } } ] }
          k: { <<: [ *base, { timeout_seconds: 9, priority: 3 } ], tasks: [ { task_key: a, command_task: { command: date } } ] }
      """)
    #expect(try Self.job(project)["timeout_seconds"] == 60 && Self.job(project)["description"] == "one")
    #expect(try Self.job(project, "k")["timeout_seconds"] == 60 && Self.job(project, "k")["priority"] == 3)
  }

  // MARK: Targets

  /// `bundle/config/mutator/select_default_target.go`
  @Test func theTargetIsTheDefaultUnlessAnotherIsAskedFor() throws {
    func target(_ targets: String, _ asked: String? = nil) -> String { Self.read("bundle: { name: p }\n\(targets)", target: asked).identity?.target ?? "-" }
    #expect(target("") == "default" && target("", "default") == "default" && target("", "dev") == "-")
    #expect(
      target("targets: { one: }") == "one" && target("targets: { a: { default: true }, b: }") == "a"
        && target("targets: { a: { default: true }, b: }", "b") == "b")
    #expect(target("targets: { a: , b: }") == "-" && target("targets: { a: { default: true }, b: { default: true } }") == "-")
    #expect(Self.read("bundle: { name: p }\ntargets: { prod: , dev: }", target: "prd").errors.first?.hint == "Did you mean 'prod'?")
  }

  /// `libs/dyn/merge/merge.go`, `merge_job_tasks.go`, `merge_job_clusters.go`, `merge_job_parameters.go`
  @Test func overridesOfATargetAreMerged() throws {
    let text = """
      bundle: { name: p }
      resources:
        jobs:
          j:
            timeout_seconds: 60
            tags: { a: "1", b: "2" }
            parameters: [ { name: day, default: x }, { name: n, default: "1" } ]
            job_clusters: [ { job_cluster_key: c, new_cluster: { num_workers: 1, labels: { pool: a } } } ]
            tasks:
              - { task_key: one, command_task: { command: [ a ], env: { X: "1" } }, max_retries: 1 }
              - { task_key: two, command_task: { command: date }, depends_on: [ { task_key: one } ] }
      targets:
        dev: { default: true }
        prod:
          resources:
            jobs:
              j:
                timeout_seconds: 600
                tags: { b: "3", c: "4" }
                parameters: [ { name: day, default: y } ]
                job_clusters: [ { job_cluster_key: c, new_cluster: { num_workers: 5 } } ]
                tasks:
                  - { task_key: two, max_retries: 3 }
                  - { task_key: one, command_task: { env: { Y: "2" } } }
                  - { task_key: three, command_task: { command: date } }
      """
    let dev = try Self.job(try Self.project(text))
    #expect(dev["timeout_seconds"] == 60 && dev["tasks"]?.arrayValue?.count == 2)
    let prod = try Self.job(try Self.project(text, target: "prod"))
    #expect(prod["timeout_seconds"] == 600 && prod["tags"] == ["a": "1", "b": "3", "c": "4"])
    #expect(prod["parameters"] == [["name": "day", "default": "y"], ["name": "n", "default": "1"]])
    #expect(prod["job_clusters"] == [["job_cluster_key": "c", "new_cluster": ["num_workers": 5, "labels": ["pool": "a"]]]])
    let tasks = try #require(prod["tasks"]?.arrayValue)
    #expect(tasks.map { $0["task_key"] } == ["one", "two", "three"])
    #expect(tasks[0] == ["task_key": "one", "command_task": ["command": ["a"], "env": ["X": "1", "Y": "2"]], "max_retries": 1])
    #expect(tasks[1]["max_retries"] == 3 && tasks[1]["depends_on"] == [["task_key": "one"]])
    let wrong = Self.read(text.replacing("tags: { b: \"3\", c: \"4\" }", with: "tags: [ b ]"), target: "prod")
    #expect(wrong.errors.map(\.number) == ["PLT-4275"] && wrong.errors[0].line == 19)
  }

  @Test func twoTasksOfOneNameAreASlip() {
    let reading = Self.read(
      """
      bundle: { name: p }
      resources:
        jobs:
          j:
            tasks:
              - { task_key: a, command_task: { command: date } }
              - { task_key: a, max_retries: 1 }
      """)
    #expect(reading.errors.first?.number == "PLT-1205" && reading.errors.first?.line == 7 && reading.errors.first?.hint == "First used on line 6.")
  }

  /// Before it is known who deploys, the file says where to ask.
  @Test func theHostIsKnownBeforeTheUser() {
    let reading = Self.read("bundle: { name: p }\ntargets: { dev: { mode: development, workspace: { host: \"http://h:1\" } } }", user: "")
    #expect(reading.identity?.host == "http://h:1" && reading.errors == [])
  }

  /// `apply_target_mode.go`, `apply_presets.go`
  @Test func developmentPrefixesNamesTagsJobsAndPausesThem() throws {
    let text = """
      bundle: { name: p }
      resources:
        schemas: { s: { catalog_name: main, name: support } }
        volumes: { v: { catalog_name: main, schema_name: support, name: raw }, w: { catalog_name: main, schema_name: other, name: raw } }
        registered_models: { m: { catalog_name: main, schema_name: "${resources.schemas.s.name}", name: lm } }
        jobs:
          j: { name: nightly, schedule: { quartz_cron_expression: "0 0 3 * * ?", timezone_id: UTC }, \(Self.task) }
          k: { tags: { dev: mine }, max_concurrent_runs: 1, trigger: { pause_status: UNPAUSED, periodic: { interval: 1, unit: DAYS } }, \(Self.task) }
      targets:
        dev: { mode: development, default: true }
        prod: { mode: production }
        test: { presets: { name_prefix: "t_", trigger_pause_status: PAUSED, tags: { t: "1" } } }
      """
    let dev = try Self.project(text)
    #expect(dev.identity.rootPath == "/Workspace/Users/Jane.Doe@example.com/.bundle/p/dev" && dev.identity.mode == .development)
    #expect(
      dev.resources.map(\.name) == [
        "main.dev_jane_doe_support", "main.dev_jane_doe_support.raw", "main.other.raw", "main.dev_jane_doe_support.dev_jane_doe_lm", "[dev jane_doe] nightly",
        "[dev jane_doe] k",
      ])
    let job = try Self.job(dev)
    #expect(job["tags"] == ["dev": "jane_doe"] && job["max_concurrent_runs"] == 4 && job["schedule"]?["pause_status"] == "PAUSED")
    #expect(job["queue"] == ["enabled": true])
    #expect(job["deployment"] == ["kind": "BUNDLE", "metadata_file_path": "/Workspace/Users/Jane.Doe@example.com/.bundle/p/dev/state/metadata.json"])
    let other = try Self.job(dev, "k")
    #expect(other["tags"] == ["dev": "mine"] && other["max_concurrent_runs"] == 1 && other["trigger"]?["pause_status"] == "UNPAUSED")
    let prod = try Self.project(text, target: "prod")
    #expect(prod.identity.rootPath == "/Workspace/Shared/.bundle/p/prod" && prod.resources.map(\.name)[0] == "main.support")
    #expect(try Self.job(prod)["name"] == "nightly" && Self.job(prod)["schedule"]?["pause_status"] == nil && Self.job(prod)["tags"] == nil)
    let test = try Self.project(text, target: "test")
    #expect(test.resource("s")?.name == "main.t_support" || test.resource("s")?.name == "main.tsupport")
    #expect(try Self.job(test)["name"] == "t_nightly" && Self.job(test)["tags"] == ["t": "1"] && Self.job(test)["schedule"]?["pause_status"] == "PAUSED")
    let shared = Self.read(text.replacing("mode: development,", with: "mode: development, workspace: { root_path: /Workspace/all },"))
    #expect(shared.errors.map(\.number) == ["PLT-4283"])
  }

  @Test func aResourceMayBeInSomeTargetsOnly() throws {
    let text = """
      bundle: { name: p }
      resources: { schemas: { s: { catalog_name: main, name: s, targets: [ prod ] } }, jobs: { j: { \(Self.task) } } }
      targets: { dev: { default: true }, prod: }
      """
    #expect(try Self.project(text).resources.map(\.key) == ["j"])
    #expect(try Self.project(text, target: "prod").resources.map(\.key) == ["s", "j"])
    #expect(Self.read(text.replacing("[ prod ]", with: "[ pord ]")).errors.first?.hint == "Did you mean 'prod'?")
  }

  // MARK: Variables and references

  /// `set_variables.go`, `resolve_variable_references.go`, `docs.databricks.com/dev-tools/bundles/variables`
  @Test func variablesHaveTheirValuesFromTheNearestPlace() throws {
    let text = """
      bundle: { name: p }
      variables:
        a: { default: from-default }
        both: { default: "${var.a}-${bundle.target}" }
        runs: { default: 3 }
        limits: { type: complex, default: { retries: 2, list: [ x, { y: deep } ] } }
        id: { lookup: { job: "other job" } }
      resources:
        jobs:
          j:
            name: "${var.both}"
            description: "${workspace.current_user.short_name} in ${workspace.root_path}"
            max_concurrent_runs: ${var.runs}
            tags: { deep: "${var.limits.list[1].y}", n: "v${var.limits.retries}" }
            tasks:
              - { task_key: a, command_task: { command: [ "${var.a}" ] }, max_retries: "${var.limits.retries}" }
              - { task_key: b, run_job_task: { job_id: "${var.id}", job_parameters: { own: "${resources.jobs.k.id}" } } }
          k: { \(Self.task) }
      targets: { dev: { default: true }, prod: { variables: { a: from-target, limits: { retries: 7, list: [ 0, { y: other } ] } } } }
      """
    var project = try Self.project(text)
    #expect(project.resources.map(\.key) == ["k", "j"], "a job comes after those whose numbers it needs")
    var job = try Self.job(project)
    #expect(job["name"] == "from-default-dev" && job["description"] == "jane_doe in /Workspace/Shared/.bundle/p/dev")
    #expect(job["max_concurrent_runs"] == 3 && job["tags"] == ["deep": "deep", "n": "v2"] && job["tasks"]?.arrayValue?[0]["max_retries"] == 2)
    #expect(project.lookups.map(\.job) == ["other job"])
    let known = try #require(project.resource("j")).definition(ids: [project.lookups[0].token: 41, "resources.jobs.k.id": 42])
    #expect(known["tasks"]?.arrayValue?[1]["run_job_task"] == ["job_id": 41, "job_parameters": ["own": 42]])
    job = try Self.job(try Self.project(text, target: "prod"))
    #expect(job["name"] == "from-target-prod" && job["tasks"]?.arrayValue?[0]["max_retries"] == 7)
    let file = [".databricks/bundle/prod/variable-overrides.json": #"{"a": "from-file", "limits": {"retries": 9, "list": [0, {"y": "f"}]}}"#]
    job = try Self.job(try Self.project(text, file, target: "prod"))
    #expect(job["name"] == "from-file-prod" && job["tags"]?["deep"] == "f")
    project = try Self.project(text, file, target: "prod", environment: ["BUNDLE_VAR_a": "from-environment"])
    #expect(try Self.job(project)["name"] == "from-environment-prod")
    project = try Self.project(text, file, target: "prod", variables: ["a": "1.10", "runs": "5"], environment: ["BUNDLE_VAR_a": "from-environment"])
    #expect(try Self.job(project)["name"] == "1.10-prod" && Self.job(project)["max_concurrent_runs"] == 5)
    let wrong = Self.read(text, variables: ["aa": "1", "limits": "{}"])
    #expect(wrong.errors.map(\.number) == ["PLT-4279", "PLT-4279"])
  }

  @Test func referencesThatLeadNowhereAreErrors() throws {
    func errors(_ name: String, _ variables: String = "{}") -> [PlatformError] {
      Self.read("bundle: { name: p }\nvariables: \(variables)\nresources: { jobs: { j: { name: \"\(name)\", \(Self.task) }, other: { \(Self.task) } } }").errors
    }
    #expect(errors("${resources.jobs.other.name}").isEmpty)
    #expect(errors("${HOME}").first?.hint.contains("$HOME") == true)
    #expect(errors("${resources.jobs.ohter.id}").first?.hint == "Did you mean '${resources.jobs.other.id}'?")
    #expect(errors("${resources.schemas.s.id}").first?.number == "PLT-4278")
    #expect(errors("${var.a}", "{ a: { default: \"${var.b}\" }, b: { default: \"${var.a}\" } }").first?.message.contains("leads back to itself") == true)
    #expect(errors("${var.a").map(\.number).contains("PLT-1207"))
    #expect(errors("x ${var.a}", "{ a: { type: complex, default: { b: 1 } } }").first?.message.contains("no single value") == true)
    // What grows without end is stopped before it is large, as a text and as a mapping.
    for twice in ["\"${var.vN}${var.vN}\"", "{ a: \"${var.vN}\", b: \"${var.vN}\" }"] {
      let growing = (0..<40).map { "v\($0): { default: \(twice.replacing("vN", with: "v\($0 + 1)")) }" }.joined(separator: ", ")
      #expect(errors("${var.v0}", "{ \(growing), v40: { default: xxxxxxxxxxxxxxxx } }").contains { $0.message.contains("too large") }, "\(twice)")
    }
  }

  @Test func jobsThatNeedEachOtherInACircleAreRefused() {
    func job(_ other: String) -> String { "{ tasks: [ { task_key: a, run_job_task: { job_id: \"${resources.jobs.\(other).id}\" } } ] }" }
    let reading = Self.read("bundle: { name: p }\nresources: { jobs: { a: \(job("b")), b: \(job("a")) } }")
    #expect(reading.errors.map(\.number) == ["PLT-4278"])
  }

  @Test func onlyJobsHoldNumbersOfJobs() {
    let reading = Self.read(
      "bundle: { name: p }\nresources: { schemas: { s: { catalog_name: main, name: s, comment: \"${resources.jobs.j.id}\" } }, jobs: { j: { \(Self.task) } } }")
    #expect(reading.errors.map(\.number) == ["PLT-4278"] && reading.errors[0].line == 2)
  }

  /// Whatever a file holds, it is read or refused, with a place for every error.
  @Test func mutatedFilesNeverTrap() {
    let text = """
      bundle: { name: p }
      include: [ "a/*.yml" ]
      variables: { a: { default: [ x, { y: 1 } ] }, b: { type: complex, default: { c: "${var.a[0]}" } }, c: { lookup: { job: x } } }
      resources:
        schemas: { s: { catalog_name: main, name: s, properties: { k: v } } }
        volumes: { v: { catalog_name: main, schema_name: "${resources.schemas.s.name}", name: v, targets: [ dev ] } }
        jobs:
          j:
            <<: { timeout_seconds: 3 }
            name: "x ${var.b.c} ${bundle.git.branch}"
            schedule: { quartz_cron_expression: "0 0 3 * * ?", timezone_id: UTC }
            environments: [ { environment_key: e, spec: { dependencies: [ "*.whl", "-r r.txt" ] } } ]
            tasks:
              - { task_key: a, spark_python_task: { python_file: a.py }, libraries: [ { whl: "*.whl" } ], environment_key: e }
              - { task_key: b, depends_on: [ { task_key: a } ], for_each_task: { inputs: [ 1 ], task: { task_key: c, run_job_task: { job_id: "${var.c}" } } } }
      targets:
        dev: { mode: development, default: true, variables: { a: [ 1 ] }, resources: { jobs: { j: { tasks: [ { task_key: a, max_retries: 1 } ] } } } }
      """
    let files = ["a/x.yml": "resources: { jobs: }", "a.py": "", "o-1-py3-none-any.whl": "", "r.txt": "six"]
    #expect(Self.read(text, files).errors == [])
    let pieces = [
      "{", "}", "[", "]", ":", "null", "${var.a}", "${resources.jobs.j.id}", "${", "\n", "- ", "\"", "*a", "&a ", "<<", "~", "0", "x", ",", "é", "  ",
    ]
    let characters = Array(text)
    var random = SplitMix64(seed: 7)
    for round in 0..<400 {
      var mutated = characters
      for _ in 0..<(1 + round % 3) {
        let from = Int.random(in: 0..<mutated.count, using: &random)
        let to = min(mutated.count, from + Int.random(in: 0...(round % 5 == 0 ? 60 : 3), using: &random))
        mutated.replaceSubrange(from..<to, with: round % 4 == 3 ? [] : Array(pieces[Int.random(in: 0..<pieces.count, using: &random)]))
      }
      let reading = Self.read(String(mutated), files)
      #expect(reading.errors.allSatisfy { $0.path != nil && ($0.line ?? 0) > 0 && !$0.number.isEmpty }, "\(String(mutated)) \(reading.errors)")
      if let project = reading.project { _ = DeploymentPlan(project, DeploymentState()) { $0 } }
    }
    for end in stride(from: 0, to: characters.count, by: 7) { _ = Self.read(String(characters[..<end]), files) }
  }

  @Test func textsOfFilesMayBePutIn() throws {
    let project = try Self.project(
      "bundle: { name: p }\nresources: { jobs: { j: { tasks: [ { task_key: a, sql_task: { statement: \"${file:sql/a.sql}\" } } ] } } }",
      ["sql/a.sql": "select 1 -- \"x\""])
    #expect(try Self.job(project)["tasks"]?.arrayValue?[0]["sql_task"]?["statement"] == "select 1 -- \"x\"")
  }

  @Test func wheelsAndListsOfRequirementsTravelToo() throws {
    let job = """
      resources:
        jobs:
          j:
            environments: [ { environment_key: e, spec: { dependencies: [ six, ../dist/*.whl, /Volumes/main/a/b/c-1-py3-none-any.whl, "-r ../requirements.txt" ] } } ]
            tasks:
              - { task_key: a, environment_key: e, python_wheel_task: { package_name: own, entry_point: run }, libraries: [ { whl: ../dist/own-1.0-py3-none-any.whl } ] }
      """
    let files = ["resources/j.yml": job, "dist/own-1.0-py3-none-any.whl": "PK", "dist/two-1.0-py3-none-any.whl": "PK2", "requirements.txt": "numpy"]
    let project = try Self.project("bundle: { name: p }\ninclude: [ \"resources/*.yml\" ]", files)
    let made = try #require(project.resource("j"))
    #expect(
      made.definition["environments"]?.arrayValue?[0]["spec"]?["dependencies"]
        == ["six", "dist/own-1.0-py3-none-any.whl", "dist/two-1.0-py3-none-any.whl", "/Volumes/main/a/b/c-1-py3-none-any.whl", "-r requirements.txt"])
    #expect(made.attachments == ["dist/own-1.0-py3-none-any.whl": "base64:UEs=", "dist/two-1.0-py3-none-any.whl": "base64:UEsy", "requirements.txt": "numpy"])
    let gone = Self.read("bundle: { name: p }\ninclude: [ \"resources/*.yml\" ]", ["resources/j.yml": job])
    #expect(gone.errors.map(\.number) == ["PLT-1211", "PLT-1211", "PLT-1211"], "\(gone.errors)")
  }

  @Test func whatIsIgnoredIsNamed() throws {
    let reading = Self.read(
      """
      bundle: { name: p, compute_id: x }
      sync: { exclude: [ a ] }
      run_as: { user_name: a }
      resources:
        jobs: { j: { grants: [], run_as: { user_name: a }, tasks: [ { task_key: a, existing_cluster_id: x, command_task: { command: date } } ] } }
        schemas: { s: { catalog_name: main, name: s, grants: [] } }
      """)
    #expect(reading.errors == [])
    let names = reading.warnings.map { "\($0.line) \($0.message.prefix { $0 != ":" })" }
    #expect(
      names == [
        "1 'bundle.compute_id' is ignored", "2 'sync' is ignored", "3 'run_as' is ignored",
        "5 'resources.jobs.j.grants' is ignored", "5 'resources.jobs.j.run_as' is ignored",
        "5 'resources.jobs.j.tasks[0].existing_cluster_id' is ignored", "6 'resources.schemas.s.grants' is ignored",
      ])
  }

  @Test func rightsOfTheProjectAndOfAJobBecomeOneList() throws {
    let main = """
      bundle: { name: p }
      variables: { who: { default: ann } }
      permissions: [ { level: CAN_VIEW, group_name: users }, { level: CAN_RUN, user_name: "${var.who}" } ]
      resources:
        jobs:
          j: { permissions: [ { level: CAN_VIEW, user_name: ann }, { level: CAN_MANAGE, user_name: bob } ], tasks: [ { task_key: a, command_task: { command: date } } ] }
          k: { tasks: [ { task_key: a, command_task: { command: date } } ] }
      targets: { dev: { default: true }, prod: { permissions: [ { level: IS_OWNER, user_name: eve } ] } }
      """
    func rights(_ key: String, _ target: String) throws -> [String] {
      let project = try Self.project(main, target: target)
      let list = try #require(project.resource(key)).definition["access_control_list"]?.arrayValue ?? []
      return list.map { "\($0["user_name"]?.stringValue ?? $0["group_name"]?.stringValue ?? "") \($0["permission_level"]?.stringValue ?? "")" }
    }
    #expect(try rights("j", "dev") == ["users CAN_VIEW", "ann CAN_MANAGE_RUN", "bob CAN_MANAGE"])
    #expect(try rights("k", "prod") == ["eve IS_OWNER", "users CAN_VIEW", "ann CAN_MANAGE_RUN"])
    // Where nothing is said, nothing is compared.
    let silent = try Self.project("bundle: { name: p }\nresources: { jobs: { j: { \(Self.task) } } }")
    let job = try #require(silent.resource("j"))
    #expect(job.definition["access_control_list"] == nil)
    var live = job.definition.objectValue ?? [:]
    live["access_control_list"] = [["user_name": "ann", "permission_level": "IS_OWNER"], ["group_name": "users", "permission_level": "CAN_VIEW"]]
    var state = DeploymentState()
    state.resources = [DeploymentState.Resource(kind: .jobs, key: "j", id: "1", job: DeploymentState.Job(settings: .object(live), files: [:]))]
    #expect(DeploymentPlan(silent, state) { $0 }.steps.map(\.action) == [.unchanged])
    let said = try Self.project("bundle: { name: p }\npermissions: []\nresources: { jobs: { j: { \(Self.task) } } }")
    #expect(DeploymentPlan(said, state) { $0 }.steps.first?.changes.map(\.field) == ["access_control_list"])
  }

  @Test func rightsThatMakeNoSenseAreToldWithTheirLine() throws {
    let reading = Self.read(
      """
      bundle: { name: p }
      permissions: [ { level: CAN_VEIW, user_name: a } ]
      resources:
        jobs:
          j:
            permissions:
              - { level: IS_OWNER, user_name: a }
              - { level: IS_OWNER, user_name: b }
              - { level: CAN_VIEW, service_principal_name: c }
              - { level: CAN_VIEW }
            \(Self.task)
      """)
    let errors = reading.errors.map { "\($0.line ?? 0) \($0.number)" }
    #expect(
      errors.contains("2 PLT-1203") && errors.contains("9 PLT-4462") == false && errors.contains("9 PLT-4461") && errors.contains("10 PLT-4461"), "\(errors)")
    #expect(reading.errors.contains { $0.message.contains("exactly one owner") }, "\(reading.errors)")
  }

  /// What a project makes is read by the rules that stored settings are checked with.
  @Test func whatIsReadCanBeStored() throws {
    let project = try Self.project(
      "bundle: { name: p }\nresources: { jobs: { j: { tasks: [ { task_key: a, spark_python_task: { python_file: a.py, parameters: [ 1, true, x ] } } ] } } }",
      ["a.py": "print(1)"])
    let job = try #require(project.resource("j"))
    #expect(JobSettings.check(job.definition, attachments: job.attachments).errors == [])
  }
}
