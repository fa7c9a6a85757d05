// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation

/// A run of one task, which a command submits and waits for.
struct OneTaskRun {
  var key: String
  var name: String
  /// The task's kind and settings.
  var body: [String: JSONValue]

  /// - Returns: the run's identifier.
  /// - Throws: `invalidArgument` for settings that no task can have.
  func submit(_ client: PlatformClient) async throws -> String {
    let settings: [String: JSONValue] = ["task_key": .string(key)]
    let job: JSONValue = ["name": .string(name), "tasks": [.object(settings.merging(body) { $1 })]]
    // JSON is YAML.
    let file: JSONValue = ["resources": ["jobs": .object([key: job])]]
    let submitted: SubmitFileResponse = try await client.post(
      "/api/2.2/jobs/runs/submit-file", SubmitFileRequest(file: key + ".yml", text: file.sortedText))
    return submitted.runID
  }

  /// - Returns: the run that has ended; nil when it has not within `seconds`.
  func wait(_ run: String, client: PlatformClient, seconds: Int) async throws -> RunInfo? {
    let deadline = Date().addingTimeInterval(Double(seconds))
    while true {
      let now: RunInfo = try await client.get("/api/2.0/runs/get?run_id=\(segment(run))")
      if now.isFinished { return now }
      guard Date() < deadline else { return nil }
      try await Task.sleep(for: .milliseconds(200))
    }
  }

  /// - Throws: what ended the run.
  func succeeded(_ run: RunInfo) throws -> TaskInfo {
    guard run.state == "SUCCEEDED", let task = run.tasks.first else {
      throw run.tasks.first?.error ?? PlatformError(.failed, "run \(run.runID) ended as \(run.state)", hint: "See 'platform runs get \(run.runID)'.")
    }
    return task
  }
}
