// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation

/// A run of one task that measures nodes, which a command waits for.
enum MeasuringRun {
  /// - Parameter body: the task's kind and settings.
  /// - Returns: the task that has succeeded.
  /// - Throws: what ended it; `timeout` (PLT-4442, PLT-4443) when it has not ended in time: it is cancelled then.
  static func run(_ body: [String: JSONValue], name: String, client: PlatformClient, timeout: Int) async throws -> TaskInfo {
    let job = OneTaskRun(key: "measure", name: name, body: body.merging(["timeout_seconds": .integer(Int64(max(1, timeout) + 30))]) { $1 })
    let run = try await job.submit(client)
    if let ended = try await job.wait(run, client: client, seconds: timeout) { return try job.succeeded(ended) }
    let cancelled: RunInfo = try await client.post("/api/2.0/runs/cancel", ["run_id": run])
    if let started = cancelled.tasks.first?.workers, !started.isEmpty {
      throw PlatformError(
        .timeout, "the ranks on \(started.joined(separator: ", ")) did not reach each other within \(timeout) s",
        hint: "Let the nodes reach each other on the ports that the system chooses.", number: "PLT-4442")
    }
    throw PlatformError(
      .timeout, "the network was not measured within \(timeout) s",
      hint: "The nodes may have no room: see 'platform top', or wait longer with --timeout.", number: "PLT-4443")
  }
}
