// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
public import Logging
public import Scheduling

/// What the runner asks of the rest of the coordinator.
public protocol EffectHandler: AnyObject, Sendable {
  /// Resolves names and makes the units of a stage.
  func plan(_ call: StageCall) async throws -> StagePlan
  /// Makes a stage's results visible. Called again with the same `commitKey` after a crash; must then find its own work.
  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome
  /// Sends a message to a worker or tells the router. Must not block; a lost message is repeated by the scheduler.
  func deliver(_ effect: Effect)
}

/// Drives the scheduler: one event after the other, decisions stored before anyone is told of them.
///
/// While one transaction is under way events go on being handled; what follows from them shares the next one. Effects that precede the store are
/// performed at once, all others when the transaction with what they follow from is through. What nobody waits for, that work was given out and
/// has begun, is stored with what comes next, or a twentieth of a second later. While the store is away the runner waits: nobody else can
/// schedule then. When the store says that the epoch is over, the runner stops for good and `run` throws: the process ends and is started again
/// from what is stored.
public actor JobRunner {
  private struct Mail {
    var event: Event
    var stored: CheckedContinuation<Void, any Error>?
    var asked = ContinuousClock.now
  }

  private var scheduler: Scheduler
  private let store: JobStore
  private let epoch: Int64
  private let handler: any EffectHandler
  private let logger: Logger
  private var mailbox: [Mail] = []
  private var waiter: CheckedContinuation<Void, Never>?
  private var stopped: PlatformError?
  private var clock = SchedulerClock(wall: ProcessSupport.wallMilliseconds)
  private let clockStart = ContinuousClock.now
  /// What waits for the next transaction, and for the one that is under way.
  private var next = Unstored()
  private var underWay: Unstored?
  private var storing: Task<Void, Never>?
  private var storingSince = ContinuousClock.now
  private var calls: [Task<Void, Never>] = []
  /// What has to be stored before it is told.
  private struct Unstored {
    var effects: [Effect] = []
    /// Who waits until it is stored, and what they are told if their request was refused.
    var waiting: [(mail: Mail, refusal: PlatformError?)] = []

    var isEmpty: Bool { effects.isEmpty && waiting.isEmpty }
  }

  /// How long the scheduler thinks about one event, and the store about what follows from a batch of them.
  public private(set) var stepTimes = Histogram()
  public private(set) var storeTimes = Histogram()

  /// Whoever waits for an event to be stored is told that it may take longer after this time; the event stays.
  private static let patience = Duration.seconds(10)
  /// Behind a transaction that takes longer than this, events wait.
  private static let lead = Duration.milliseconds(500)

  /// Events above this many are refused; workers repeat what matters.
  public static let mailboxLimit = 50_000

  public init(scheduler: Scheduler, store: JobStore, epoch: Int64, handler: any EffectHandler, logger: Logger) {
    self.scheduler = scheduler
    self.store = store
    self.epoch = epoch
    self.handler = handler
    self.logger = logger
  }

  private func now() -> Instant { clock.instant(after: ContinuousClock.now - clockStart) }

  /// Queues an event without waiting.
  public func post(_ event: Event) {
    guard stopped == nil, mailbox.count < Self.mailboxLimit else { return }
    mailbox.append(Mail(event: event))
    wake()
  }

  /// Queues an event and returns when its consequences are stored.
  public func submit(_ event: Event) async throws {
    if let stopped { throw stopped }
    guard mailbox.count < Self.mailboxLimit else {
      throw PlatformError(.resourceExhausted, "the scheduler is overloaded", hint: "Try again in a few seconds.")
    }
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      mailbox.append(Mail(event: event, stored: continuation))
      wake()
    }
  }

  private func wake() {
    waiter?.resume()
    waiter = nil
  }

  /// Handles events until the epoch ends or the task is cancelled.
  /// - Parameter initial: effects that restoring the scheduler asked for.
  public func run(initial: [Effect]) async throws {
    defer {
      let failure = stopped ?? PlatformError(.unavailable, "the coordinator is stopping")
      stopped = failure
      for mail in mailbox { mail.stored?.resume(throwing: failure) }
      for one in next.waiting { one.mail.stored?.resume(throwing: failure) }
      mailbox = []
      next = Unstored()
      for call in calls { call.cancel() }
    }
    try await persist(scheduler.takeChanges())
    perform(initial)
    let ticker = Task { [weak self] in
      while !Task.isCancelled {
        try? await Task.sleep(for: .milliseconds(50))  // cancelled: the loop condition ends it
        await self?.tick()
      }
    }
    defer { ticker.cancel() }
    while !Task.isCancelled, stopped == nil {
      guard !mailbox.isEmpty, !isStoreLate else {
        await withCheckedContinuation { waiter = $0 }
        continue
      }
      handleMail()
      storeIfWanted()
    }
    storing?.cancel()
    await storing?.value
    if let stopped { throw stopped }
  }

  private var isStoreLate: Bool { storing != nil && ContinuousClock.now - storingSince > Self.lead }

  /// Handles what waits, and does of what follows what nobody has to wait for.
  private func handleMail() {
    let batch = mailbox
    mailbox = []
    var early: [Effect] = []
    func handle(_ mail: Mail) {
      let effects = step(mail.event)
      for effect in effects { if effect.precedesStore { early.append(effect) } else { next.effects.append(effect) } }
      if mail.stored != nil { next.waiting.append((mail, Self.refusal(of: mail.event, in: effects))) }
    }
    // Time passes behind what was heard: after a wait for Postgres nobody is late whose sign of life lies in the mailbox.
    for mail in batch where mail.event != .tick { handle(mail) }
    if let tick = batch.first(where: { $0.event == .tick }) { handle(tick) }
    perform(early)
  }

  /// Starts the next transaction when somebody waits for it, or time is up, and none is under way.
  private func storeIfWanted(isDue: Bool = false) {
    guard storing == nil, stopped == nil, !next.isEmpty || isDue && scheduler.hasChanges else { return }
    let open = next
    next = Unstored()
    let changes = scheduler.takeChanges()
    guard !changes.isEmpty else { return release(open) }
    underWay = open
    storingSince = .now
    storing = Task { await self.store(changes) }
  }

  private func store(_ changes: [Record]) async {
    do {
      try await persist(changes)
      storing = nil
      if let done = underWay { release(done) }
    } catch {
      storing = nil
      let failure = PlatformError.from(error)
      stopped = stopped ?? failure
      for one in underWay?.waiting ?? [] { one.mail.stored?.resume(throwing: failure) }
    }
    underWay = nil
    storeIfWanted()
    wake()
  }

  /// What was waited for is stored.
  private func release(_ stored: Unstored) {
    for one in stored.waiting {
      if let refusal = one.refusal { one.mail.stored?.resume(throwing: refusal) } else { one.mail.stored?.resume() }
    }
    perform(stored.effects)
  }

  private func step(_ event: Event) -> [Effect] {
    let began = ContinuousClock.now
    defer { stepTimes.add(ContinuousClock.now - began) }
    return scheduler.handle(event, now: now())
  }

  private static func refusal(of event: Event, in effects: [Effect]) -> PlatformError? {
    let name: String
    switch event {
    case .runSubmitted(let spec): name = spec.id
    case .runRepaired(let run, _, _, _): name = run.spec.id
    case .serviceSet(let spec): name = spec.name
    case .serviceRemoved(let service): name = service
    default: return nil
    }
    for case .refused(let refused, let error) in effects where refused == name { return error }
    return nil
  }

  private func tick() {
    storeIfWanted(isDue: true)
    if scheduler.nextDeadline ?? .max <= now() { post(.tick) }
    // The loop sleeps in a continuation that cancellation cannot reach.
    if Task.isCancelled { wake() }
  }

  /// Stores what changed, trying for as long as Postgres is away.
  private func persist(_ changes: [Record]) async throws {
    guard !changes.isEmpty else { return }
    var warned = false
    let began = ContinuousClock.now
    while true {
      do {
        try await store.save(changes, epoch: epoch)
        storeTimes.add(ContinuousClock.now - began)
        return
      } catch let error as PlatformError where error.isRetryable && error.number != "PLT-1301" {
        if !warned { logger.warning("storing the scheduler's state failed, trying again", metadata: ["error": "\(error)"]) }
        warned = true
        refuseWhoWaitsTooLong()
        try await Task.sleep(for: .milliseconds(250))
      }
    }
  }

  private func refuseWhoWaitsTooLong() {
    let late = PlatformError(
      .unavailable, "what was asked is not stored yet: Postgres is away", hint: "Ask again with the same idempotency token.",
      number: "PLT-1109")
    let now = ContinuousClock.now
    func refuse(_ mail: inout Mail) {
      guard mail.stored != nil, now - mail.asked > Self.patience else { return }
      mail.stored?.resume(throwing: late)
      mail.stored = nil
    }
    for index in mailbox.indices { refuse(&mailbox[index]) }
    for index in next.waiting.indices { refuse(&next.waiting[index].mail) }
    for index in (underWay?.waiting ?? []).indices { refuse(&underWay!.waiting[index].mail) }
  }

  private func perform(_ effects: [Effect]) {
    for effect in effects {
      switch effect {
      case .planStage(let call):
        spawn { runner in await runner.plan(call) }
      case .commitStage(let call, let results):
        spawn { runner in await runner.commit(call, results: results) }
      case .taskStateChanged(let run, let task, let attempt, let stage, let state, let error):
        logger.info(
          "task",
          metadata: [
            "run": "\(run)", "task": "\(task)", "attempt": "\(attempt)", "stage": "\(stage)", "state": "\(state.rawValue)",
            "error": "\(error.map { "\($0)" } ?? "")",
          ])
        handler.deliver(effect)
      default:
        handler.deliver(effect)
      }
    }
  }

  private func spawn(_ body: @escaping @Sendable (JobRunner) async -> Void) {
    calls.removeAll { $0.isCancelled }
    calls.append(Task { [weak self] in if let self { await body(self) } })
    if calls.count > 256 { calls.removeFirst(128) }
  }

  private nonisolated func plan(_ call: StageCall) async {
    do {
      await post(.stagePlanned(call.id, try await handler.plan(call)))
    } catch {
      await post(.stagePlanFailed(call.id, PlatformError.from(error)))
    }
  }

  private nonisolated func commit(_ call: StageCall, results: [JSONValue]) async {
    do {
      if let done = try await store.committedOutcome(call.commitKey) {
        await post(.stageCommitted(call.id, done))
        return
      }
      let outcome = try await handler.commit(call, results: results)
      let stored = try await store.recordCommit(call.commitKey, outcome, epoch: epoch)
      await post(.stageCommitted(call.id, stored))
    } catch {
      let failure = PlatformError.from(error)
      await post(.stageCommitFailed(call.id, failure, retryable: failure.isRetryable))
    }
  }

  /// For tests and status pages: what the scheduler holds.
  public func inspect<T: Sendable>(_ body: @Sendable (Scheduler) -> T) -> T { body(scheduler) }
}
