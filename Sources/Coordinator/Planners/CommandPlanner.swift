// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling

/// People's programs: a line for the shell, a program with arguments, or a Python file. One attempt runs it once; only when its
/// worker is lost it runs again within the attempt.
struct CommandPlanner: TaskPlanner {
  private struct Body: Decodable {
    var command: JSONValue?
    var python_file: String?
    var script: String?
    var parameters: [JSONValue]?
    var env: [String: JSONValue]?
    var memory: Int64?
    var processes: Int?
    var disk: Int64?
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    .shards([UnitSpec(index: 0, kind: CommandWork.kind, payload: try JSONValue(encoding: try Self.work(call)))])
  }

  static func work(_ call: StageCall) throws -> CommandWork {
    let body: Body = try call.body()
    let program: CommandWork.Program
    if let script = body.script {
      let name = body.python_file?.split(separator: "/").last.map(String.init) ?? "main.py"
      program = .python(name: name, text: script)
    } else if let words = body.command?.arrayValue {
      program = .words(words.map(text))
    } else {
      program = .shell(body.command.map(text) ?? "")
    }
    return CommandWork(
      program: program, parameters: (body.parameters ?? []).map(text), environment: (body.env ?? [:]).mapValues(text),
      inputs: .object(call.values.mapValues { $0 }), run: call.id.run, task: call.id.task, taskAttempt: call.id.attempt,
      limits: CommandLimits(memoryBytes: body.memory, processes: body.processes, diskBytes: body.disk))
  }

  private static func text(_ value: JSONValue) -> String { value.stringValue ?? value.sortedText }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
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
