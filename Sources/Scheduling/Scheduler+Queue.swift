// SPDX-License-Identifier: Apache-2.0

import Core

/// Runs of one job, so many at a time; the others are pending, the oldest starts first.
extension Scheduler {
  /// Whether the run may start now.
  func isAdmitted(_ run: Int) -> Bool {
    guard let job = runs[run].record.spec.job, let limit = runs[run].record.spec.maxConcurrentRuns else { return true }
    var active = 0
    for other in runs.indices where other != run && runs[other].record.spec.job == job {
      switch runs[other].record.state {
      case .running, .cancelling: active += 1
      case .pending: if other < run { return false }
      case .succeeded, .failed, .cancelled, .skipped: break
      }
    }
    return active < max(1, limit)
  }

  /// The run's job has as many runs as it may have, and the run does not wait.
  mutating func skip(_ run: Int) {
    let limit = max(1, runs[run].record.spec.maxConcurrentRuns ?? 1)
    for task in runs[run].tasks.indices where !runs[run].tasks[task].record.state.isTerminal {
      changeTask(run, task) { $0.excluded = true }
      finish(run, task, .skipped, error: nil)
    }
    changeRun(run) { [now] in
      $0.state = .skipped
      $0.finishedAt = now
      $0.error = PlatformError(
        .resourceExhausted, "the job has \(limit) \(limit == 1 ? "run" : "runs") already, its limit",
        hint: "Let runs wait with queue: { enabled: true }, or raise max_concurrent_runs.", number: "PLT-4221")
    }
  }

  /// A run of the job ended or was cancelled: the next one may start.
  mutating func wakeQueue(of job: String) {
    for run in runs.indices where runs[run].record.state == .pending && runs[run].record.spec.job == job { runs[run].isDirty = true }
  }
}
