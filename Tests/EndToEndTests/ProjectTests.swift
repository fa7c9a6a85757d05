// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Projects on real processes: two targets, changes, removals, deployments that are killed.
  @Suite(.serialized) struct ProjectTests {
    private static let main = """
      bundle: { name: sample }
      include: [ "resources/*.yml" ]
      variables: { catalog: { default: main } }
      targets:
        dev: { mode: development, default: true }
        prod: { mode: production }
      """
    private static let resources = """
      resources:
        schemas: { data: { catalog_name: "${var.catalog}", name: sample, comment: old } }
        volumes: { raw: { catalog_name: "${var.catalog}", schema_name: sample, name: raw } }
        jobs:
          refresh:
            schedule: { quartz_cron_expression: "0 30 2 * * ?", timezone_id: UTC }
            permissions: [ { level: CAN_VIEW, group_name: users } ]
            parameters: [ { name: n, default: "1" } ]
            tasks:
              - { task_key: count, spark_python_task: { python_file: ../src/count.py, parameters: [ "{{job.parameters.n}}" ] } }
              - { task_key: write, depends_on: [ { task_key: count } ], sql_task: { file: { path: ../src/write.sql }, catalog: "${var.catalog}",
                  schema: "${resources.schemas.data.name}", parameters: { n: "{{tasks.count.values.n}}" } } }
          again: { tasks: [ { task_key: a, run_job_task: { job_id: "${resources.jobs.refresh.id}", job_parameters: { n: "7" } } } ] }
      """

    private struct Folder {
      let cluster: LocalCluster
      let path: String

      init(_ cluster: LocalCluster, _ name: String, _ files: [String: String]) throws {
        self.cluster = cluster
        path = cluster.folder.file(name)
        for (file, text) in files { try write(file, text) }
      }

      func write(_ file: String, _ text: String) throws {
        let whole = URL(fileURLWithPath: path + "/" + file)
        try FileManager.default.createDirectory(at: whole.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: whole)
      }

      func cli(_ arguments: [String]) throws -> LocalCluster.Output { try cluster.cli(arguments + ["--project", path]) }

      /// What a command answers with `-o json`.
      func json(_ arguments: [String]) throws -> JSONValue {
        let answer = try cli(arguments + ["-o", "json"])
        #expect(answer.status == 0, "\(arguments): \(answer.all)")
        return try JSONValue(parsing: answer.out)
      }

      func actions(_ arguments: [String]) throws -> [String] {
        try json(arguments)["steps"]?.arrayValue?.map { "\($0["action"]?.stringValue ?? "") \($0["key"]?.stringValue ?? "")" } ?? []
      }
    }

    private func jobs(_ cluster: LocalCluster) throws -> [JSONValue] {
      try JSONValue(parsing: cluster.cli(["jobs", "list", "--limit", "100", "-o", "json"]).out)["jobs"]?.arrayValue ?? []
    }

    @Test func projectsAreDeployed() throws {
      let cluster = try LocalCluster("projects")
      #expect(try cluster.start(workers: 1).status == 0)
      try aProjectIsDeployedChangedRunAndDestroyed(cluster)
      try aDeploymentThatIsKilledIsGoneOnWith(cluster)
    }

    private func aProjectIsDeployedChangedRunAndDestroyed(_ cluster: LocalCluster) throws {
      let project = try Folder(
        cluster, "sample",
        [
          "databricks.yml": Self.main, "resources/all.yml": Self.resources,
          "src/count.py": "import sys, taskvalues\ntaskvalues.set('n', int(sys.argv[1]))\n",
          "src/write.sql": "create or replace table counts as select :n as n",
        ])

      // Everything that is wrong, with its place, before anything is done.
      try project.write(
        "resources/wrong.yml", "resources:\n  jobs:\n    wrong:\n      tasts: []\n  schemas:\n    other: { catalog_name: \"${var.catalogue}\", name: other }\n")
      let wrong = try project.cli(["deploy"])
      #expect(wrong.status == 65 && wrong.err.contains("resources/wrong.yml:4") && wrong.err.contains("Did you mean 'tasks'?"), "\(wrong.all)")
      #expect(wrong.err.contains("resources/wrong.yml:6") && wrong.err.contains("Did you mean '${var.catalog}'?") && wrong.err.contains("errors, 0 warnings"))
      let errors = try JSONValue(parsing: project.cli(["validate", "-o", "json"]).err)
      #expect(errors["errors"]?.arrayValue?.count ?? 0 >= 3 && errors["line"]?.intValue != nil)
      try FileManager.default.removeItem(atPath: project.path + "/resources/wrong.yml")
      #expect(try jobs(cluster).isEmpty)

      // Twice: the second time nothing changes.
      #expect(try project.actions(["plan"]) == ["create data", "create raw", "create refresh", "create again"])
      #expect(try project.actions(["deploy"]) == ["create data", "create raw", "create refresh", "create again"])
      let second = try project.cli(["deploy"])
      #expect(second.status == 0 && second.err.contains("already deployed to dev: 4 unchanged"), "\(second.all)")
      #expect(try project.json(["plan"])["changes"] == false)
      let development = try jobs(cluster)
      #expect(Set(development.compactMap { $0["settings"]?["name"]?.stringValue }) == ["[dev admin] refresh", "[dev admin] again"])
      #expect(development.contains { $0["settings"]?["schedule"]?["pause_status"] == "PAUSED" })
      // The other target has its own.
      #expect(try project.actions(["deploy", "-t", "prod"]).count == 4)
      #expect(try jobs(cluster).count == 4 && project.json(["plan", "-t", "prod"])["changes"] == false && project.json(["plan"])["changes"] == false)
      #expect(try cluster.cli(["schemas", "get", "main.dev_admin_sample"]).status == 0 && cluster.cli(["volumes", "get", "main.sample.raw"]).status == 0)

      // A job by its key, with the numbers of others filled in.
      let run = try project.cli(["run", "again", "-t", "prod", "--watch"])
      #expect(run.status == 0, "\(run.all)")
      #expect(try cluster.scalar("select cast(n as int) from main.sample.counts") == 7)
      let unknown = try project.cli(["run", "agian"])
      #expect(unknown.status == 66 && unknown.err.contains("Did you mean 'again'?"))

      // What is changed here or there shows, field by field; so does another text of a program.
      try project.write("src/count.py", "import sys, taskvalues\ntaskvalues.set('n', 1 + int(sys.argv[1]))\n")
      try project.write("resources/all.yml", Self.resources.replacing("comment: old", with: "comment: new"))
      let id = try #require(development.first { $0["settings"]?["name"]?.stringValue == "[dev admin] again" }?["job_id"]?.intValue)
      let file = try cluster.write("update.json", #"{"job_id": \#(id), "new_settings": {"timeout_seconds": 5}}"#)
      #expect(try cluster.http("POST", "/api/2.2/jobs/update", token: cluster.token, body: "@\(file)").status == 200)
      let plan = try project.json(["plan"])["steps"]?.arrayValue ?? []
      let fields = plan.flatMap { $0["changes"]?.arrayValue ?? [] }.compactMap { $0["field"]?.stringValue }
      #expect(fields == ["comment", "src/count.py", "timeout_seconds"], "\(fields)")
      #expect(try project.actions(["deploy"]) == ["update data", "unchanged raw", "update refresh", "update again"])
      #expect(try project.json(["plan"])["changes"] == false)

      // What the project does not have any more goes, after a question.
      let smaller = Self.resources.replacing("comment: old", with: "comment: new").split(separator: "\n").filter {
        !$0.contains("again:") && !$0.contains("volumes:")
      }
      try project.write("resources/all.yml", smaller.joined(separator: "\n"))
      let refused = try project.cli(["deploy"])
      #expect(refused.status == 64 && refused.err.contains("deletes 2 resources") && refused.err.contains("--yes"), "\(refused.all)")
      #expect(try jobs(cluster).count == 4)
      #expect(try project.actions(["deploy", "--yes"]).suffix(2) == ["delete again", "delete raw"])
      #expect(try jobs(cluster).count == 3 && cluster.cli(["volumes", "get", "main.dev_admin_sample.raw"]).status == 66)

      // What others have made is not taken, unless it is said.
      #expect(try cluster.cli(["schemas", "create", "main.taken"]).status == 0)
      try project.write("resources/more.yml", "resources: { schemas: { taken: { catalog_name: main, name: taken, targets: [ prod ] } } }")
      try project.write("resources/all.yml", Self.resources)
      let taken = try project.cli(["deploy", "-t", "prod"])
      #expect(taken.status == 73 && taken.err.contains("PLT-4277") && taken.err.contains("--adopt taken"), "\(taken.all)")
      #expect(try project.actions(["deploy", "-t", "prod", "--adopt", "taken"]).contains("update taken"))
      #expect(try project.json(["plan", "-t", "prod"])["changes"] == false)

      // A stored job becomes a project's.
      let stored = try cluster.write("job.json", #"{"name": "By Hand", "tasks": [{"task_key": "a", "command_task": {"command": "date"}}]}"#)
      let number = try cluster.cli(["jobs", "create", stored]).out.trimmingCharacters(in: .whitespacesAndNewlines)
      #expect(try cluster.cli(["generate", "job", number, "--into", project.path + "/resources/by_hand.yml"]).status == 0)
      #expect(try project.actions(["deploy", "-t", "prod", "--adopt", "by_hand=\(number)"]).contains("update by_hand"))
      #expect(try jobs(cluster).filter { $0["settings"]?["name"] == "By Hand" }.map { $0["job_id"]?.intValue } == [Int(number)])

      // What only the cluster knows has the place of its job; afterwards the deployment goes on.
      try project.write(
        "resources/told.yml",
        "resources:\n  jobs:\n    told: { webhook_notifications: { on_failure: [ { id: nobody } ] }, tasks: [ { task_key: a, command_task: { command: date } } ] }"
      )
      let untold = try project.cli(["deploy"])
      #expect(untold.status == 64 && untold.err.contains("resources/told.yml:3") && untold.err.contains("resources.jobs.told"), "\(untold.all)")
      #expect(try project.json(["summary"])["state"] == "IN_PROGRESS")
      try FileManager.default.removeItem(atPath: project.path + "/resources/told.yml")
      #expect(try project.cli(["deploy"]).status == 0 && project.json(["summary"])["state"] == "DEPLOYED")

      #expect(try project.json(["summary", "-t", "prod"])["resources"]?.arrayValue?.count == 6)
      for target in ["dev", "prod"] { #expect(try project.cli(["destroy", "-t", target, "--yes"]).status == 0) }
      #expect(try jobs(cluster).isEmpty && cluster.cli(["schemas", "get", "main.sample"]).status == 66)
      #expect(try project.cli(["destroy", "-t", "prod", "--yes"]).err.contains("is not deployed"))
    }

    private func aDeploymentThatIsKilledIsGoneOnWith(_ cluster: LocalCluster) throws {
      let count = 12
      let all = (0..<count).map { "    j\($0): { tasks: [ { task_key: a, command_task: { command: date } } ] }\n" }.joined()
      let schemas = (0..<3).map { "s\($0): { catalog_name: main, name: killed\($0) }" }.joined(separator: ", ")
      let project = try Folder(
        cluster, "killed",
        ["platform.yml": "bundle: { name: killed }\nresources:\n  schemas: { \(schemas) }\n  jobs:\n\(all)"])
      let path = "/Workspace/Shared/.bundle/killed/default"
      func noted() throws -> [JSONValue] {
        try JSONValue(parsing: cluster.http("GET", "/api/2.0/deployments/get?root_path=\(path)", token: cluster.token).body)["resources"]?.arrayValue ?? []
      }
      // Killed when it is on its way, at three places or behind its end: what follows holds for all of them.
      for enough in [2, 6, 12] {
        let environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("PLATFORM_") }.merging(["PLATFORM_HOME": cluster.data]) { $1 }
        let process = try Program(LocalCluster.binary, ["deploy", "--project", project.path], environment: environment)
        try cluster.wait("resources of a deployment") { try noted().count >= enough || !process.isRunning }
        process.signal(SIGKILL)
        process.wait()
      }
      func version() throws -> JSONValue {
        try JSONValue(parsing: cluster.http("GET", "/api/2.0/deployments/get?root_path=\(path)", token: cluster.token).body)["version"] ?? 0
      }
      func post(_ call: String, _ body: JSONValue) throws -> (status: Int, body: JSONValue) {
        let file = try cluster.write("body.json", body.sortedText)
        let answer = try cluster.http("POST", "/api/2.0/deployments/\(call)", token: cluster.token, body: "@\(file)")
        return (answer.status, try JSONValue(parsing: answer.body))
      }
      func begin(_ planned: JSONValue) throws -> (status: Int, body: JSONValue) {
        try post("begin", ["root_path": .string(path), "bundle": "killed", "target": "default", "planned": planned])
      }
      func note(_ key: String, _ version: JSONValue) throws -> (status: Int, body: JSONValue) {
        try post(
          "put-resource",
          ["root_path": .string(path), "version": version, "kind": "schemas", "key": .string(key), "id": .string("main.\(key)"), "pending": true])
      }
      // Whoever planned with what was before is told, and so is whoever was overtaken.
      #expect(try project.cli(["deploy"]).status == 0)
      let before = try version()
      #expect(try begin(before).status == 200)
      for late in [try begin(before), try note("x", before)] { #expect(late.status == 409 && late.body["code"] == "PLT-4272", "\(late)") }
      #expect(try project.cli(["deploy"]).status == 0)

      let deployed = try noted()
      #expect(deployed.count == count + 3 && deployed.allSatisfy { $0["pending"] == false })
      #expect(try jobs(cluster).count == count, "nothing is there twice")
      #expect(try project.json(["plan"])["changes"] == false)

      // A schema that was made, and whose maker was killed before it could say so.
      try project.write(
        "platform.yml", "bundle: { name: killed }\nresources:\n  schemas: { \(schemas), late: { catalog_name: main, name: late } }\n  jobs:\n\(all)")
      let mine = try begin(try version()).body["version"] ?? 0
      #expect(try note("late", mine).status == 200)
      #expect(try cluster.cli(["schemas", "create", "main.late"]).status == 0)
      #expect(try project.actions(["deploy"]).contains("update late"))
      #expect(try project.json(["plan"])["changes"] == false)
      #expect(try project.cli(["destroy", "--yes"]).status == 0)
      #expect(try jobs(cluster).isEmpty)
    }

    @Test func commandsWithoutAClusterAnswer() throws {
      let folder = TemporaryDirectory("project-commands")
      let environment = ["PLATFORM_HOME": folder.file("none"), "PLATFORM_USER": "jane@example.com"]
      func cli(_ arguments: [String]) throws -> LocalCluster.Output {
        try LocalCluster.run(LocalCluster.binary, arguments, timeout: 60, environment: environment)
      }
      let none = try cli(["validate", "--project", folder.path])
      #expect(none.status == 66 && none.err.contains("PLT-4270") && none.err.contains("platform init"))
      try Data(
        "bundle: { name: p }\nsync: {}\nresources: { jobs: { j: { tasks: [ { task_key: a, command_task: { command: date } } ] } } }\ntargets: { dev: { mode: development } }"
          .utf8
      )
      .write(to: URL(fileURLWithPath: folder.file("platform.yml")))
      let valid = try cli(["validate", "--project", folder.path, "-o", "json"])
      #expect(valid.status == 0 && valid.err.contains("platform.yml:2  'sync' is ignored"), "\(valid.all)")
      #expect(try JSONValue(parsing: valid.out)["resources"]?["jobs"]?["j"]?["name"] == "[dev jane] j")
      #expect(try cli(["validate", "--strict", "--project", folder.path]).status == 65)
      let annotated = try LocalCluster.run(
        LocalCluster.binary, ["validate", "--strict", "--project", folder.path], timeout: 60,
        environment: environment.merging(["GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": folder.path]) { $1 })
      #expect(annotated.err.contains("::warning file=platform.yml,line=2::'sync' is ignored"), "\(annotated.err)")
      let away = try cli(["deploy", "--project", folder.path])
      #expect(away.status == 69 && away.err.contains("PLT-1501"))
      #expect(try JSONValue(parsing: cli(["schema"]).out)["title"] == "platform.yml")
      #expect(try cli(["explain", "job.tasks.sql_task.statement"]).out.contains("type      text"))
      let unknown = try cli(["explain", "max_retires"])
      #expect(unknown.status == 66 && unknown.err.contains("Did you mean 'max_retries'?"))
      // Every command begins its help with examples.
      for command in ["init", "validate", "plan", "deploy", "summary", "run", "destroy", "generate", "schema", "explain"] {
        let help = try cli([command, "--help"])
        #expect(help.status == 0 && help.out.contains("EXAMPLES\n  platform \(command)"), "\(command): \(help.out)")
      }
    }
  }
}
