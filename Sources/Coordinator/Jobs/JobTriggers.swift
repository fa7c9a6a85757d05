// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Foundation
import Jobs
import Logging
import Query
import Scheduling

/// Starts jobs at their times, when what they wait for has changed, and again when they have ended. Each start has a run key of its own, and
/// is noted when its run is stored: whoever dies in between is followed by one who finds the run.
struct JobTriggers: Sendable {
  let store: JobStore
  let launcher: JobLauncher
  let tables: LakeTables
  let listing: SourceListing
  let epoch: Int64
  let logger: Logger

  /// Files below a place that is watched.
  static let fileLimit = 50_000
  /// A place is looked at for at most one part in so many of the time.
  static let rest = 20.0

  /// Looks once a second until the task is cancelled; what takes long to look at, less often.
  func run() async {
    var due: [Int64: ContinuousClock.Instant] = [:]
    while !Task.isCancelled {
      do {
        try await step(now: Date(), due: &due)
      } catch {
        logger.warning("jobs wait to be started by their triggers", metadata: ["error": "\(error)"])
      }
      try? await Task.sleep(for: .seconds(1))  // cancelled: the loop condition ends it
    }
  }

  func step(now: Date, due: inout [Int64: ContinuousClock.Instant]) async throws {
    let all = try await store.triggeredJobs()
    due = due.filter { known in all.contains { $0.job.id == known.key } }
    for known in all {
      if let time = due[known.job.id], time > .now { continue }
      do {
        let took = try await look(known, now: now)
        if took > .milliseconds(50) { due[known.job.id] = .now + took * Self.rest }
      } catch let error as PlatformError where error.number == "PLT-1301" || error.isRetryable && error.code == .unavailable {
        throw error
      } catch {
        // A folder that is gone, too many files: others are not kept waiting.
        logger.warning("a trigger cannot be looked at", metadata: ["job": "\(known.job.id)", "error": "\(error)"])
        due[known.job.id] = .now + .seconds(30)
      }
    }
  }

  /// Looks at one job's trigger for the first time, when it is stored: what changes from now on counts.
  func begin(_ job: Int64) async {
    do {
      let known = try await store.triggeredJob(job)
      guard let known, let trigger = try JobTrigger(known.job.settings), known.definition != trigger.definition else { return }
      try await begin(known, trigger, now: Date())
    } catch {
      // The job is stored: the next look is the first.
      logger.warning("a trigger begins later", metadata: ["job": "\(job)", "error": "\(error)"])
    }
  }

  /// What a job would wait for can be looked at.
  /// - Throws: `notFound`, `permissionDenied`, `resourceExhausted` for a place with too many files.
  func check(_ settings: JSONValue) async throws {
    // What cannot be read is refused with all other mistakes.
    guard case .change(let rule)? = try? JobTrigger(settings)?.kind else { return }
    _ = try await observe(rule)
  }

  private func begin(_ known: JobStore.TriggeredJob, _ trigger: JobTrigger, now: Date) async throws {
    let series = String(SecureRandom.token(prefix: "").prefix(12))
    var state: JSONValue?
    switch trigger.kind {
    case .cron, .periodic: state = nil
    case .change(let rule): state = try JSONValue(encoding: ChangeWatch(series: series, seen: try await observe(rule)))
    case .continuous: state = try JSONValue(encoding: ContinuousWatch(series: series))
    }
    try await store.beginTrigger(job: known.job.id, definition: trigger.definition, state: state, at: now, epoch: epoch)
  }

