// SPDX-License-Identifier: Apache-2.0

import CKernels
public import Core
import Foundation
public import Models
import Synchronization
public import Tensor

/// A model whose parts several ranks have, as rank 0's engine sees it: it says what the next step is, all compute it, rank 0 draws the tokens.
///
/// The other ranks run `SplitModel.follow`. Numbers are the same bits as of a `DecoderModel` in one part. When a rank goes, steps and meetings
/// throw, and the model computes nothing more.
public final class SplitModel: GenerativeModel {
  /// How often the ranks hear from rank 0 when nobody asks anything: a rank that has gone is noticed then.
  static let restMilliseconds = 1000

  public let model: DecoderModel
  private let lead: Lead
  private let facts: Facts
  private let adapters = SplitAdapters()

  /// - Parameters:
  ///   - collective: of the ranks, with as many as the model has parts.
  ///   - lost: called once, from any thread, when a rank has gone.
  /// - Throws: `conflict` (PLT-5291) when another rank has loaded something else; what the collective throws.
  public init(model: DecoderModel, collective: any Collective, lost: @escaping @Sendable (PlatformError) -> Void = { _ in }) throws {
    precondition(collective.rank == 0)
    self.model = model
    facts = try Facts.agree(model, collective)
    lead = Lead(collective, lost: lost)
    lead.startResting()
  }

  deinit { lead.end() }

  public var vocabularySize: Int { model.vocabularySize }
  public var servedLength: Int { model.servedLength }
  public var endTokenIDs: [Int] { model.endTokenIDs }
  public var weightBytesPerToken: Int { model.weightBytesPerToken }
  public var cacheFormat: CacheFormat { model.cacheFormat }
  public func cacheBytesPerToken(_ format: CacheFormat) -> Int { facts.cacheBytesPerToken[format] ?? 0 }
  public var adapterTargets: AdapterTargets? { model.adapterTargets }

  /// All ranks load the adapter.
  /// - Throws: `conflict` (PLT-5291) when one cannot, or finds another one; what the collective throws.
  public func admit(_ adapter: LoRAAdapter, directory: String) throws {
    let number = adapters.newNumber()
    let others = try lead.meet { group -> [Int] in
      for gone in adapters.sweep() { try SplitOrder.unload(number: gone).send(over: group) }
      try SplitOrder.load(number: number, name: adapter.name, directory: directory).send(over: group)
      let others = try SplitAdapters.ranks(otherThan: adapter, group)
      if !others.isEmpty { try SplitOrder.unload(number: number).send(over: group) }
      return others
    }
    if let rank = others.first {
      throw PlatformError(
        .conflict, "rank \(rank) cannot load the adapter '\(adapter.name)', or finds another one than rank 0",
        hint: "The adapter's folder has to be the same on all workers.", number: "PLT-5291")
    }
    adapters.add(adapter, number)
  }

  public func makeRunner(blockCount: Int, maxRows: Int, threads: Int, cache: CacheFormat) throws -> any GenerativeRunner {
    try lead.meet { group in
      try SplitOrder.begin(blocks: blockCount, rows: maxRows, cache: cache).send(over: group)
      let runner = try DecoderRunner(
        model: model, blockCount: blockCount, maxRows: maxRows, threads: threads, collective: group, cache: cache, isa: facts.isa)
      return SplitRunner(runner, lead, adapters)
    }
  }

  /// Says that rank 0 is alive; false when there is nobody to tell any more.
  func rest() -> Bool { lead.rest() }

  /// Lets the other ranks go; steps after that throw. Waits for a step that is under way.
  public func end() { lead.end() }

