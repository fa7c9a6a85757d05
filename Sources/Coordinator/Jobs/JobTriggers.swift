// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Jobs
import Logging

/// Starts jobs at their times. Each time has a run key of its own, and is noted when its run is stored: whoever dies in between is followed
/// by one who finds the run.
struct JobTriggers: Sendable {
  let store: JobStore
  let launcher: JobLauncher
  let epoch: Int64
  let logger: Logger

  /// Looks once a second until the task is cancelled.
  func run() async {
    while !Task.isCancelled {
      do {
        try await step(now: Date())
      } catch {
        logger.warning("jobs wait to be started at their times", metadata: ["error": "\(error)"])
      }
      try? await Task.sleep(for: .seconds(1))  // cancelled: the loop condition ends it
    }
  }

  func step(now: Date) async throws {
    for known in try await store.triggeredJobs() {
      let id = known.job.id
      let trigger: JobTrigger
      do {
        guard let found = try JobTrigger(known.job.settings) else {
          if known.definition != nil { try await store.forgetTrigger(job: id) }
          continue
        }
        trigger = found
      } catch let error as PlatformError where !error.isRetryable {
        // Refused when it was stored: it was written by a newer version.
        continue
      }
      guard known.definition == trigger.definition, let handled = known.handledUntil else {
        try await store.setHandled(job: id, definition: trigger.definition, until: now, epoch: epoch)
        continue
      }
      guard let time = trigger.due(since: handled, now: now) else { continue }
      try await start(known.job, at: time)
      try await store.setHandled(job: id, definition: trigger.definition, until: time, epoch: epoch)
    }
  }

  private func start(_ job: StoredJob, at time: Date) async throws {
    var request = JobLauncher.Request(settings: job.settings, user: job.creator)
    request.attachments = job.attachments
    request.job = job.id
    request.key = "trigger:\(job.id):\(Int64(time.timeIntervalSince1970 * 1000))"
    request.trigger = "PERIODIC"
    do {
      let (run, _) = try await launcher.start(request)
      logger.info("job started at its time", metadata: ["job": "\(job.id)", "run": "\(run)"])
    } catch let error as PlatformError where !error.isRetryable {
      // A file that is gone, for example: the next time may be better, this one is over.
      logger.error("job was not started at its time", metadata: ["job": "\(job.id)", "error": "\(error)"])
    }
  }
}
