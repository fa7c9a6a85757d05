// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Collectives
import Core
import Foundation
import Models
import Synchronization

/// What all ranks of a split model compute: each the same steps, with its own part of the weights.
struct RankWork: Codable, Sendable {
  var directory: String
  var ids: [Int32]
  var dtype: String
  /// Of each rank.
  var threads: Int
  var count: Int
  /// Name of the shared memory; new for every start.
  var group = "model-\(ProcessInfo.processInfo.processIdentifier)-\(UInt64.random(in: 0 ... .max))"
  /// The most tokens to make; nil: the logits of `ids`.
  var limit: Int?
  var ignoresEnds = false
  /// The most tokens that are supposed to follow.
  var speculation = 0
  /// Folder of an adapter; nil for none.
  var adapter: String?
  /// How keys and values are kept.
  var cache = CacheFormat.f32

  /// Loading a part of a large model, or a step of it, may take long; a rank that has died is noticed at once all the same.
  private static let stepLimit = Duration.seconds(1800)

  /// Joins the others, loads the part of `rank` and hands it to `body`.
  /// - Parameter watch: throws when another rank has ended.
  func run<T>(rank: Int, watch: @escaping @Sendable () throws -> Void = {}, _ body: (SingleSequence) throws -> T) throws -> T {
    guard let precision = WeightPrecision(rawValue: dtype) else { throw PlatformError(.invalidArgument, "--dtype \(dtype) is unknown", number: "PLT-5201") }
    let group = count > 1 ? try SharedMemoryGroup(name: group, rank: rank, worldSize: count, deadline: Self.stepLimit, watch: watch) : nil
    defer { group?.leave() }
    let model = try DecoderModel(directory: directory, precision: precision, part: ModelPart(rank: rank, of: count))
    return try body(SingleSequence(model: model, threads: threads, collective: group, adapter: loaded(model), cache: cache))
  }

  private func loaded(_ model: DecoderModel) throws -> LoRAAdapter? {
    guard let adapter, let targets = model.adapterTargets else { return nil }
    return try LoRAAdapter(name: (adapter as NSString).lastPathComponent, directory: adapter, targets: targets)
  }

  /// Hands the logits of all positions to `sink`, some rows at a time.
  func logits(_ sequence: SingleSequence, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
    try sequence.logits(ids) { try sink(UnsafeRawBufferPointer($0)) }
  }

  func generate(_ sequence: SingleSequence) throws -> [Int32] {
    let ends = ignoresEnds ? [] : Set(sequence.model.endTokenIDs.compactMap { Int32(exactly: $0) })
    return try sequence.generate(ids, limit: limit ?? 0, ends: ends, speculation: speculation)
  }

  /// Computes with as many processes as there are parts, this one being rank 0.
  /// - Throws: what `body` throws; `unavailable` (PLT-5221) when another rank's process has ended; for a model that is
  ///   not known, before other processes are started.
  func runWithOthers<T>(_ body: (SingleSequence) throws -> T) async throws -> T {
    guard count > 1 else { return try run(rank: 0, body) }
    if let adapter {
      // What it does not fit is told once, before others are started.
      _ = try LoRAAdapter(name: (adapter as NSString).lastPathComponent, directory: adapter, targets: AdapterTargets.read(directory: directory))
    } else {
      try DecoderModel.check(directory: directory)
    }
    let others = try await RankProcesses.start(self)
    defer { others.end() }
    do {
      return try run(rank: 0, watch: others.check, body)
    } catch let error as PlatformError where ["PLT-2150", "PLT-2151"].contains(error.number) {
      throw others.explanation(of: error)
    }
  }
}

/// The processes of ranks 1, 2, ..; they end with this one.
private final class RankProcesses: Sendable {
  private struct Life: Sendable {
    var errors = Data()
    var exit: ChildProcess.Exit?
  }
  private let lives: Mutex<[Life]>
  private let children = Mutex<[ChildProcess]>([])
  private let ended = DispatchGroup()
  private let count: Int

  private init(_ count: Int) {
    self.count = count
    lives = Mutex(Array(repeating: Life(), count: count))
  }

  static func start(_ work: RankWork) async throws -> RankProcesses {
    let itself = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let processes = RankProcesses(work.count)
    do {
      for rank in 1..<work.count {
        processes.ended.enter()
        do {
          let child = try await ChildProcess.start(
            .init(executable: itself, arguments: ["model", "rank", "\(rank)"], wantsInput: true),
            onError: { bytes in
              guard let bytes else { return }
              processes.lives.withLock { if $0[rank].errors.count < 1 << 16 { $0[rank].errors.append(contentsOf: bytes) } }
            },
            onExit: { exit in
              processes.lives.withLock { $0[rank].exit = exit }
              processes.ended.leave()
            })
          processes.children.withLock { $0.append(child) }
          child.writeLine(try JSONEncoder().encode(work))
          child.closeInput()
        } catch {
          processes.ended.leave()
          throw error
        }
      }
    } catch {
      processes.end()
      throw error
    }
    return processes
  }

  /// - Throws: `unavailable` (PLT-2150) when one has ended, which none does before this one.
  @Sendable func check() throws {
    if lives.withLock({ $0.contains { $0.exit != nil && $0.exit != .status(0) } }) {
      throw PlatformError(.unavailable, "a rank has gone", number: "PLT-2150")
    }
  }

  /// Ends those that still run. They have nothing left to do: every step is one of all ranks.
  func end() {
    let children = children.withLock { $0 }
    for (index, child) in children.enumerated() where lives.withLock({ $0[index + 1].exit == nil }) { child.signal(SIGKILL) }
    _ = ended.wait(timeout: .now() + 10)
  }

  /// Which rank went first, and why, as far as it said.
  func explanation(of error: PlatformError) -> PlatformError {
    _ = ended.wait(timeout: .now() + 3)
    let found = lives.withLock { lives in
      lives.indices.dropFirst().compactMap { rank -> (rank: Int, exit: ChildProcess.Exit, said: String)? in
        guard let exit = lives[rank].exit, exit != .status(0) else { return nil }
        return (rank, exit, String(decoding: lives[rank].errors, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
      }
    }
    // The others end because it did, and say so.
    guard let first = found.first(where: { !$0.said.contains("PLT-215") }) ?? found.first else { return error }
    return PlatformError(
      .unavailable, "the process of rank \(first.rank) of \(count) has ended with \(first.exit)\(first.said.isEmpty ? "" : ": \(first.said)")",
      hint: "Try again; where memory is short, use a smaller --dtype.", number: "PLT-5221")
  }
}

extension ModelCommand {
  /// One of the other ranks of a split model.
  struct Rank: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "rank", abstract: "Compute one part of a split model (started by 'logits' and 'generate').", shouldDisplay: false)
    @Argument(help: "Which part, from 1.") var rank: Int

    func run() throws {
      let data = try FileHandle.standardInput.readToEnd() ?? Data()
      let work: RankWork
      do {
        work = try JSONDecoder().decode(RankWork.self, from: data)
      } catch {
        throw PlatformError(.invalidArgument, "the standard input says nothing about the work of a rank", number: "PLT-5202")
      }
      guard work.count > 1, work.count <= ModelComputeOptions.partsMax, rank > 0, rank < work.count else {
        throw PlatformError(.invalidArgument, "there is no rank \(rank) of \(work.count)", number: "PLT-5202")
      }
      try work.run(rank: rank) { sequence in
        if work.limit == nil { try work.logits(sequence) { _ in } } else { _ = try work.generate(sequence) }
      }
    }
  }
}
