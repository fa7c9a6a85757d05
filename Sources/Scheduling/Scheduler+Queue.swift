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
      case .succeeded, .failed, .cancelled: break
      }
    }
    return active < max(1, limit)
  }

  /// A run of the job ended or was cancelled: the next one may start.
  mutating func wakeQueue(of job: String) {
    for run in runs.indices where runs[run].record.state == .pending && runs[run].record.spec.job == job { runs[run].isDirty = true }
  }
}
