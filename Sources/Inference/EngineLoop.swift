// SPDX-License-Identifier: Apache-2.0

import CKernels
import CSupport
import Core
import Foundation
import Models
import Synchronization

/// The engine's thread: takes submissions and cancellations from a mailbox, computes steps, hands out events.
final class EngineLoop: @unchecked Sendable {  // `runner`, `scheduler` and `live` belong to the loop's thread
  typealias Continuation = AsyncThrowingStream<GenerationEvent, any Error>.Continuation

  private struct Submission: Sendable {
    var id: Int
    var state: GenerationState
    var echoed: String?
    var continuation: Continuation
    var acceptedAt: ContinuousClock.Instant
  }

  private struct Live {
    var state: GenerationState
    var continuation: Continuation
    let acceptedAt: ContinuousClock.Instant
    /// When its first step began, and when its first and its last token came.
    var startedAt: ContinuousClock.Instant?
    var firstTokenAt: ContinuousClock.Instant?
    var lastTokenAt: ContinuousClock.Instant?
    var lookup = PromptLookup()
    let salt: PrefixKey
    /// Names of the full blocks of its tokens.
    var keys: [PrefixKey] = []
    /// The prompt's text, and the entries of its tokens that were computed so far: they leave with the first event, so that a request
    /// that moves before has told nothing and one that moves later has told all.
    var echoed: String?
    var promptLogprobs: [TokenLogprob] = []

    /// Whether the logits of every row of the prompt are wanted.
    var wantsPromptLogprobs: Bool { echoed != nil && state.request.logprobs != nil }

    /// What is known of it at its end.
    func tell(_ statistics: inout EngineStatistics, now: ContinuousClock.Instant) {
      let made = max(0, state.producedCount - state.request.emittedTokenIDs.count)
      statistics.requestPromptTokens.add(Double(state.promptCount))
      statistics.requestGeneratedTokens.add(Double(made))
      statistics.requestMaxTokens.add(Double(state.maxTokens))
      statistics.requestSeconds.add(seconds(now - acceptedAt))
      guard let startedAt else { return }
      statistics.queueSeconds.add(seconds(startedAt - acceptedAt))
      statistics.inferenceSeconds.add(seconds(now - startedAt))
      guard let firstTokenAt, let lastTokenAt else { return }
      statistics.prefillSeconds.add(seconds(firstTokenAt - startedAt))
      statistics.decodeSeconds.add(seconds(lastTokenAt - firstTokenAt))
      if made > 1 { statistics.secondsPerToken.add(seconds(lastTokenAt - firstTokenAt) / Double(made - 1)) }
    }

    init(_ submission: Submission, _ state: GenerationState) {
      self.state = state
      continuation = submission.continuation
      acceptedAt = submission.acceptedAt
      salt = PrefixKey(salt: state.request.cacheSalt, adapter: state.request.adapter?.identity)
    }
  }

  private struct Mailbox: Sendable {
    var submissions: [Submission] = []
    var cancelled: [Int] = []
    var inFlight = 0
    var nextID = 0
    var isDraining = false
    var isStopped = false
    var statistics = EngineStatistics()
    var rate = RateWindow()
    var stepStartedAt: ContinuousClock.Instant?
  }

  /// A step with more rows is bound by arithmetic: there a draft costs as much as it saves.
  private static let draftRows = 16

  private let mailbox = Mutex(Mailbox())
  private let wake = DispatchSemaphore(value: 0)
  private let runner: any GenerativeRunner
  private var scheduler: BatchScheduler
  private var live: [Int: Live] = [:]
  private let startedAt = ContinuousClock.now
  /// The most tokens of a draft; 0 drafts nothing.
  private let speculation: Int

  init(runner: any GenerativeRunner, scheduler: BatchScheduler, speculation: Int) {
    self.speculation = speculation
    self.runner = runner
    self.scheduler = scheduler
    mailbox.withLock { $0.statistics.cacheBlocksTotal = scheduler.pool.capacity }
  }

