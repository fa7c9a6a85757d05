// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Jobs
import Pipelines
import Scheduling

/// People's programs: a line for the shell, a program with arguments, a Python file, or an entry point of a wheel. One attempt runs it once; only
/// when its worker is lost it runs again within the attempt. When it needs packages, a stage before it makes their environment, and the exact
/// packages are the same for the whole run.
struct CommandPlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    var command: JSONValue?
    var python_file: String?
    var script: String?
    var parameters: [JSONValue]?
    var env: [String: JSONValue]?
    var memory: Int64?
    var processes: Int?
    var disk: Int64?
    var package_name: String?
    var entry_point: String?
    var named_parameters: [String: JSONValue]?
    var packages: PythonEnvironment?
    var notebook: String?
    var base_parameters: [String: JSONValue]?
    /// Of a dbt task: its words, and the files of its project.
    var commands: [[JSONValue]]?
    var project: String?
    var profiles_directory: String?
    var catalog: String?
    var schema: String?

    var limits: CommandLimits { CommandLimits(memoryBytes: memory, processes: processes, diskBytes: disk) }
  }

  private var store: JobStore { services.launcher.store }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    var needs = ProgramNeeds()
    needs.secrets = Self.secrets(body)
    needs.artifacts = services.layout.artifacts(run: call.id.run, task: call.id.task, attempt: call.id.attempt)
    needs.files = body.project
    guard var packages = body.packages else { return try Self.program(call, needs) }
    let isFirst = call.carry == .null
    if isFirst, try await store.environmentLock(run: call.id.run, digest: packages.digest) != nil { return .none }
    for index in packages.wheels.indices {
      guard let path = packages.wheels[index].path else { continue }
      packages.wheels[index].path = try await services.catalog.volumePath(path)
    }
    if isFirst {
      let work = EnvironmentWork(python: packages, limits: body.limits)
      return .shards([UnitSpec(index: 0, kind: EnvironmentWork.kind, payload: try JSONValue(encoding: work))])
    }
    packages.lock = try call.carry.decode(PythonLock.self)
    needs.python = packages
    if let notebook = body.notebook {
      let place = services.layout.notebook(run: call.id.run, task: call.id.task, attempt: call.id.attempt)
      try FileManager.default.createDirectory(
        atPath: (place as NSString).deletingLastPathComponent, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      needs.notebook = ProgramNeeds.Notebook(source: notebook, keptAt: place)
    }
    return try Self.program(call, needs)
  }

  /// Variables whose value is a secret, which only the worker gets to see.
  private static func secrets(_ body: Body) -> [String: String]? {
    let found = (body.env ?? [:]).compactMapValues { $0["secret"]?.stringValue }
    return found.isEmpty ? nil : found
  }

  /// The unit that runs the program.
  private static func program(_ call: StageCall, _ needs: ProgramNeeds) throws -> StagePlan {
    var members = try JSONValue(encoding: try work(call)).objectValue ?? [:]
    members.merge(try JSONValue(encoding: needs).objectValue ?? [:]) { own, _ in own }
    return .shards([UnitSpec(index: 0, kind: CommandWork.kind, payload: .object(members))])
  }

  /// What the environment's stage has found, kept for the whole run.
  private func keepLock(_ packages: PythonEnvironment, _ call: StageCall, _ results: [JSONValue]) async throws -> StageOutcome {
    if let found = try await store.environmentLock(run: call.id.run, digest: packages.digest) { return .nextStage(carry: found) }
    let all: [PythonLock] = try results.decoded()
    guard let lock = all.first else { throw PlatformError(.internalError, "what was installed was not reported") }
    return .nextStage(carry: try await store.keepEnvironmentLock(run: call.id.run, digest: packages.digest, JSONValue(encoding: lock)))
  }

  static func work(_ call: StageCall) throws -> CommandWork {
    let body: Body = try call.body()
    let program: CommandWork.Program
    var parameters = (body.parameters ?? []).map(text)
    if let package = body.package_name {
      program = .python(name: PythonWheelProgram.name, text: PythonWheelProgram.text)
      parameters = PythonWheelProgram.arguments(
        package: package, entryPoint: body.entry_point ?? "", parameters: parameters, named: (body.named_parameters ?? [:]).mapValues(text))
    } else if body.notebook != nil {
      program = .python(name: NotebookProgram.name, text: NotebookProgram.text)
      parameters = [JSONValue.object((body.base_parameters ?? [:]).mapValues { .string(text($0)) }).sortedText]
    } else if let commands = body.commands {
      program = .python(name: DbtProgram.name, text: DbtProgram.text)
      let settings: JSONValue = [
        "commands": .array(commands.map { .array($0.map { .string(text($0)) }) }), "profiles": .string(body.profiles_directory ?? ""),
        "catalog": .string(body.catalog ?? ""), "schema": .string(body.schema ?? ""),
      ]
      parameters = [settings.sortedText]
    } else if let script = body.script {
      let name = body.python_file?.split(separator: "/").last.map(String.init) ?? "main.py"
      program = .python(name: name, text: script)
    } else if let words = body.command?.arrayValue {
      program = .words(words.map(text))
    } else {
      program = .shell(body.command.map(text) ?? "")
    }
    return CommandWork(
      program: program, parameters: parameters, environment: (body.env ?? [:]).filter { $0.value["secret"] == nil }.mapValues(text),
      inputs: .object(call.values.mapValues { $0 }), run: call.id.run, task: call.id.task, taskAttempt: call.id.attempt,
      limits: body.limits)
  }

  private static func text(_ value: JSONValue) -> String { value.stringValue ?? value.sortedText }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    if call.carry == .null {
      let body: Body = try call.body()
      if let packages = body.packages { return try await keepLock(packages, call, results) }
    }
    let all: [CommandResult] = try results.decoded()
    guard let result = all.first else { throw PlatformError(.internalError, "the program's end was not reported") }
    return .taskDone(values: try Self.values(result))
  }

  /// What a program's task has produced.
  /// - Throws: `failed` PLT-4240 when it used more than it may, PLT-4210 when it ended with an error, with its last line.
  static func values(_ result: CommandResult) throws -> JSONValue {
    let last = result.tail.split(whereSeparator: \.isNewline).last.map { ": " + $0.trimmingPrefix(" ").prefix(500) } ?? ""
    if let excess = result.excess {
      throw PlatformError(
        .failed, "the program was ended: \(excess)", hint: "Let it use less, or raise the limit: 'memory', 'processes' or 'disk' of the task.",
        number: "PLT-4240")
    }
    if let signal = result.signal {
      throw PlatformError(.failed, "the program was ended by signal \(signal)\(last)", hint: "See the task's log.", number: "PLT-4210")
    }
    guard result.exitCode == 0 else {
      throw PlatformError(.failed, "the program ended with exit code \(result.exitCode ?? -1)\(last)", hint: "See the task's log.", number: "PLT-4210")
    }
    if let problem = result.valuesProblem { throw PlatformError(.failed, problem, hint: "Write name=text, or one JSON object a line.", number: "PLT-4207") }
    var values = result.values
    if values["summary"] == nil {
      let names = values.keys.sorted().joined(separator: ", ")
      values["summary"] = .string(names.isEmpty ? "exit code 0" : "exit code 0, values \(names)")
    }
    return .object(values)
  }
}
