// SPDX-License-Identifier: Apache-2.0

import Core
import Egress
import Foundation
import Jobs
import Logging
import Scheduling
import Synchronization

/// Sends what the store says is to be told, and looks for runs that take too long. Only the leader has one; its successor goes on with
/// what it left.
final class NotificationSender: Sendable {
  let store: NotificationStore
  let jobs: JobStore
  let client: EgressClient
  /// Nil: the operator named no mail server.
  let mail: MailClient?
  let host: String
  let keyPath: String
  let epoch: Int64
  let logger: Logger
  private let plan = DeliveryPlan()
  /// Receivers that are being talked to: one request at a time each, so that one that hangs keeps only its own waiting.
  private let busy = Mutex<Set<String>>([])

  /// Receivers that are talked to at once.
  static let receiverLimit = 16
  /// Notices that one receiver is sent before others are looked for.
  static let turnLimit = 20

  init(
    store: NotificationStore, jobs: JobStore, client: EgressClient, mail: MailClient?, host: String, keyPath: String, epoch: Int64, logger: Logger
  ) {
    self.store = store
    self.jobs = jobs
    self.client = client
    self.mail = mail
    self.host = host
    self.keyPath = keyPath
    self.epoch = epoch
    self.logger = logger
  }

  /// Looks twice a second until the task is cancelled.
  func run() async {
    await withTaskGroup(of: Void.self) { group in
      var round = 0
      while !Task.isCancelled {
        do {
          if round % 2 == 0 { try await watch() }
          if round % 600 == 0 { try await store.tidy() }
          let taken = busy.withLock { $0 }
          if taken.count < Self.receiverLimit {
            let due = try await store.due(except: taken.sorted(), each: Self.turnLimit, limit: Self.turnLimit * Self.receiverLimit)
            let turns = Dictionary(grouping: due, by: \.notice.target).sorted { $0.key < $1.key }
            for (target, notices) in turns.prefix(Self.receiverLimit - taken.count) {
              _ = busy.withLock { $0.insert(target) }
              group.addTask {
                await self.send(notices)
                _ = self.busy.withLock { $0.remove(target) }
              }
            }
          }
        } catch {
          logger.warning("notifications wait", metadata: ["error": "\(error)"])
        }
        round += 1
        try? await Task.sleep(for: .milliseconds(500))  // cancelled: the loop condition ends it
      }
      group.cancelAll()
    }
  }

  private func watch() async throws {
    let now = ProcessSupport.wallMilliseconds
    let notices = try await jobs.watchedRuns().flatMap { $0.rules.notices($0.run, $0.tasks, now: now) }
    if !notices.isEmpty { try await store.add(notices, epoch: epoch) }
  }

  /// Sends to one receiver, in order, until one does not arrive.
  private func send(_ notices: [NotificationStore.Stored]) async {
    for stored in notices {
      if Task.isCancelled { return }
      var failure: PlatformError?
      do { try await deliver(stored) } catch { failure = PlatformError.from(error) }
      // The process is ending: its successor sends it.
      if Task.isCancelled, failure != nil { return }
      let attempts = stored.attempts + 1
      let next = plan.next(attempts: attempts, failure: failure, unit: .random(in: 0..<1))
      var facts: Logger.Metadata = ["notification": "\(stored.id)", "run": "\(stored.notice.runID)", "attempt": "\(attempts)"]
      if let failure { facts["error"] = "\(failure)" }
      switch next {
      case .sent: logger.info("notification sent", metadata: facts)
      case .again: logger.warning("notification will be sent again", metadata: facts)
      case .failed: logger.error("notification was given up", metadata: facts)
      }
      do {
        try await store.note(stored.number, next, attempts: attempts, error: failure.map { "\($0)" } ?? "", epoch: epoch)
      } catch {
        // It will be sent once more: receivers know it by its name.
        logger.warning("what became of a notification was not stored", metadata: ["notification": "\(stored.id)", "error": "\(error)"])
        return
      }
      if failure != nil { return }
    }
  }

  private func deliver(_ stored: NotificationStore.Stored) async throws {
    let target = stored.notice.target
    if target.hasPrefix("email:") { return try await post(stored, to: String(target.dropFirst("email:".count))) }
    guard target.hasPrefix("webhook:") else { throw PlatformError(.invalidArgument, "'\(target.prefix(20))' is no kind of receiver") }
    let path = keyPath
    let key = try await BlockingPool.shared.run { try SealingKey(loadingOrCreating: path) }
    let (_, settings) = try await store.destination(String(target.dropFirst("webhook:".count)), sealedWith: key)
    let body = stored.notice.body.sortedText
    var call = EgressClient.Call(try EgressURL(settings.url))
    call.headers = settings.headers(id: stored.id, seconds: ProcessSupport.wallMilliseconds / 1000, body: body)
    call.body = Data(body.utf8)
    let answer = try await client.send(call)
    guard (200..<300).contains(answer.status) else {
      let isRedirect = (300..<400).contains(answer.status)
      throw PlatformError(
        .unavailable, "the receiver answered with status \(answer.status)",
        hint: isRedirect ? "Redirects are not followed: give the destination the URL that it leads to." : "", number: "PLT-4309")
    }
  }

  private func post(_ stored: NotificationStore.Stored, to address: String) async throws {
    guard let mail else {
      throw PlatformError(
        .badConfiguration, "the coordinator knows no mail server", hint: "Start it with PLATFORM_SMTP_URL and PLATFORM_SMTP_FROM.", number: "PLT-4314")
    }
    var error: PlatformError?
    if stored.notice.occasion == .failure {
      let (run, tasks) = try await jobs.runAndTasks(of: stored.notice.runID)
      error = stored.notice.taskKey.isEmpty ? run?.error : tasks.first { $0.key == stored.notice.taskKey }?.error
    }
    try await mail.send(
      MailMessage(
        id: stored.id, from: mail.settings.from, to: address, subject: NotificationText.subject(stored.notice),
        body: NotificationText.body(stored.notice, error: error, host: host), seconds: ProcessSupport.wallMilliseconds / 1000))
  }
}