  /// - Returns: how long it took to see what has changed.
  private func look(_ known: JobStore.TriggeredJob, now: Date) async throws -> Duration {
    var took = Duration.zero
    let id = known.job.id
    let trigger: JobTrigger
    do {
      guard let found = try JobTrigger(known.job.settings) else {
        if known.definition != nil { try await store.forgetTrigger(job: id) }
        return took
      }
      trigger = found
    } catch let error as PlatformError where !error.isRetryable {
      // Refused when it was stored: it was written by a newer version.
      return took
    }
    guard known.definition == trigger.definition, let handled = known.handledUntil else {
      try await begin(known, trigger, now: now)
      return took
    }
    switch trigger.kind {
    case .cron, .periodic:
      guard let time = trigger.due(since: handled, now: now) else { return took }
      _ = try await start(known.job, key: "trigger:\(id):\(Int64(time.timeIntervalSince1970 * 1000))", as: "PERIODIC")
      try await store.setHandled(job: id, definition: trigger.definition, until: time, epoch: epoch)
    case .change(let rule):
      var watch: ChangeWatch = try (known.state ?? .null).decode()
      let before = watch
      if !watch.isStarting {
        let started = ContinuousClock.now
        let seen = try await observe(rule)
        took = ContinuousClock.now - started
        watch.look(seen, rule, at: Int64(now.timeIntervalSince1970 * 1000))
      }
      if watch != before { try await keep(JSONValue(encoding: watch), of: id, trigger, now) }
      guard watch.isStarting else { return took }
      _ = try await start(known.job, key: watch.key(job: id), as: rule.triggerType)
      watch.isStarting = false
      try await keep(JSONValue(encoding: watch), of: id, trigger, now)
    case .continuous:
      var watch: ContinuousWatch = try (known.state ?? .null).decode()
      let before = watch
      if !watch.isStarting {
        var last: RunState?
        if let run = watch.run { last = try await store.state(of: run) }
        let isActive = try await !store.activeRuns(of: id, onlyWaiting: false).isEmpty
        watch.look(last: last, isActive: isActive, at: Int64(now.timeIntervalSince1970 * 1000), unit: .random(in: 0..<1))
      }
      if watch != before { try await keep(JSONValue(encoding: watch), of: id, trigger, now) }
      guard watch.isStarting else { return took }
      watch.run = try await start(known.job, key: watch.key(job: id), as: "CONTINUOUS")
      watch.isStarting = false
      if watch.run == nil {
        watch.failures += 1
        watch.notBefore =
          Int64(now.timeIntervalSince1970 * 1000) + ContinuousWatch.backoff.delayMilliseconds(afterAttempt: watch.failures, unit: .random(in: 0..<1))
      }
      try await keep(JSONValue(encoding: watch), of: id, trigger, now)
    }
    return took
  }

  private func keep(_ state: JSONValue, of job: Int64, _ trigger: JobTrigger, _ now: Date) async throws {
    try await store.setHandled(job: job, definition: trigger.definition, until: now, state: state, epoch: epoch)
  }

  // MARK: looking

  /// What is there now, by name.
  private func observe(_ rule: WatchRule) async throws -> [String: String] {
    switch rule.source {
    case .files(let url):
      let place = try await listing.place(url)
      return try await BlockingPool.shared.run {
        let found = try SourceListing.list(place, FileOptions([:], format: .csv), limit: Self.fileLimit)
        // Names may be long: 64 bits of their digests tell fifty thousand apart.
        return Dictionary(found.map { (SHA256Digest.digest(Data($0.file.name.utf8)).prefix(8).hexadecimal, "") }, uniquingKeysWith: { a, _ in a })
      }
    case .tables(let names, _):
      var versions: [String: String] = [:]
      for name in names {
        do {
          let found = try await tables.find(ThreePartName(name))
          versions[name] = "\(found.entry.id.uuidString):\(found.snapshot.version)"
        } catch let error as PlatformError where error.code == .notFound {
          // It may come to be.
          continue
        }
      }
      return versions
    case .modelVersions(let name):
      do {
        let ready = try await tables.catalog.modelVersions(ThreePartName(name), limit: 1000).entries.filter { $0.status == .ready }
        return Dictionary(ready.map { (String($0.version), "") }, uniquingKeysWith: { a, _ in a })
      } catch let error as PlatformError where error.code == .notFound {
        return [:]
      }
    case .modelAliases(let name, let wanted):
      do {
        let all = try await tables.catalog.aliases(ThreePartName(name)).filter { wanted.isEmpty || wanted.contains($0.key) }
        return all.mapValues { String($0) }
      } catch let error as PlatformError where error.code == .notFound {
        return [:]
      }
    }
  }

  // MARK: starting

  /// - Returns: the run; nil when it cannot be started as the job is now.
  private func start(_ job: StoredJob, key: String, as trigger: String) async throws -> String? {
    var request = JobLauncher.Request(settings: job.settings, user: job.owner)
    request.attachments = job.attachments
    request.job = job.id
    request.key = key
    request.trigger = trigger
    // What has changed is taken care of once, also while another run goes on.
    if trigger != "PERIODIC" { request.queues = true }
    do {
      let (run, _) = try await launcher.start(request)
      logger.info("job started by its trigger", metadata: ["job": "\(job.id)", "run": "\(run)", "trigger": "\(trigger)"])
      return run
    } catch let error as PlatformError where !error.isRetryable || error.number == "PLT-4215" {
      // A file that is gone, for example: the next time may be better, this one is over.
      logger.error("job was not started by its trigger", metadata: ["job": "\(job.id)", "error": "\(error)"])
      return nil
    }
  }
}
