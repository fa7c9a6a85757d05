// SPDX-License-Identifier: Apache-2.0

import Core

/// What the scheduler holds in memory: the durable records, and beside them what is derived from them so that an event costs
/// what it touches, not what waits.
extension Scheduler {
  struct Task: Sendable, Equatable {
    var record: TaskRecord
    let spec: TaskSpec
    /// Positions of the tasks that it depends on.
    let upstream: [Int]
    /// Units of the current attempt and stage, by index.
    var units: [UnitRecord] = []
    /// Of an iteration: the position of its loop.
    var loop: Int?
    /// How many units wait, are leased, and have succeeded.
    var waiting = 0
    var leased = 0
    var succeeded = 0
    /// Every waiting unit below this position is in `returned`.
    var cursor = 0
    /// Units that wait again, ascending: they were lost, or failed and wait for their time.
    var returned: [Int] = []
    /// How long each of its succeeded shards took, ascending: those that this scheduler saw begin and end.
    var durations: [Int64] = []
    /// Since when the worker of the first waiting shard has had no room.
    var homelessSince: Instant?
    /// Second attempts of this stage so far.
    var rivals = 0
    /// Since when the ranks of a gang have waited to be placed.
    var gangWaitsSince: Instant?
    /// The gang takes what room there is: it has left its workers to be placed anew at once.
    var isHurried = false
    /// When the generation at work was placed; after a restart of the scheduler: when it was asked first.
    var gangPlacedAt: Instant?

    init(record: TaskRecord, spec: TaskSpec, upstream: [Int]) {
      self.record = record
      self.spec = spec
      self.upstream = upstream
    }

    /// Replaces the units and counts them.
    mutating func setUnits(_ new: [UnitRecord]) {
      units = new
      waiting = new.count { $0.state == .waiting }
      leased = new.count { $0.state.isLeased }
      succeeded = new.count { $0.state == .succeeded }
      durations = []
      homelessSince = nil
      gangWaitsSince = nil
      isHurried = false
      gangPlacedAt = nil
      rivals = new.count { $0.rivalAttempt != nil }
      cursor = 0
      returned = new.indices.filter { new[$0].state == .waiting && new[$0].attempt > 0 }
    }

    /// Keeps the counts true after unit `index` went from one state to another.
    mutating func moved(_ index: Int, from old: UnitState, to new: UnitState) {
      guard old != new else { return }
      if old == .waiting { waiting -= 1 }
      if new == .waiting { waiting += 1 }
      if old.isLeased { leased -= 1 }
      if new.isLeased { leased += 1 }
      if old == .succeeded { succeeded -= 1 }
      if new == .succeeded { succeeded += 1 }
      guard old == .waiting ? !returned.isEmpty : new == .waiting else { return }
      let position = returned.firstIndex { $0 >= index } ?? returned.count
      if old == .waiting, position < returned.count, returned[position] == index { returned.remove(at: position) }
      if new == .waiting { returned.insert(index, at: position) }
    }

    /// The first unit that may be placed now.
    mutating func nextWaiting(now: Instant) -> Int? {
      guard waiting > 0 else { return nil }
      for index in returned where units[index].notBefore ?? now <= now { return index }
      while cursor < units.count {
        if units[cursor].state == .waiting, units[cursor].attempt == 0 { return cursor }
        cursor += 1
      }
      return nil
    }

    /// When the first of the units that back off may be placed.
    func nextReturn(after now: Instant) -> Instant? {
      var earliest: Instant?
      for index in returned {
        if let time = units[index].notBefore, time > now { earliest = min(earliest ?? time, time) }
      }
      return earliest
    }
  }

  struct Run: Sendable, Equatable {
    var record: RunRecord
    var tasks: [Task]
    /// Where the next placement pass starts, for fairness.
    var nextTask = 0
    /// Something of it changed since it was looked at.
    var isDirty = true
    /// `wakeAt` has to be computed again.
    var isWakeStale = true
    /// When it has to be looked at if nothing happens before.
    var wakeAt: Instant?
    /// A task waits for the replicas of a service.
    var waitsForService = false
  }