  /// The other ranks' side: computes what rank 0 says, until it ends this.
  /// - Parameter check: called between steps, once a second at least; what it throws ends this.
  /// - Throws: `unavailable`, `timeout` when rank 0 or another one has gone; PLT-5291.
  public static func follow(
    model: DecoderModel, collective: any Collective, threads: Int, check: () throws -> Void
  ) throws {
    precondition(collective.rank > 0)
    let facts = try Facts.agree(model, collective)
    var runner: DecoderRunner?
    var adapters: [Int: LoRAAdapter] = [:]
    while true {
      let order = try SplitOrder.receive(from: collective)
      try check()
      switch order {
      case .begin(let blocks, let rows, let cache):
        runner = try DecoderRunner(
          model: model, blockCount: blocks, maxRows: rows, threads: threads, collective: collective, cache: cache, isa: facts.isa)
      case .step:
        guard let runner, let batch = order.batch(adapters) else { throw PlatformError(.internalError, "a step before the begin") }
        _ = try runner.logits(batch)
      case .load(let number, let name, let directory):
        // Whoever asked for it is told; the model goes on without.
        let adapter = try? model.adapterTargets.map { try LoRAAdapter(name: name, directory: directory, targets: $0) }
        if let adapter { adapters[number] = adapter }
        _ = try SplitAdapters.ranks(otherThan: adapter, collective)
      case .unload(let number): adapters[number] = nil
      case .rest: break
      case .end: return
      }
    }
  }
}

/// Runs each step on all ranks.
private final class SplitRunner: GenerativeRunner {
  private let runner: DecoderRunner
  private let lead: Lead
  private let adapters: SplitAdapters

  init(_ runner: DecoderRunner, _ lead: Lead, _ adapters: SplitAdapters) {
    self.adapters = adapters
    self.runner = runner
    self.lead = lead
  }

  var vocabularySize: Int { runner.vocabularySize }

  func forward(_ batch: DecoderBatch) throws -> UnsafeBufferPointer<Float> {
    try lead.meet { group in
      try SplitOrder(batch, number: adapters.number).send(over: group)
      return try runner.logits(batch)
    }
  }
}

/// Rank 0's end of the meetings: one at a time, none after a failure.
private final class Lead: Sendable {
  private struct State {
    var group: (any Collective)?
    var isTold = false
  }
  private let state: Mutex<State>
  private let lost: @Sendable (PlatformError) -> Void
  private let ended = DispatchSemaphore(value: 0)

  init(_ group: any Collective, lost: @escaping @Sendable (PlatformError) -> Void) {
    state = Mutex(State(group: group))
    self.lost = lost
  }

  func meet<T>(_ body: (any Collective) throws -> T) throws -> T {
    // What is made in the meeting stays on the thread that asked for it.
    nonisolated(unsafe) var result: Result<T, any Error>?
    let failure = state.withLock { state -> PlatformError? in
      guard let group = state.group else {
        result = .failure(PlatformError(.unavailable, "the ranks of this model have parted"))
        return nil
      }
      do {
        result = .success(try body(group))
        return nil
      } catch {
        result = .failure(error)
        state.group = nil
        defer { state.isTold = true }
        return state.isTold ? nil : PlatformError.from(error)
      }
    }
    if let failure { lost(failure) }
    guard let result else { preconditionFailure("a meeting without an end") }
    return try result.get()
  }

  /// Says that rank 0 is alive while it has nothing to compute.
  func startResting() {
    let thread = Thread { [weak self, ended] in
      while ended.wait(timeout: .now() + .milliseconds(SplitModel.restMilliseconds)) == .timedOut {
        guard let self, self.rest() else { return }
      }
    }
    thread.name = "rest"
    thread.start()
  }

  /// False when there is nobody to tell.
  func rest() -> Bool {
    // A step that is under way says as much.
    let result = state.withLockIfAvailable { state -> Result<Bool, PlatformError> in
      guard let group = state.group else { return .success(false) }
      do {
        try SplitOrder.rest.send(over: group)
        return .success(true)
      } catch {
        state.group = nil
        defer { state.isTold = true }
        return state.isTold ? .success(false) : .failure(PlatformError.from(error))
      }
    }
    switch result {
    case nil: return true
    case .success(let goesOn)?: return goesOn
    case .failure(let error)?:
      lost(error)
      return false
    }
  }

  func end() {
    state.withLock { state in
      guard let group = state.group else { return }
      state.group = nil
      state.isTold = true
      // A rank that cannot be told has gone already.
      try? SplitOrder.end.send(over: group)
    }
    ended.signal()
  }
}

/// The numbers under which the other ranks know adapters. One that nobody has any more, no step that is under way either, is let go there when the
/// next one is loaded.
private final class SplitAdapters: Sendable {
  private struct Known {
    var number: Int
    weak var adapter: LoRAAdapter?
  }
  private struct State {
    var known: [Known] = []
    var last = 0
  }
  private let state = Mutex(State())

