// SPDX-License-Identifier: Apache-2.0

import Core

/// Which statement runs on which worker. A value: who calls it sends the messages and keeps the clock.
///
/// A statement waits until a worker has room, runs there, and is started once more elsewhere when its worker went away.
/// A slot is taken until its worker has answered, also when nobody waits for the answer any more.
struct StatementQueue {
  enum Effect: Equatable {
    case send(id: String, attempt: Int, worker: String)
    case cancel(id: String, attempt: Int, worker: String)
    case fail(id: String, PlatformError)
  }

  struct Key: Hashable {
    var id: String
    var attempt: Int
  }

  private struct Worker {
    var slots: Int
    var running: Set<Key> = []
    var isConnected = true
  }

  private struct Entry {
    var attempt = 0
    var worker: String?
    var since: Int64
  }

  /// Statements that may wait; more are refused at once, which the client sees sooner than a timeout.
  static let waitingLimit = 512
  /// How long a statement waits for any worker to be there.
  static let workerMilliseconds: Int64 = 20_000
  private static let attemptLimit = 2

  private var workers: [String: Worker] = [:]
  private var entries: [String: Entry] = [:]
  private var waiting: [String] = []

  var runningCount: Int { workers.values.reduce(0) { $0 + $1.running.count } }
  var waitingCount: Int { waiting.count }
  /// That are connected.
  var workerCount: Int { workers.values.count { $0.isConnected } }

  /// - Throws: `resourceExhausted` PLT-3230 when too many wait.
  mutating func submit(_ id: String, now: Int64) throws -> [Effect] {
    guard waiting.count < Self.waitingLimit else {
      throw PlatformError(
        .resourceExhausted, "\(Self.waitingLimit) statements wait for a worker already", hint: "Try again in a moment, or add workers.",
        number: "PLT-3230")
    }
    entries[id] = Entry(since: now)
    waiting.append(id)
    return place()
  }

  /// A worker has said hello: what ran there before is gone.
  mutating func workerUp(_ name: String, slots: Int) -> [Effect] {
    let lost = lose(name, reason: "has lost its connection")
    workers[name] = Worker(slots: max(1, slots))
    return lost + place()
  }

  mutating func workerDown(_ name: String) -> [Effect] {
    workers[name]?.isConnected = false
    return lose(name, reason: "has gone away") + place()
  }

  private mutating func lose(_ name: String, reason: String) -> [Effect] {
    let keys = workers[name]?.running.sorted { $0.id < $1.id } ?? []
    workers[name]?.running = []
    return keys.flatMap { lose($0, "worker '\(name)' \(reason)") }
  }

  /// The attempt ended without an answer: once more, or never.
  private mutating func lose(_ key: Key, _ reason: String) -> [Effect] {
    guard let entry = entries[key.id], entry.attempt == key.attempt, entry.worker != nil else { return [] }
    guard entry.attempt < Self.attemptLimit else {
      entries[key.id] = nil
      return [
        .fail(
          id: key.id,
          PlatformError(
            .unavailable, "the statement was lost twice: \(reason)", hint: "See the workers' logs; it may need more memory than there is.",
            number: "PLT-3232"))
      ]
    }
    entries[key.id]?.worker = nil
    waiting.insert(key.id, at: 0)
    return []
  }

  /// - Returns: whether this answer counts, and what follows. A late one of an earlier attempt only frees its slot.
  mutating func finished(_ id: String, attempt: Int, worker: String, isLost: Bool, reason: String = "") -> (counts: Bool, effects: [Effect]) {
    let key = Key(id: id, attempt: attempt)
    workers[worker]?.running.remove(key)
    guard let entry = entries[id], entry.attempt == attempt, entry.worker == worker else { return (false, place()) }
    if isLost { return (false, lose(key, reason) + place()) }
    entries[id] = nil
    return (true, place())
  }

  /// Nobody wants the answer any more.
  mutating func cancel(_ id: String) -> [Effect] {
    guard let entry = entries.removeValue(forKey: id) else { return [] }
    if let worker = entry.worker { return [.cancel(id: id, attempt: entry.attempt, worker: worker)] }
    waiting.removeAll { $0 == id }
    return []
  }

  /// Fails what has waited too long while no worker is there.
  mutating func tick(now: Int64) -> [Effect] {
    guard !waiting.isEmpty, !workers.values.contains(where: \.isConnected) else { return [] }
    let late = waiting.filter { now - (entries[$0]?.since ?? now) > Self.workerMilliseconds }
    guard !late.isEmpty else { return [] }
    waiting.removeAll(where: Set(late).contains)
    return late.map { id in
      entries[id] = nil
      return .fail(
        id: id, PlatformError(.unavailable, "no worker is connected", hint: "See 'platform nodes list'.", number: "PLT-3232"))
    }
  }

  /// Gives waiting statements to the workers with the most room.
  private mutating func place() -> [Effect] {
    var effects: [Effect] = []
    while !waiting.isEmpty {
      let best = workers.filter { $0.value.isConnected && $0.value.running.count < $0.value.slots }
        .min { left, right in
          let (a, b) = (left.value.running.count * right.value.slots, right.value.running.count * left.value.slots)
          return a != b ? a < b : left.key < right.key
        }
      guard let best else { break }
      let id = waiting.removeFirst()
      guard var entry = entries[id] else { continue }
      entry.attempt += 1
      entry.worker = best.key
      entries[id] = entry
      workers[best.key]?.running.insert(Key(id: id, attempt: entry.attempt))
      effects.append(.send(id: id, attempt: entry.attempt, worker: best.key))
    }
    return effects
  }
}
