// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Jobs
import Postgres
import Scheduling
import Serving

/// Plans and commits the stages of one kind of task. Planning resolves names to files; committing makes results visible and
/// must find its own work when it is repeated.
protocol TaskPlanner: Sendable {
  func plan(_ call: StageCall) async throws -> StagePlan
  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome
}

/// What planners need of the coordinator.
struct PlanningServices: Sendable {
  var layout: DataLayout
  var catalog: CatalogStore
  var tables: LakeTables
  var gateway: ServingGateway
  var requests: InferenceTable
  /// Public key (hexadecimal) that replicas answer.
  var dataKey: String
  /// Folder of the built-in encoder.
  var encoderDirectory: @Sendable () throws -> String
  /// Starts runs of jobs.
  var launcher: JobLauncher
  /// Runs what needs an executor and secrets.
  var dispatcher: StatementDispatcher?

  /// Who submitted a run; "platform" for those that start by themselves.
  func submitter(of run: String) async throws -> String {
    let name = try await catalog.pool.query("SELECT submitted_by FROM runs WHERE run_id = $1", [.text(run)]).first?.string("submitted_by")
    return name.flatMap { $0.isEmpty ? nil : $0 } ?? "platform"
  }

  /// Removes the folder of `staging(_:)`, if there is one.
  func removeStaging(_ run: String) async {
    let path = "\(layout.staging)/\(run)"
    guard access(path, F_OK) == 0 else { return }
    // Left behind when it fails: nothing reads it any more.
    _ = try? await BlockingPool.shared.run { try FileManager.default.removeItem(atPath: path) }
  }

  /// A folder for what stages of one task hand to each other; removed some time after the run has ended.
  func staging(_ call: StageCall) throws -> String {
    let path = "\(layout.staging)/\(call.id.run)/\(call.id.task)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  /// Where one shard writes its part of a table. `{attempt}` is replaced by the executor, so that two attempts never write
  /// the same file.
  func part(_ entry: TableEntry, _ call: StageCall, _ index: Int) -> String {
    "\(entry.location)/part-\(call.id.run)-\(call.id.task)-\(call.id.attempt)-\(call.id.stage)-\(index)-{attempt}.parquet"
  }
}

extension StageCall {
  /// The task's body as its type, with `{{tasks.X.values.Y}}` replaced by what those tasks produced.
  /// - Throws: `invalidArgument` when a referenced value is missing, or the body has another shape.
  func body<T: Decodable>(_ type: T.Type = T.self) throws -> T {
    let filled = try filled()
    do {
      return try filled.decode(type)
    } catch {
      throw PlatformError(.invalidArgument, "task '\(id.task)': \(JSONValue.reason(error))")
    }
  }

  /// The body with its references filled in.
  func filled() throws -> JSONValue {
    do {
      return try Template.texts(in: body, scope)
    } catch let error as PlatformError where error.number == "PLT-1220" {
      let names = values.sorted { $0.key < $1.key }.map { "\($0.key): \(($0.value.objectValue ?? [:]).keys.sorted().joined(separator: " "))" }
      var copy = error
      copy.hint = names.isEmpty ? "No task has produced values yet." : "Task values: \(names.joined(separator: "; ").prefix(500))."
      throw copy
    }
  }
}

extension Array where Element == JSONValue {
  /// Every unit's result as its type.
  func decoded<T: Decodable>(_ type: T.Type = T.self) throws -> [T] {
    try map { value in
      do {
        return try value.decode(type)
      } catch {
        throw PlatformError(.internalError, "a shard's result cannot be read: \(JSONValue.reason(error))")
      }
    }
  }
}

/// `1 234 567`
func grouped(_ number: some BinaryInteger) -> String {
  let digits = String(number)
  var out = ""
  for (index, digit) in digits.enumerated() {
    if index > 0 && (digits.count - index) % 3 == 0 && digit != "-" { out.append("\u{202F}") }
    out.append(digit)
  }
  return out
}
