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
    let settings: [String: JSONValue] = ["task_key": "measure", "timeout_seconds": .integer(Int64(max(1, timeout) + 30))]
    let job: JSONValue = ["name": .string(name), "tasks": [.object(settings.merging(body) { $1 })]]
    // JSON is YAML.
    let file: JSONValue = ["resources": ["jobs": ["measure": job]]]
    let submitted: SubmitFileResponse = try await client.post(
      "/api/2.2/jobs/runs/submit-file", SubmitFileRequest(file: "measure.yml", text: file.sortedText))
    let deadline = Date().addingTimeInterval(Double(timeout))
    var run: RunInfo = try await client.get("/api/2.0/runs/get?run_id=\(segment(submitted.runID))")
    while !run.isFinished {
      guard Date() < deadline else {
        let _: RunInfo = try await client.post("/api/2.0/runs/cancel", ["run_id": submitted.runID])
        if let started = run.tasks.first?.workers, !started.isEmpty {
          throw PlatformError(
            .timeout, "the ranks on \(started.joined(separator: ", ")) did not reach each other within \(timeout) s",
            hint: "Let the nodes reach each other on the ports that the system chooses.", number: "PLT-4442")
        }
        throw PlatformError(
          .timeout, "the network was not measured within \(timeout) s",
          hint: "The nodes may have no room: see 'platform top', or wait longer with --timeout.", number: "PLT-4443")
      }
      try await Task.sleep(for: .milliseconds(200))
      run = try await client.get("/api/2.0/runs/get?run_id=\(segment(submitted.runID))")
    }
    guard run.state == "SUCCEEDED", let task = run.tasks.first else {
      throw run.tasks.first?.error ?? PlatformError(.failed, "the measurement ended as \(run.state)", number: "PLT-4442")
    }
    return task
  }
}