  func start() {
    let thread = Thread { [self] in
      ps_set_thread_name("inference")
      run()
    }
    thread.stackSize = 16 << 20
    thread.start()
  }

  // MARK: Called from any thread

  func submit(
    _ prepared: (state: GenerationState, echoed: String?), inFlightLimit: Int
  ) throws -> AsyncThrowingStream<GenerationEvent, any Error> {
    // Bounded by the request's own token limit.
    let (stream, continuation) = AsyncThrowingStream.makeStream(of: GenerationEvent.self)
    let id = try mailbox.withLock { box in
      guard !box.isStopped && !box.isDraining else {
        throw PlatformError(.unavailable, "the engine is shutting down", hint: "Try another replica.")
      }
      guard box.inFlight < inFlightLimit else {
        throw PlatformError(
          .resourceExhausted, "\(box.inFlight) requests are already running or waiting", hint: "Try again later.",
          number: "PLT-4205")
      }
      box.inFlight += 1
      box.nextID += 1
      box.statistics.acceptedRequests += 1
      box.statistics.promptTokens += prepared.state.promptCount
      box.submissions.append(
        Submission(
          id: box.nextID, state: prepared.state, echoed: prepared.echoed, continuation: continuation, acceptedAt: .now))
      return box.nextID
    }
    continuation.onTermination = { [weak self] reason in
      guard case .cancelled = reason, let self else { return }
      mailbox.withLock { $0.cancelled.append(id) }
      wake.signal()
    }
    wake.signal()
    return stream
  }

  func countRefusal() { mailbox.withLock { $0.statistics.refusedRequests += 1 } }
  func drain() { mailbox.withLock { $0.isDraining = true } }

  func shutdown() {
    mailbox.withLock { $0.isStopped = true }
    wake.signal()
  }

  func statistics() -> EngineStatistics {
    let now = ContinuousClock.now
    return mailbox.withLock { box in
      var statistics = box.statistics
      statistics.tokensPerSecond = box.rate.perSecond(at: second(now))
      if let started = box.stepStartedAt { statistics.currentStepSeconds = seconds(now - started) }
      return statistics
    }
  }

  // MARK: The loop's thread

  private func run() {
    while true {
      let (submissions, cancelled, stopped) = mailbox.withLock { box in
        defer {
          box.submissions = []
          box.cancelled = []
        }
        return (box.submissions, box.cancelled, box.isStopped)
      }
      submissions.forEach(admit)
      for id in cancelled where live[id] != nil { finish(id, reason: "abort") }
      if stopped {
        for id in live.keys.sorted() {
          guard let sequence = live[id] else { continue }
          finish(id, reason: "abort", events: [GenerationEvent(text: "", tokenIDs: [], finish: .abort, usage: sequence.state.usage)])
        }
        return
      }
      let work = scheduler.nextStep()
      if work.isEmpty {
        publish()
        wake.wait()
      } else {
        step(work)
      }
    }
  }

  private func admit(_ submission: Submission) {
    var state = submission.state
    let id = submission.id
    // Tokens from an earlier engine rebuild the text state; their text was sent already.
    for token in state.request.emittedTokenIDs {
      let outcome: GenerationState.Outcome
      do {
        outcome = try state.accept(token)
      } catch {
        live[id] = Live(submission, state)
        finish(id, reason: "error", error: error)
        return
      }
      if let reason = outcome.finish {
        live[id] = Live(submission, state)
        finish(id, reason: reason.rawValue, events: [GenerationEvent(text: "", tokenIDs: [], finish: reason, usage: state.usage)])
        return
      }
    }
    var entering = Live(submission, state)
    entering.echoed = submission.echoed
    if entering.wantsPromptLogprobs { entering.promptLogprobs = [state.firstPromptLogprob()] }
    PrefixKey.extend(&entering.keys, salt: entering.salt, tokens: state.tokens)
    live[id] = entering
    do {
      // Who wants the prompt's probabilities needs the logits of all its tokens.
      try scheduler.submit(
        id: id, tokens: state.tokens.count, limit: state.promptCount + state.maxTokens, keys: entering.keys,
        takesOver: !entering.wantsPromptLogprobs)
    } catch {
      finish(id, reason: "error", error: error)
    }
  }