  func newNumber() -> Int {
    state.withLock { state in
      state.last += 1
      return state.last
    }
  }

  func add(_ adapter: LoRAAdapter, _ number: Int) { state.withLock { $0.known.append(Known(number: number, adapter: adapter)) } }

  /// - Precondition: it was admitted.
  func number(_ adapter: LoRAAdapter) -> Int {
    guard let known = state.withLock({ state in state.known.first { $0.adapter === adapter }?.number }) else {
      preconditionFailure("an adapter that no rank knows")
    }
    return known
  }

  /// Forgets those that are gone, and says which.
  func sweep() -> [Int] {
    state.withLock { state in
      let gone = state.known.filter { $0.adapter == nil }.map(\.number)
      state.known.removeAll { $0.adapter == nil }
      return gone
    }
  }

  /// The ranks that have not loaded what rank 0 has. All ranks call it.
  static func ranks(otherThan own: LoRAAdapter?, _ group: any Collective) throws -> [Int] {
    // Numbers of up to 24 bits are exact in f32; 0 is nothing.
    let digits = (own?.identity.utf8.prefix(10)).map { Array($0) } ?? []
    func word(_ digits: ArraySlice<UInt8>) -> Float { Float(Int(String(decoding: digits, as: UTF8.self), radix: 16) ?? 0) }
    let mine = own == nil ? [Float(0), 0, 0] : [1, word(digits[..<5]), word(digits[5...])]
    var all = [Float](repeating: 0, count: 3 * group.worldSize)
    try mine.withUnsafeBufferPointer { mine in
      try all.withUnsafeMutableBufferPointer { try group.allGather(mine.baseAddress!, count: mine.count, into: $0.baseAddress!) }
    }
    return (0..<group.worldSize).filter { Array(all[3 * $0..<3 * $0 + 3]) != Array(all[..<3]) }
  }
}

/// What all ranks have to agree on before they compute together.
private struct Facts {
  /// Of the rank with the most heads: all have caches of as many blocks.
  var cacheBytesPerToken: [CacheFormat: Int] = [:]
  /// The best instruction set that all of them have, so that they round alike.
  var isa: Int

  /// Exchanges what the ranks have.
  static func agree(_ model: DecoderModel, _ group: any Collective) throws -> Facts {
    let print = fingerprint(model)
    // Numbers of up to 24 bits are exact in f32.
    let bytes = CacheFormat.allCases.map { model.cacheBytesPerToken($0) }
    #if arch(arm64)
      let family: Float = 1
    #else
      let family: Float = 0
    #endif
    let own =
      [Float(pk_decode_isa_best()), family, Float(print & 0xFF_FFFF), Float(print >> 24 & 0xFF_FFFF)]
      + bytes.flatMap { [Float($0 & 0xFF_FFFF), Float($0 >> 24)] }
    var all = [Float](repeating: 0, count: own.count * group.worldSize)
    try own.withUnsafeBufferPointer { own in
      try all.withUnsafeMutableBufferPointer { try group.allGather(own.baseAddress!, count: own.count, into: $0.baseAddress!) }
    }
    var facts = Facts(isa: .max)
    for rank in 0..<group.worldSize {
      let theirs = Array(all[rank * own.count..<(rank + 1) * own.count])
      guard theirs[2] == own[2], theirs[3] == own[3] else {
        throw PlatformError(
          .conflict, "rank \(rank) of \(group.worldSize) has loaded another model than rank \(group.rank)",
          hint: "The model's folder has to be the same on all workers.", number: "PLT-5291")
      }
      for (index, format) in CacheFormat.allCases.enumerated() {
        let bytes = Int(theirs[4 + 2 * index]) + Int(theirs[5 + 2 * index]) << 24
        facts.cacheBytesPerToken[format] = max(facts.cacheBytesPerToken[format] ?? 0, bytes)
      }
      // The numbers of instruction sets mean the same only within a family.
      facts.isa = theirs[1] == family ? min(facts.isa, Int(theirs[0])) : 0
    }
    return facts
  }

  private static func fingerprint(_ model: DecoderModel) -> UInt64 {
    let text = "\(model.architecture) \(model.vocabularySize) \(model.hiddenSize) \(model.maxPositions) \(model.parameterCount) \(model.part.count)"
    return text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0100_0000_01B3 }
  }
}
