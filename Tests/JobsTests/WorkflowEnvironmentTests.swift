// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Jobs
@testable import Scheduling

/// `environments` and `libraries` in the shapes of Databricks' clients.
@Suite struct WorkflowEnvironmentTests {
  private static let wheel = "/Volumes/main/default/code/mine-1.0-py3-none-any.whl"

  private func run(_ settings: String, files: [String: String] = [:]) throws -> ParsedWorkflow {
    JobSettings.run(try JSONValue(parsing: settings), parameters: [:], attachments: files)
  }

  @Test func packagesComeFromEnvironmentsAndLibraries() throws {
    let settings = """
      {"environments": [{"environment_key": "default", "spec": {"client": "2", "dependencies": ["six==1.17.0", "\(Self.wheel)", " # nothing", "-r /Volumes/m/d/c/r.txt"]}},
                        {"environment_key": "bare", "spec": {"environment_version": "3"}}],
       "tasks": [
         {"task_key": "a", "environment_key": "default", "python_wheel_task": {"package_name": "mine", "entry_point": "run", "named_parameters": {"n": "1"}},
          "libraries": [{"pypi": {"package": "six==1.17.0"}}, {"pypi": {"package": "own", "repo": "https://x/simple"}}, {"whl": "\(Self.wheel)"}]},
         {"task_key": "b", "environment_key": "bare", "spark_python_task": {"python_file": "/Volumes/m/d/c/b.py"}},
         {"task_key": "c", "environment_key": "whatever", "sql_task": {"statement": "select 1"}}]}
      """
    let missing = try run(settings)
    #expect(missing.missingFiles == [Self.wheel, "/Volumes/m/d/c/r.txt", "/Volumes/m/d/c/b.py"])
    let hash = String(repeating: "a", count: 64)
    let files = [Self.wheel: "sha256:\(hash)", "/Volumes/m/d/c/r.txt": "# all\npandas>=2 # why\n\n--pre\n", "/Volumes/m/d/c/b.py": "pass"]
    let parsed = try run(settings, files: files)
    #expect(parsed.errors == [])
    let tasks = try #require(parsed.run).tasks
    let packages = try #require(tasks[0].body["packages"])
    #expect(packages["name"] == "default")
    #expect(packages["requirements"] == ["six==1.17.0", "pandas>=2", "--pre", "--extra-index-url https://x/simple", "own"])
    #expect(packages["wheels"] == [["name": "mine-1.0-py3-none-any.whl", "path": .string(Self.wheel), "sha256": .string(hash)]])
    #expect(tasks[0].kind == "python_wheel" && tasks[1].body["packages"] == nil && tasks[2].body["packages"] == nil)
  }

  @Test func aWheelBesideTheFileTravelsWithIt() throws {
    let text = """
      resources:
        jobs:
          j:
            tasks:
              - { task_key: a, python_wheel_task: { package_name: mine, entry_point: run }, libraries: [ { whl: dist/mine-1.0-py3-none-any.whl } ] }
      """
    func parse(_ files: [String: String]) -> ParsedWorkflow {
      WorkflowFile.parse(text: text, path: "w.yml", job: nil, parameters: [:], attachments: files)
    }
    let parsed = parse(["dist/mine-1.0-py3-none-any.whl": "base64:" + Data("abc".utf8).base64EncodedString()])
    let wheel = try #require(parsed.run?.tasks[0].body["packages"]?["wheels"]?.arrayValue?.first)
    #expect(wheel["sha256"]?.stringValue == SHA256Digest.hex("abc") && wheel["data"] == "YWJj")
    #expect(parse([:]).errors.map(\.number) == ["PLT-1211"])
    #expect(parse(["dist/mine-1.0-py3-none-any.whl": "abc"]).errors.map(\.number) == ["PLT-4333"])
  }

  @Test(arguments: [
    ("-e .", "PLT-4333"), ("--target /etc six", "PLT-4333"), ("-c /etc/x", "PLT-4333"), ("/etc/passwd", "PLT-4333"), ("./folder", "PLT-4333"),
    ("file:///etc/x", "PLT-4333"), ("six @ file:///etc/x", "PLT-4333"), ("six\\n-e .", "PLT-4333"), ("/Volumes/m/d/c/odd.whl", "PLT-4333"),
    ("-r list.txt", "PLT-1211"), (";x", "PLT-4333"),
  ])
  func whatLeadsElsewhereIsRefused(_ line: String, _ number: String) throws {
    let parsed = try run(
      """
      {"environments": [{"environment_key": "d", "spec": {"dependencies": ["\(line)"]}}],
       "tasks": [{"task_key": "a", "environment_key": "d", "command_task": {"command": "true"}}]}
      """)
    #expect(parsed.errors.map(\.number) == [number], "\(parsed.errors)")
  }

  @Test func whatDoesNotFitIsSaid() throws {
    let parsed = try run(
      """
      {"environments": [{"environment_key": "one"}, {"environment_key": "one"}, {"spec": {}}],
       "tasks": [{"task_key": "a", "environment_key": "on", "command_task": {"command": "true"}, "libraries": [{"jar": "x.jar"}, {"wheel": "y"}]},
                 {"task_key": "b", "python_wheel_task": {"package_name": "p", "entry_point": "e", "parameters": ["1"], "named_parameters": {"a": "b"}}}]}
      """)
    #expect(parsed.errors.map(\.number).sorted() == ["PLT-1202", "PLT-1202", "PLT-1203", "PLT-1205", "PLT-1205", "PLT-1210"], "\(parsed.errors)")
    #expect(parsed.errors.contains { $0.hint == "Did you mean 'one'?" })
  }

  @Test func aSecretIsTheWholeValueOfAVariable() throws {
    func run(_ env: String, parameter: String = "1") throws -> ParsedWorkflow {
      JobSettings.run(
        [
          "parameters": [["name": "p", "default": ""]],
          "tasks": [["task_key": "a", "command_task": ["command": "true", "env": ["A": .string(env)]]]],
        ],
        parameters: ["p": parameter], attachments: [:])
    }
    #expect(try run("{{ secrets/team/key.1 }}").run?.tasks[0].body["env"] == ["A": ["secret": "team/key.1"]])
    for bad in ["x{{secrets/team/key}}", "{{secrets/team}}", "{{secrets/team/a b/c}}", "{{secrets//k}}"] {
      #expect(try run(bad).errors.map(\.number) == ["PLT-1206"], "\(bad)")
    }
    // What is given when a job is started names no secret.
    let body = try #require(try run("{{job.parameters.p}}", parameter: "{{secrets/team/key}}").run).tasks[0].body
    #expect(try Template.texts(in: body, TemplateScope())["env"] == ["A": "{{secrets/team/key}}"])
  }
}