  struct Service: Sendable, Equatable {
    var record: ServiceRecord
    var replicas: [UnitRecord] = []
    var isDirty = true
    var isWakeStale = true
    var wakeAt: Instant?
    /// Replicas that were to spread the service and failed; and when the next one may try.
    var failedMoves = 0
    var nextMove: Instant = .min
    /// Since when a replica finds no room, how often something was stopped for it, and when that may happen again.
    var blockedSince: Instant?
    var evictions = 0
    var lastEviction: Instant?
    var nextEviction: Instant = .min

    init(record: ServiceRecord) { self.record = record }
  }

  /// Slot and fencing state of one unit attempt on a worker.
  struct Lease: Sendable, Equatable {
    var key: UnitAttempt
    var load: Load
    var isReplica: Bool
    /// False once the scheduler does not want it any more; the slot stays taken until the worker says that it ended.
    var active: Bool
    /// The worker has listed or reported it.
    var confirmed: Bool
    var sentAt: Instant
    /// Granted beyond the slots because the whole cluster is smaller than its gang, or found on a worker.
    var beyondSlots: Bool
    /// Found on a worker that came back after its lease had run out: it has fenced itself, and only keeps its slot.
    var foreign = false
    /// A heartbeat has listed it.
    var listed = false
    /// The worker is told to stop it, to make room; it is wanted until then, and counts if it succeeds.
    var evicted = false
    /// Since when the worker has it; after a restart of the scheduler: since then.
    var since: Instant
    /// When the worker began.
    var startedAt: Instant?
    /// It takes no slot, but waits on its worker for one.
    var isAhead = false
    /// It may begin later than it was given: it is ahead, or came behind what is.
    var waits = false
  }

  struct Worker: Sendable, Equatable {
    /// live -> suspect (silent for a lease) -> gone; restored (known from records only) -> live | gone.
    enum State: Sendable, Equatable { case live, suspect, restored }
    var incarnation: Int64
    var room: Room
    var hostID: String
    var labels: [String: String]
    var state: State
    var availability: WorkerAvailability
    var lastHeard: Instant
    var lastBeat: Int64 = .min
    /// By unit.
    private(set) var leases = SortedTable<UnitAttempt, Lease>()
    private(set) var replicas = 0
    /// Leases that wait for a slot.
    private(set) var ahead = 0

    init(
      incarnation: Int64, room: Room, hostID: String, labels: [String: String], state: State, availability: WorkerAvailability,
      lastHeard: Instant
    ) {
      self.incarnation = incarnation
      self.room = room
      self.hostID = hostID
      self.labels = labels
      self.state = state
      self.availability = availability
      self.lastHeard = lastHeard
    }

    var acceptsWork: Bool { state == .live && availability == .open }
    /// Whether it runs nothing but replicas.
    var isIdle: Bool { leases.count == replicas }

    /// Its room once everything that is told to stop has stopped.
    var comingRoom: Room {
      var coming = room
      for lease in leases.values where !lease.active || lease.evicted { coming.give(lease.load) }
      return coming
    }

    /// Its room if nothing but its replicas ran there.
    var idleRoom: Room {
      var idle = room.emptied
      if replicas > 0 { for lease in leases.values where lease.isReplica { idle.take(lease.load) } }
      return idle
    }

    mutating func add(_ lease: Lease) {
      remove(lease.key)
      leases.set(lease.key, lease)
      room.take(lease.load)
      if lease.isReplica { replicas += 1 }
      if lease.isAhead { ahead += 1 }
    }

    @discardableResult
    mutating func remove(_ key: UnitAttempt) -> Lease? {
      guard let lease = leases.remove(key) else { return nil }
      room.give(lease.load)
      if lease.isReplica { replicas -= 1 }
      if lease.isAhead { ahead -= 1 }
      return lease
    }

    /// The slots, processors and memory that it says it has; what is taken stays taken.
    mutating func resize(_ hello: WorkerHello) {
      let cpus = hello.cpus.map { Int64(min(max($0.isFinite ? $0 : 0, 0), 1e6) * 1000) }
      var new = Room(slots: min(hello.slots, 1_000_000), milliCPUs: cpus, memory: min(max(0, hello.memoryBytes ?? 0), 1 << 50))
      new.take(room.used)
      room = new
    }

    /// Changes a lease but not what it takes.
    mutating func change(_ key: UnitAttempt, _ body: (inout Lease) -> Void) { leases.update(key, body) }
  }
}