  /// What may follow the pieces that reach their sequence's end, where the step has rows to spare.
  private func drafts(_ work: inout [BatchScheduler.Work]) -> [Int: ArraySlice<Int32>] {
    let drawing = work.count { $0.drawsToken }
    let spare = Self.draftRows - work.reduce(0) { $0 + $1.count }
    guard speculation > 0, drawing > 0, spare >= drawing else { return [:] }
    var drafts: [Int: ArraySlice<Int32>] = [:]
    for index in work.indices where work[index].drawsToken {
      guard let sequence = live[work[index].id], !sequence.wantsPromptLogprobs else { continue }
      let left = sequence.state.maxTokens - sequence.state.producedCount - 1
      let draft = sequence.lookup.draft(behind: sequence.state.tokens, limit: min(speculation, spare / drawing, left))
      guard !draft.isEmpty else { continue }
      scheduler.draft(draft.count, behind: &work[index])
      if work[index].drafted > 0 { drafts[work[index].id] = draft.prefix(work[index].drafted) }
    }
    return drafts
  }

  private func step(_ planned: [BatchScheduler.Work]) {
    let started = ContinuousClock.now
    mailbox.withLock { $0.stepStartedAt = started }
    var work = planned
    let drafts = drafts(&work)
    // Rows of one adapter side by side are one product; what a row gets does not depend on its place.
    if work.contains(where: { live[$0.id]?.state.request.adapter != nil }) {
      work.sort { (adapterName($0), $0.id) < (adapterName($1), $1.id) }
    }
    var batch = DecoderBatch()
    for piece in work {
      guard let sequence = live[piece.id] else { preconditionFailure("the scheduler runs an unknown sequence") }
      if sequence.startedAt == nil {
        live[piece.id]?.startedAt = started
        live[piece.id]?.state.cachedCount = min(piece.computed, sequence.state.promptCount)
      }
      let tokens = sequence.state.tokens[piece.computed..<piece.computed + piece.count]
      batch.append(
        tokens: tokens + (drafts[piece.id] ?? []), computed: piece.computed, blocks: piece.blocks,
        logits: sequence.wantsPromptLogprobs ? .all : piece.drawsToken ? .tail(1 + piece.drafted) : .none,
        adapter: sequence.state.request.adapter)
    }
    let logits: UnsafeBufferPointer<Float>
    do {
      logits = try runner.forward(batch)
    } catch {
      return lose(error)
    }
    mailbox.withLock { box in
      box.statistics.steps += 1
      box.statistics.computedTokens += batch.tokens.count
      box.statistics.stepTokens.add(Double(batch.tokens.count))
    }
    let vocabulary = runner.vocabularySize
    var place = 0
    var drawn = 0
    for piece in work {
      if let sequence = live[piece.id], sequence.wantsPromptLogprobs {
        let rows = UnsafeBufferPointer(rebasing: logits[place * vocabulary..<(place + piece.count) * vocabulary])
        note(rows, of: piece, vocabulary: vocabulary)
        place += piece.count - (piece.drawsToken ? 1 : 0)
      }
      guard piece.drawsToken else {
        scheduler.completed(piece, drew: false)
        continue
      }
      let end = place + 1 + piece.drafted
      drawn += take(
        piece, UnsafeMutableBufferPointer(mutating: UnsafeBufferPointer(rebasing: logits[place * vocabulary..<end * vocabulary])),
        draft: drafts[piece.id] ?? [])
      place = end
    }
    let now = ContinuousClock.now
    mailbox.withLock { box in
      box.stepStartedAt = nil
      box.statistics.lastStepSeconds = seconds(now - started)
      box.statistics.stepSeconds += seconds(now - started)
      box.rate.add(drawn, at: second(now))
    }
    publish()
  }

