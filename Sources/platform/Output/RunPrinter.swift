// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

/// A run as text: one line a task.
enum RunPrinter {
  static func mark(_ state: String) -> String {
    switch state {
    case "SUCCEEDED": Report.check
    case "FAILED": Report.cross
    case "PENDING": Report.ring
    case "SKIPPED", "CANCELLED": "-"
    default: Report.dot
    }
  }

  static func line(_ task: TaskInfo, width: Int) -> String {
    let key = task.taskKey + String(repeating: " ", count: max(0, width - task.taskKey.count))
    let place = task.workers.isEmpty ? "-" : task.workers.joined(separator: "+")
    let seconds = task.startedAt.map { Report.duration((task.endedAt ?? Date()).timeIntervalSince($0)) } ?? ""
    var text = "  \(mark(task.state)) \(key)  \(place.padding(toLength: max(8, place.count), withPad: " ", startingAt: 0))"
    text += "  \(seconds.padding(toLength: 8, withPad: " ", startingAt: 0))"
    if task.state == "RUNNING" && task.unitsTotal > 0 { text += "  \(task.unitsDone)/\(task.unitsTotal)" }
    if task.attempt > 1 { text += "  attempt \(task.attempt)" }
    if !task.summary.isEmpty { text += "  \(task.summary)" }
    if let error = task.error { text += "  \(error.message)" }
    return text
  }

  static func summary(_ run: RunInfo) {
    let took = run.startedAt.map { Report.duration((run.endedAt ?? Date()).timeIntervalSince($0)) } ?? "-"
    Report.data("\(run.name)  run \(run.runID)  \(run.state)  \(took)")
    let width = run.tasks.map(\.taskKey.count).max() ?? 0
    for task in run.tasks { Report.data(line(task, width: width)) }
    for task in run.tasks {
      if let error = task.error, !error.hint.isEmpty { Report.data("  \(task.taskKey): \(error.hint)") }
    }
  }

  static func lossCurve(_ client: PlatformClient, _ run: RunInfo) async throws {
    let page: MetricPage = try await client.get("/api/2.2/jobs/runs/metrics?run_id=\(segment(run.runID))&name=loss")
    let points = page.points.sorted { $0.step < $1.step }
    guard let first = points.first, let last = points.last, points.count > 1 else { return }
    Report.data(
      "  loss  \(String(format: "%.3f", first.value)) \(Report.sparkline(points.map(\.value), width: 48)) "
        + "\(String(format: "%.3f", last.value))  (\(last.step) steps)")
  }
}

/// Follows a run: a block that is redrawn on a terminal, changed lines only otherwise, one JSON object a change with -o json.
struct RunWatcher {
  var client: PlatformClient
  var output: OutputFormat

  /// - Throws: `ExitCode` 10 or 11 when the run failed or was cancelled.
  func watch(_ runID: String) async throws {
    let terminal = isatty(STDERR_FILENO) == 1 && output == .text && ProcessInfo.processInfo.environment["CI"] == nil
    var shown: [String: String] = [:]
    var drawn = 0
    var last: RunInfo?
    var unreachableSince: Date?
    if output == .text { Report.note("run \(runID)  \(client.host)/#/runs/\(runID)   (Ctrl-C leaves it running)") }
    while true {
      do {
        let run: RunInfo = try await client.get("/api/2.0/runs/get?run_id=\(segment(runID))")
        unreachableSince = nil
        let width = run.tasks.map(\.taskKey.count).max() ?? 0
        if output == .json {
          if run != last { try emit(type: run.isFinished ? "END" : "STATUS", run) }
        } else if terminal {
          if drawn > 0 { StandardStreams.error("\u{1B}[\(drawn)A\u{1B}[J") }
          for task in run.tasks { Report.note(RunPrinter.line(task, width: width)) }
          drawn = run.tasks.count
        } else {
          for task in run.tasks {
            let state = "\(task.state) \(task.attempt) \(task.stage)"
            if shown[task.taskKey] != state && task.state != "PENDING" { Report.note(RunPrinter.line(task, width: width)) }
            shown[task.taskKey] = state
          }
        }
        last = run
        if run.isFinished { break }
      } catch let error as PlatformError where error.code == .unavailable || error.code == .timeout {
        // The coordinator may be restarting; the run goes on without us.
        let since = unreachableSince ?? Date()
        if unreachableSince == nil { Report.note("  waiting for the coordinator ...") }
        unreachableSince = since
        drawn = 0
        if Date().timeIntervalSince(since) > 60 { throw error }
      }
      try await Task.sleep(for: .milliseconds(400))
    }
    guard let run = last else { return }
    if output == .text {
      RunPrinter.summary(run)
      try await RunPrinter.lossCurve(client, run)
    }
    if run.state == "FAILED" { throw ExitCode(ExitCodes.runFailed) }
    if run.state == "CANCELLED" { throw ExitCode(ExitCodes.runCancelled) }
  }

  private func emit(type: String, _ run: RunInfo) throws {
    struct Line: Encodable {
      var v = 1
      var ts: Date
      var type: String
      var data: RunInfo
    }
    Report.data(String(decoding: try JSONEncoder.platform.encode(Line(ts: Date(), type: type, data: run)), as: UTF8.self))
  }
}
