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
    var acceptedAt: ContinuousClock.Instant
    var hasFirstToken = false
    let salt: PrefixKey
    /// Names of the full blocks of its tokens.
    var keys: [PrefixKey] = []
    /// The prompt's text, and the entries of its tokens that were computed so far: they leave with the first event, so that a request
    /// that moves before has told nothing and one that moves later has told all.
    var echoed: String?
    var promptLogprobs: [TokenLogprob] = []

    /// Whether the logits of every row of the prompt are wanted.
    var wantsPromptLogprobs: Bool { echoed != nil && state.request.logprobs != nil }

    init(_ submission: Submission, _ state: GenerationState) {
      self.state = state
      continuation = submission.continuation
      acceptedAt = submission.acceptedAt
      salt = PrefixKey(salt: state.request.cacheSalt)
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

  private let mailbox = Mutex(Mailbox())
  private let wake = DispatchSemaphore(value: 0)
  private let runner: any GenerativeRunner
  private var scheduler: BatchScheduler
  private var live: [Int: Live] = [:]
  private let startedAt = ContinuousClock.now

  init(runner: any GenerativeRunner, scheduler: BatchScheduler) {
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
          sequence.continuation.yield(
            GenerationEvent(text: "", tokenIDs: [], finish: .abort, usage: sequence.state.usage))
          finish(id, reason: "abort")
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
        submission.continuation.yield(GenerationEvent(text: "", tokenIDs: [], finish: reason, usage: state.usage))
        finish(id, reason: reason.rawValue)
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

  private func step(_ work: [BatchScheduler.Work]) {
    let started = ContinuousClock.now
    mailbox.withLock { $0.stepStartedAt = started }
    var batch = DecoderBatch()
    for piece in work {
      guard let sequence = live[piece.id] else { preconditionFailure("the scheduler runs an unknown sequence") }
      batch.append(
        tokens: sequence.state.tokens[piece.computed..<piece.computed + piece.count], computed: piece.computed,
        blocks: piece.blocks, logits: sequence.wantsPromptLogprobs ? .all : piece.drawsToken ? .last : .none)
    }
    let logits: UnsafeBufferPointer<Float>
    do {
      logits = try runner.forward(batch)
    } catch {
      return lose(error)
    }
    let vocabulary = runner.vocabularySize
    var place = 0
    var drawn = 0
    var firstTokens: [Double] = []
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
      let row = UnsafeMutableBufferPointer(
        mutating: UnsafeBufferPointer(rebasing: logits[place * vocabulary..<(place + 1) * vocabulary]))
      place += 1
      drawn += 1
      if live[piece.id]?.hasFirstToken == false, let accepted = live[piece.id]?.acceptedAt {
        live[piece.id]?.hasFirstToken = true
        firstTokens.append(seconds(.now - accepted))
      }
      take(piece, row)
    }
    let now = ContinuousClock.now
    mailbox.withLock { box in
      box.stepStartedAt = nil
      box.statistics.steps += 1
      box.statistics.lastStepSeconds = seconds(now - started)
      box.statistics.stepSeconds += seconds(now - started)
      box.statistics.generatedTokens += drawn
      box.statistics.computedTokens += batch.tokens.count
      box.statistics.firstTokens += firstTokens.count
      box.statistics.firstTokenSeconds += firstTokens.reduce(0, +)
      box.rate.add(drawn, at: second(now))
    }
    publish()
  }

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

  /// Draws one sequence's next token and hands it out.
  private func take(_ piece: BatchScheduler.Work, _ logits: UnsafeMutableBufferPointer<Float>) {
    guard var sequence = live.removeValue(forKey: piece.id) else { return }
    // The state is moved out while it changes, so that its token list is not copied.
    var logprobs: [TokenLogprob]?
    let wanted = sequence.state.request.logprobs
    let raw = wanted == nil ? [] : Array(logits)
    guard let base = logits.baseAddress, base[pk_argmax(base, logits.count)].isFinite else {
      live[piece.id] = sequence
      finish(piece.id, reason: "error", error: PlatformError(.internalError, "the model computed no finite probabilities"))
      return
    }
    if sequence.state.maxTokens == 0 {
      sequence.continuation.yield(
        GenerationEvent(
          text: sequence.echoed ?? "", tokenIDs: [], logprobs: wanted == nil ? nil : sequence.promptLogprobs, finish: .length,
          usage: sequence.state.usage))
      live[piece.id] = sequence
      finish(piece.id, reason: FinishReason.length.rawValue)
      return
    }
    let logSum = wanted == nil ? 0 : pk_log_sum_exp(base, logits.count)
    let token: Int32
    var outcome: GenerationState.Outcome
    do {
      token = sequence.state.sampler.draw(
        logits, position: sequence.state.tokens.count, banned: sequence.state.bannedTokens, allowed: try sequence.state.allowed())
      outcome = try sequence.state.accept(token)
    } catch {
      live[piece.id] = sequence
      finish(piece.id, reason: "error", error: error)
      return
    }
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
    sequence.continuation.yield(
      GenerationEvent(
        text: outcome.text, tokenIDs: [token], logprobs: logprobs, finish: outcome.finish,
        usage: outcome.finish == nil ? nil : sequence.state.usage))
    let filled = sequence.state.tokens.count % KVBlockPool.blockSize == 0
    if filled { PrefixKey.extend(&sequence.keys, salt: sequence.salt, tokens: sequence.state.tokens) }
    let keys = sequence.keys
    live[piece.id] = sequence
    // Also for one that ends here: what was computed for it stays in the cache.
    scheduler.completed(piece, drew: true)
    if filled { scheduler.setKeys(piece.id, keys) }
    if let reason = outcome.finish { finish(piece.id, reason: reason.rawValue) }
  }

  private func finish(_ id: Int, reason: String, error: (any Error)? = nil) {
    guard let sequence = live.removeValue(forKey: id) else { return }
    scheduler.remove(id)
    mailbox.withLock { box in
      box.inFlight -= 1
      box.statistics.finishedRequests[reason, default: 0] += 1
      record(&box)
    }
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
  }

  private func second(_ now: ContinuousClock.Instant) -> Int64 { Int64(seconds(now - startedAt)) }
}

private func seconds(_ duration: Duration) -> Double {
  Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}
