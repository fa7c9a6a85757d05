// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Synchronization

/// A store that fails as it is told, for tests of what must survive failures.
///
/// Steps are counted from 0 over all calls that the plan is asked about. After a crash every call fails until `restart`, as
/// for a process that is gone: what was written before stays.
public final class FaultyObjectStore: ObjectStorage {
  public enum Operation: String, Sendable, CaseIterable { case get, put, putIfAbsent, list, delete, head }

  public struct Step: Sendable, Hashable {
    /// Counts from 0.
    public var index: Int
    public var operation: Operation
    /// The object, or the folder of a listing.
    public var path: ObjectPath?
    public var isWrite: Bool { operation == .put || operation == .putIfAbsent || operation == .delete }
  }

  public enum Fault: Sendable, Hashable {
    /// The call fails and nothing happens.
    case error
    /// It happens, but the answer is lost.
    case lostAnswer
    /// The process is gone before, or right after.
    case crashBefore
    case crashAfter
    /// A write leaves only this part of its bytes, in thousandths, and the process is gone: what a store without atomic
    /// writes would do. Reads give a part only.
    case torn(Int)
    case slow(milliseconds: Int)
  }

  public let base: any ObjectStorage
  private struct State {
    var plan: @Sendable (Step) -> Fault?
    var steps: [Step] = []
    var isDown = false
  }
  private let state: Mutex<State>

  public init(_ base: any ObjectStorage = InMemoryObjectStore(), plan: @escaping @Sendable (Step) -> Fault? = { _ in nil }) {
    self.base = base
    state = Mutex(State(plan: plan))
  }

  /// What was called since the beginning or the last restart.
  public var steps: [Step] { state.withLock { $0.steps } }
  public var isDown: Bool { state.withLock { $0.isDown } }

  /// A new process on the same objects, with another plan.
  public func restart(plan: @escaping @Sendable (Step) -> Fault? = { _ in nil }) {
    state.withLock { $0 = State(plan: plan) }
  }

  private static let gone = PlatformError(.unavailable, "injected fault: the process is gone")
  private static let failed = PlatformError(.unavailable, "injected fault")

  private func run<T>(_ operation: Operation, _ path: ObjectPath?, torn: (Int) throws -> T?, _ body: () throws -> T) throws -> T {
    let fault = try state.withLock { state in
      guard !state.isDown else { throw Self.gone }
      let step = Step(index: state.steps.count, operation: operation, path: path)
      state.steps.append(step)
      return state.plan(step)
    }
    func crash() -> PlatformError {
      state.withLock { $0.isDown = true }
      return Self.gone
    }
    switch fault {
    case nil: return try body()
    case .error: throw Self.failed
    case .lostAnswer:
      _ = try body()
      throw Self.failed
    case .crashBefore: throw crash()
    case .crashAfter:
      // What the call says does not matter to a process that is gone.
      _ = try? body()
      throw crash()
    case .torn(let part):
      if let value = try torn(part) { return value }
      throw crash()
    case .slow(let milliseconds):
      Thread.sleep(forTimeInterval: Double(milliseconds) / 1000)
      return try body()
    }
  }

  private func part(_ data: Data, _ part: Int) -> Data { Data(data.prefix(data.count * min(max(part, 0), 1000) / 1000)) }

  public func get(_ path: ObjectPath) throws -> Data {
    try run(.get, path, torn: { part(try base.get(path), $0) }) { try base.get(path) }
  }

  public func get(_ path: ObjectPath, range: Range<Int>) throws -> Data {
    try run(.get, path, torn: { part(try base.get(path, range: range), $0) }) { try base.get(path, range: range) }
  }

  public func put(_ path: ObjectPath, _ data: Data) throws {
    try run(
      .put, path,
      torn: {
        try base.put(path, part(data, $0))
        return nil
      }
    ) { try base.put(path, data) }
  }

  public func putIfAbsent(_ path: ObjectPath, _ data: Data) throws {
    try run(
      .putIfAbsent, path,
      torn: {
        try base.putIfAbsent(path, part(data, $0))
        return nil
      }
    ) { try base.putIfAbsent(path, data) }
  }

  public func list(_ prefix: ObjectPath?) throws -> [ObjectInfo] {
    try run(.list, prefix, torn: { part in Array(try base.list(prefix).prefix(part)) }) { try base.list(prefix) }
  }

  public func list(_ prefix: ObjectPath?, after last: ObjectPath) throws -> [ObjectInfo] {
    try run(.list, prefix, torn: { part in Array(try base.list(prefix, after: last).prefix(part)) }) { try base.list(prefix, after: last) }
  }

  public func delete(_ path: ObjectPath) throws { try run(.delete, path, torn: { _ in nil }) { try base.delete(path) } }

  public func head(_ path: ObjectPath) throws -> ObjectInfo? { try run(.head, path, torn: { _ in .some(nil) }) { try base.head(path) } }

  public var concurrentReads: Int { base.concurrentReads }
}