  private func adapterName(_ piece: BatchScheduler.Work) -> String { live[piece.id]?.state.request.adapter?.identity ?? "" }

  /// The model can compute nothing more: all requests end, and go on elsewhere.
  private func lose(_ error: any Error) {
    mailbox.withLock {
      $0.stepStartedAt = nil
      $0.isStopped = true
    }
    let failure = PlatformError(.unavailable, "the model stopped computing: \(PlatformError.from(error).message)", hint: "Try another replica.")
    for id in live.keys.sorted() { finish(id, reason: "error", error: failure) }
  }

  /// Keeps the log-probabilities of the prompt's tokens that these rows predict.
  private func note(_ rows: UnsafeBufferPointer<Float>, of piece: BatchScheduler.Work, vocabulary: Int) {
    guard let sequence = live[piece.id] else { return }
    let entries = sequence.state.promptLogprobs(
      behind: piece.computed, logits: rows, vocabulary: vocabulary, count: sequence.state.request.logprobs ?? 0)
    // Rows that are computed again after a preemption are known already.
    live[piece.id]?.promptLogprobs += entries.dropFirst(sequence.promptLogprobs.count - piece.computed - 1)
  }

  /// Draws one sequence's next token and hands it out, and the ones behind it for as long as they are those of the draft.
  /// rows: [1 + draft, vocabulary]. Returns how many were drawn.
  private func take(_ piece: BatchScheduler.Work, _ rows: UnsafeMutableBufferPointer<Float>, draft: ArraySlice<Int32>) -> Int {
    // The state is moved out while it changes, so that its token list is not copied.
    guard var sequence = live.removeValue(forKey: piece.id) else { return 0 }
    let vocabulary = rows.count / (1 + draft.count)
    var drawn = 0
    var events: [GenerationEvent] = []
    var end: (reason: String, error: (any Error)?)?
    while end == nil, drawn <= draft.count {
      do {
        let (token, event) = try draw(
          &sequence, UnsafeMutableBufferPointer(rebasing: rows[drawn * vocabulary..<(drawn + 1) * vocabulary]))
        events.append(event)
        if let reason = event.finish { end = (reason.rawValue, nil) }
        guard let token else { break }
        drawn += 1
        guard drawn <= draft.count, draft[draft.startIndex + drawn - 1] == token else { break }
      } catch {
        end = ("error", error)
      }
    }
    if drawn > 0 {
      if !draft.isEmpty { sequence.lookup.note(drafted: draft.count, accepted: drawn - 1, length: sequence.state.tokens.count) }
      count(drawn, drafted: draft.count, of: &sequence)
      let isFilled = sequence.state.tokens.count / KVBlockPool.blockSize > sequence.keys.count
      if isFilled { PrefixKey.extend(&sequence.keys, salt: sequence.salt, tokens: sequence.state.tokens) }
      // Also for one that ends here: what was computed for it stays in the cache.
      scheduler.completed(piece, drew: true, accepted: drawn - 1)
      if isFilled { scheduler.setKeys(piece.id, sequence.keys) }
    }
    let continuation = sequence.continuation
    live[piece.id] = sequence
    if let end {
      finish(piece.id, reason: end.reason, events: events, error: end.error)
    } else {
      for event in events { continuation.yield(event) }
    }
    return drawn
  }

