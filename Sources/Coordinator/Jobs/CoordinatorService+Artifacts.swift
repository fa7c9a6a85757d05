// SPDX-License-Identifier: Apache-2.0

import API
import Core
import Foundation
import Jobs

/// Files that programs of runs have left.
extension CoordinatorService {
  /// Of one answer.
  private static let listLimit = 10_000

  func artifacts(runID: String, taskKey: String?, attempt: Int?, by principal: Principal) async throws -> JSONValue {
    try await require(.view, ofRun: runID, principal, to: "see")
    let run = try await store.row(of: runID).runID
    let folder = "\(configuration.layout.artifacts)/\(run)"
    let found = try await BlockingPool.shared.run { try Self.artifacts(in: folder, taskKey: taskKey, attempt: attempt) }
    return ["artifacts": .array(found)]
  }

  /// Every file lies at `TASK/ATTEMPT/PATH`.
  private static func artifacts(in folder: String, taskKey: String?, attempt: Int?) throws -> [JSONValue] {
    let files = FileManager.default
    var found: [(task: String, attempt: Int, path: String, facts: JSONValue)] = []
    // There is none while nothing was left.
    for task in (try? files.contentsOfDirectory(atPath: folder)) ?? [] where taskKey == nil || task == taskKey {
      // As above.
      for name in (try? files.contentsOfDirectory(atPath: "\(folder)/\(task)")) ?? [] {
        // Others are being written.
        guard let number = Int(name), attempt == nil || attempt == number else { continue }
        let root = "\(folder)/\(task)/\(name)"
        guard let all = files.enumerator(atPath: root) else { continue }
        while let path = all.nextObject() as? String {
          guard let facts = all.fileAttributes, facts[.type] as? FileAttributeType == .typeRegular else { continue }
          let modified = (facts[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
          found.append(
            (
              task, number, path,
              [
                "task_key": .string(task), "attempt": .integer(Int64(number)), "path": .string(path),
                "file_size": .integer((facts[.size] as? NSNumber)?.int64Value ?? 0), "last_modified": .integer(Int64(modified * 1000)),
              ]
            ))
          guard found.count <= listLimit else {
            throw PlatformError(
              .resourceExhausted, "the run has more than \(listLimit) artifacts", hint: "Ask for those of one task: task_key.", number: "PLT-4470")
          }
        }
      }
    }
    return found.sorted { ($0.task, $0.attempt, $0.path) < ($1.task, $1.attempt, $1.path) }.map(\.facts)
  }

  func artifact(runID: String, taskKey: String, attempt: Int, path: String, by principal: Principal) async throws -> String {
    try await require(.view, ofRun: runID, principal, to: "see")
    let run = try await store.row(of: runID).runID
    let inside = "\(taskKey)/\(attempt)/\(path)"
    let place = "\(configuration.layout.artifacts)/\(run)/\(inside)"
    let isThere = try await BlockingPool.shared.run { () throws -> Bool in
      guard PathText.components(taskKey).count == 1, PathText.isInside(inside) else { return false }
      return (try? FileManager.default.attributesOfItem(atPath: place)[.type] as? FileAttributeType) == .typeRegular  // not there: said below
    }
    guard isThere else {
      throw PlatformError(
        .notFound, "attempt \(attempt) of task '\(taskKey.prefix(100))' has left no '\(path.prefix(300))'",
        hint: "List them with 'platform runs artifacts \(run)'.", number: "PLT-4471")
    }
    return place
  }
}
