// SPDX-License-Identifier: Apache-2.0

/// What one unit needs of its worker, beyond a slot. A unit that says how many processors it needs takes those instead of a slot.
public struct Demand: Codable, Sendable, Equatable {
  public var cpus: Double?
  public var memoryBytes: Int64?
  /// Labels that the worker must have with these values. `node` is its name, `host` its machine.
  public var labels: [String: String]?

  public init(cpus: Double? = nil, memoryBytes: Int64? = nil, labels: [String: String]? = nil) {
    self.cpus = cpus
    self.memoryBytes = memoryBytes
    self.labels = labels
  }

  /// For people: `4 processors, 8.0 GB of memory and the label disk=ssd`.
  public var text: String {
    var parts: [String] = []
    if let cpus { parts.append(cpus == 1 ? "1 processor" : "\(Self.short(cpus)) processors") }
    if let memoryBytes { parts.append("\(Self.gigabytes(memoryBytes)) of memory") }
    for (key, value) in (labels ?? [:]).sorted(by: { $0.key < $1.key }) { parts.append("the label \(key)=\(value)") }
    guard let last = parts.popLast() else { return "a slot" }
    return parts.isEmpty ? last : parts.joined(separator: ", ") + " and " + last
  }

  static func short(_ number: Double) -> String { Int64(exactly: number).map { "\($0)" } ?? "\(number)" }

  static func gigabytes(_ bytes: Int64) -> String {
    let tenths = bytes / 100_000_000
    return tenths > 0 ? "\(tenths / 10).\(tenths % 10) GB" : "\(bytes / 1_000_000) MB"
  }
}

/// What a lease takes of its worker.
struct Load: Sendable, Equatable {
  var slots = 0
  /// Thousandths of a processor, of shards and ranks, and of replicas.
  var milliCPUs: Int64 = 0
  var replicaMilliCPUs: Int64 = 0
  var memory: Int64 = 0

  static let slot = Load(slots: 1)
  static let none = Load()

  init(slots: Int = 0) { self.slots = slots }

  /// Replicas take no slots, so that training never starves serving.
  init(_ demand: Demand?, isReplica: Bool) {
    if let cpus = demand?.cpus {
      // Bounded, so that sums cannot overflow whatever was stored.
      let needed = Int64((min(max(cpus.isFinite ? cpus : 0, 0), 1e6) * 1000).rounded(.up))
      if isReplica { replicaMilliCPUs = needed } else { milliCPUs = needed }
    } else if !isReplica {
      slots = 1
    }
    memory = min(max(0, demand?.memoryBytes ?? 0), 1 << 50)
  }

  static func + (a: Load, b: Load) -> Load {
    var sum = a
    sum.slots += b.slots
    sum.milliCPUs += b.milliCPUs
    sum.replicaMilliCPUs += b.replicaMilliCPUs
    sum.memory += b.memory
    return sum
  }

  static func - (a: Load, b: Load) -> Load {
    var rest = a
    rest.slots -= b.slots
    rest.milliCPUs -= b.milliCPUs
    rest.replicaMilliCPUs -= b.replicaMilliCPUs
    rest.memory -= b.memory
    return rest
  }
}

extension UnitRecord {
  var load: Load { Load(demand, isReplica: service != nil) }
}

/// What a worker has, and what of it is taken. A slot and its part of the processors are the same thing counted twice: whoever takes
/// half of the processors leaves half of the slots. Replicas never take slots, whatever processors they ask for: they would take them for
/// ever, and a worker with few slots would never run anything else. So neither do slots keep replicas away: replicas share processors
/// with what asks for processors, and memory with what asks for memory.
struct Room: Sendable, Equatable {
  var slots: Int
  var milliCPUs: Int64
  var memory: Int64
  private(set) var used = Load.none

  init(slots: Int, milliCPUs: Int64? = nil, memory: Int64 = 0) {
    self.slots = max(0, slots)
    self.milliCPUs = milliCPUs ?? Int64(self.slots) * 1000
    self.memory = memory
  }

  func fits(_ load: Load) -> Bool {
    let sum = used + load
    if load.memory > 0, sum.memory > memory { return false }
    guard load.slots > 0 || load.milliCPUs > 0 || load.replicaMilliCPUs > 0 else { return true }
    guard slots > 0 else { return false }
    // Both sides times the slots: a slot is its part of the processors.
    let (all, taken) = (Int64(slots) * milliCPUs, Int64(sum.slots) * milliCPUs + sum.milliCPUs * Int64(slots))
    if load.slots > 0 { return taken <= all }
    if load.milliCPUs > 0 { return taken + sum.replicaMilliCPUs * Int64(slots) <= all }
    return sum.milliCPUs + sum.replicaMilliCPUs <= milliCPUs
  }

  /// Thousandths of slots that are free; less than 0 when more is taken than there is.
  var free: Int64 { Int64(slots - used.slots) * 1000 - (milliCPUs > 0 ? used.milliCPUs * Int64(slots) * 1000 / milliCPUs : 0) }

  /// How many such loads fit, up to `limit`.
  func count(_ load: Load, upTo limit: Int) -> Int {
    var room = self
    var count = 0
    while count < limit, room.fits(load) {
      room.take(load)
      count += 1
    }
    return count
  }

  mutating func take(_ load: Load) { used = used + load }

  mutating func give(_ load: Load) { used = used - load }
}

extension Scheduler {
  /// Whether the labels of a worker are those that are asked for.
  func suits(_ worker: Int, _ demand: Demand?) -> Bool {
    guard let labels = demand?.labels else { return true }
    return labels.allSatisfy { key, value in
      switch key {
      case "node": workers.keys[worker] == value
      case "host": workers[at: worker].hostID == value
      default: workers[at: worker].labels[key] == value
      }
    }
  }

  /// Why no worker that is connected will ever take such a unit; nil when one could, or when none is connected at all.
  func unmet(_ demand: Demand?, isReplica: Bool) -> String? {
    guard let demand else { return nil }
    let known = workers.indices.filter { workers[at: $0].state != .restored }
    let load = Load(demand, isReplica: isReplica)
    guard !known.isEmpty, !known.contains(where: { suits($0, demand) && workers[at: $0].room.emptied.fits(load) }) else { return nil }
    let suitable = known.filter { suits($0, demand) }
    if suitable.isEmpty { return "no connected worker has \(Demand(labels: demand.labels).text)" }
    let cpus = suitable.map { workers[at: $0].room.milliCPUs }.max() ?? 0
    let memory = suitable.map { workers[at: $0].room.memory }.max() ?? 0
    return "no connected worker has \(demand.text); the most is \(Demand(cpus: Double(cpus) / 1000, memoryBytes: memory).text)"
  }
}

extension Room {
  /// Whether more is taken than there is.
  var isOverfull: Bool {
    Int64(used.slots) * milliCPUs + used.milliCPUs * Int64(slots) > Int64(slots) * milliCPUs || used.milliCPUs + used.replicaMilliCPUs > milliCPUs
      || used.memory > memory
  }

  var emptied: Room { Room(slots: slots, milliCPUs: milliCPUs, memory: memory) }
}