  /// The next token, none where only the prompt was asked for, and what is told of it.
  private func draw(_ sequence: inout Live, _ logits: UnsafeMutableBufferPointer<Float>) throws -> (token: Int32?, event: GenerationEvent) {
    let wanted = sequence.state.request.logprobs
    let raw = wanted == nil ? [] : Array(logits)
    guard let base = logits.baseAddress, base[pk_argmax(base, logits.count)].isFinite else {
      throw PlatformError(.internalError, "the model computed no finite probabilities")
    }
    if sequence.state.maxTokens == 0 {
      let event = GenerationEvent(
        text: sequence.echoed ?? "", tokenIDs: [], logprobs: wanted == nil ? nil : sequence.promptLogprobs, finish: .length,
        usage: sequence.state.usage)
      return (nil, event)
    }
    let logSum = wanted == nil ? 0 : pk_log_sum_exp(base, logits.count)
    let token = sequence.state.sampler.draw(
      logits, position: sequence.state.tokens.count, banned: sequence.state.bannedTokens, allowed: try sequence.state.allowed())
    var outcome = try sequence.state.accept(token)
    var logprobs: [TokenLogprob]?
    if let wanted {
      logprobs = raw.withUnsafeBufferPointer {
        [sequence.state.logprob(of: token, logits: $0, logSum: logSum, count: wanted)]
      }
    }
    if let text = sequence.echoed {
      outcome.text = text + outcome.text
      logprobs = logprobs.map { sequence.promptLogprobs + $0 }
      sequence.echoed = nil
      sequence.promptLogprobs = []
    }
    let event = GenerationEvent(
      text: outcome.text, tokenIDs: [token], logprobs: logprobs, finish: outcome.finish,
      usage: outcome.finish == nil ? nil : sequence.state.usage, stop: outcome.finish == .stop ? sequence.state.stop : nil)
    return (token, event)
  }

  /// Notes tokens before anybody sees them: who has an answer finds it in the statistics.
  private func count(_ drawn: Int, drafted: Int, of sequence: inout Live) {
    let now = ContinuousClock.now
    let (accepted, last) = (sequence.acceptedAt, sequence.lastTokenAt)
    mailbox.withLock { box in
      box.statistics.generatedTokens += drawn
      if let last {
        box.statistics.interTokenLatency.add(seconds(now - last) / Double(drawn), times: drawn)
      } else {
        box.statistics.firstTokens += 1
        box.statistics.firstTokenSeconds += seconds(now - accepted)
        box.statistics.timeToFirstToken.add(seconds(now - accepted))
        box.statistics.interTokenLatency.add(0, times: drawn - 1)
      }
      guard drafted > 0 else { return }
      box.statistics.drafts += 1
      box.statistics.draftedTokens += drafted
      for place in 0..<drawn - 1 { box.statistics.acceptedTokensByPlace[place] += 1 }
    }
    if sequence.firstTokenAt == nil { sequence.firstTokenAt = now }
    sequence.lastTokenAt = now
  }

  private func finish(_ id: Int, reason: String, events: [GenerationEvent] = [], error: (any Error)? = nil) {
    guard let sequence = live.removeValue(forKey: id) else { return }
    scheduler.remove(id)
    let now = ContinuousClock.now
    mailbox.withLock { box in
      box.inFlight -= 1
      box.statistics.finishedRequests[reason, default: 0] += 1
      sequence.tell(&box.statistics, now: now)
      record(&box)
    }
    for event in events { sequence.continuation.yield(event) }
    sequence.continuation.finish(throwing: error)
  }

  private func publish() { mailbox.withLock { record(&$0) } }

  private func record(_ box: inout Mailbox) {
    box.statistics.waitingRequests = scheduler.waitingCount
    box.statistics.runningRequests = scheduler.runningCount
    box.statistics.cacheBlocksUsed = scheduler.pool.usedCount
    box.statistics.preemptions = scheduler.preemptionCount
    box.statistics.prefixQueries = scheduler.prefixQueries
    box.statistics.prefixHits = scheduler.prefixHits
    let adapted = live.values.compactMap { one in one.state.request.adapter.map { (name: $0.name, runs: one.startedAt != nil) } }
    box.statistics.runningAdapters = Set(adapted.filter(\.runs).map(\.name))
    box.statistics.waitingAdapters = Set(adapted.filter { !$0.runs }.map(\.name))
  }

  private func second(_ now: ContinuousClock.Instant) -> Int64 { Int64(seconds(now - startedAt)) }
}

private func seconds(_ duration: Duration) -> Double {
  Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}
