// SPDX-License-Identifier: Apache-2.0

import Core

/// Services: the wanted number of replicas, kept alive, spread, and replaced one by one.
extension Scheduler {
  /// Applies a specification. Returns the generation that it has now.
  mutating func setService(_ wanted: ServiceSpec) -> Result<Int, PlatformError> {
    guard Self.isComponent(wanted.name), (0...10_000).contains(wanted.replicas), (1...256).contains(wanted.ranks ?? 1) else {
      return .failure(
        PlatformError(.invalidArgument, "service '\(wanted.name)' with \(wanted.replicas) replicas is not possible"))
    }
    var spec = wanted
    if spec.ranks == 1 { spec.ranks = nil }
    var record = ServiceRecord(spec: spec, nextReplica: 0, removing: false, removed: false)
    if let known = services[spec.name] {
      record = known.record
      let same =
        known.record.spec.kind == spec.kind && known.record.spec.payload == spec.payload && known.record.spec.demand == spec.demand
        && known.record.spec.ranks == spec.ranks
      spec.priority = spec.priority ?? known.record.spec.priority
      if spec.generation == 0 { spec.generation = known.record.spec.generation + (same && !record.removing ? 0 : 1) }
      guard spec.generation >= known.record.spec.generation else {
        return .failure(
          PlatformError(.conflict, "service '\(spec.name)' is at generation \(known.record.spec.generation) already"))
      }
      guard spec.generation > known.record.spec.generation || same else {
        return .failure(
          PlatformError(.conflict, "generation \(spec.generation) of service '\(spec.name)' is something else"))
      }
    } else if spec.generation == 0 {
      spec.generation = 1
    }
    record.spec = spec
    record.removing = false
    record.removed = false
    if services.index(of: spec.name) == nil {
      services.set(spec.name, Service(record: record))
      changes["service:\(spec.name)"] = .service(record)
    } else if let index = services.index(of: spec.name), services[at: index].record != record {
      changeService(index) { $0 = record }
    }
    return .success(spec.generation)
  }

  mutating func removeService(_ name: String) {
    guard let index = services.index(of: name) else { return }
    guard !services[at: index].record.removing, !services[at: index].record.removed else { return }
    changeService(index) { $0.removing = true }
  }

  /// Ready replicas of the wanted generation, on workers that are heard.
  func readyReplicas(_ service: Service) -> Int {
    service.replicas.count { unit in
      unit.state == .ready && unit.isLead && unit.generation == service.record.spec.generation
        && service.ranks(of: unit).allSatisfy { workers[$0.worker ?? ""]?.state == .live }
    }
  }

  /// Steps towards the wanted replicas until nothing changes: new before old, one more than wanted at most while changing.
  mutating func reconcileService(_ index: Int) {
    services[at: index].isWakeStale = true
    guard !services[at: index].record.removed else { return services[at: index].isDirty = false }
    repeat {
      services[at: index].isDirty = false
      reconcileOnce(index)
    } while services[at: index].isDirty && !services[at: index].record.removed
  }

  private mutating func reconcileOnce(_ index: Int) {
    for replica in services[at: index].replicas.indices { forceIfOverdue(index, replica) }
    dropEnded(index)
    let service = services[at: index]
    let wanted = service.record.removing ? 0 : service.record.spec.replicas
    let live = service.replicas.indices.filter { service.replicas[$0].isLead && service.replicas[$0].state != .draining }
    func isCurrent(_ unit: UnitRecord) -> Bool {
      unit.generation == service.record.spec.generation
        && service.ranks(of: unit).allSatisfy { workers[$0.worker ?? ""]?.availability != .draining }
    }
    let movers = live.filter { isCurrent(service.replicas[$0]) && isReplacement(service.replicas[$0], in: service) }
    let current = live.filter { isCurrent(service.replicas[$0]) && !movers.contains($0) }
    let old = live.filter { !isCurrent(service.replicas[$0]) }
    func isServing(_ replica: Int) -> Bool { service.replicas[replica].state == .ready }

    // What does not serve and is not wanted goes at once; what serves goes when there are enough others.
    var drain = old.filter { !isServing($0) }
    let servingOld = old.filter(isServing)
    let servingCurrent = current.filter(isServing).count
    drain += servingOld.prefix(max(0, min(servingOld.count, servingOld.count + servingCurrent - wanted)))
    if current.count > wanted {
      let surplus = current.filter { !isServing($0) }.reversed() + current.filter(isServing).reversed()
      drain += surplus.prefix(current.count - wanted)
    }
    drain += moves(of: index, movers: movers, settled: old.isEmpty && current.count == wanted)
    let remainingOld = servingOld.count { !drain.contains($0) }
    for replica in drain.sorted() { drainReplica(index, replica) }

    let allowed = remainingOld == 0 ? wanted : min(wanted, max(1, wanted + 1 - remainingOld))
    for _ in current.count..<max(allowed, current.count) { addReplica(index) }
    dropEnded(index)
    spread(index)
    if services[at: index].record.removing, services[at: index].replicas.isEmpty { changeService(index) { $0.removed = true } }
  }

  private mutating func dropEnded(_ index: Int) {
    guard services[at: index].replicas.contains(where: \.state.isTerminal) else { return }
    services[at: index].replicas.removeAll { $0.state.isTerminal }
  }

  mutating func addReplica(_ index: Int, replacing old: String? = nil) {
    let record = services[at: index].record
    for rank in 0..<(record.spec.ranks ?? 1) {
      var unit = UnitRecord(
        name: "service/\(record.spec.name)/\(record.nextReplica)" + (rank > 0 ? "/\(rank)" : ""), kind: record.spec.kind,
        payload: record.spec.payload, index: record.nextReplica, service: record.spec.name, generation: record.spec.generation,
        demand: record.spec.demand)
      unit.replaces = old
      if record.spec.ranks != nil { (unit.rank, unit.ranks) = (rank, record.spec.ranks) }
      services[at: index].replicas.append(unit)
      changes["unit:\(unit.name)"] = .unit(unit)
    }
    changeService(index) { $0.nextReplica += 1 }
  }

  mutating func drainReplica(_ service: Int, _ index: Int) {
    let place = Place.replica(service: service, index: index)
    let unit = self[place]
    if unit.ranks != nil { return drainRanks(service, index) }
    guard unit.state.isLeased, let worker = unit.worker else {
      change(place) { $0.state = .ended }
      return
    }
    // The router hears first that it drains: what it has is answered to its end.
    effects.append(.drainReplica(worker: worker, unit: unit.name, attempt: unit.attempt))
    if unit.state == .ready { effects.append(.replicaGone(service: services.keys[service], unit: unit.name, attempt: unit.attempt)) }
    change(place) { [now, configuration] in
      $0.state = .draining
      $0.drainDeadline = now + configuration.drainMs
    }
  }

  private mutating func forceIfOverdue(_ service: Int, _ index: Int) {
    let place = Place.replica(service: service, index: index)
    guard self[place].state == .draining, let deadline = self[place].drainDeadline, deadline <= now else { return }
    stop(self[place])
    change(place) { $0.state = .ended }
  }

  /// A replica ended: it was told to, or it starts again, later each time unless it had been stable.
  mutating func replicaEnded(_ service: Int, _ index: Int, _ outcome: UnitOutcome) {
    let place = Place.replica(service: service, index: index)
    let unit = self[place]
    if unit.ranks != nil { return rankEnded(service, index, outcome) }
    if unit.state == .ready { effects.append(.replicaGone(service: services.keys[service], unit: unit.name, attempt: unit.attempt)) }
    guard unit.state != .draining else {
      change(place) { $0.state = .ended }
      return
    }
    if case .lost = outcome {
      change(place) {
        $0.losses += 1
        $0.requeue(notBefore: nil)
      }
      return
    }
    let stable = unit.readySince.map { now - $0 >= configuration.replicaStableMs } ?? false
    let failures = stable ? 1 : unit.failures + 1
    let time = delay(configuration.replicaBackoff, afterAttempt: failures)
    change(place) {
      $0.failures = failures
      if case .failed(let error) = outcome { $0.error = error }
      $0.requeue(notBefore: time)
    }
  }

  /// In the zone, then on the machine, then on the worker with the fewest replicas of the same generation, then of the same service, then
  /// with the fewest at all. Returns those that find no room.
  mutating func placeReplicas() -> [Place] {
    var without: [Place] = []
    for service in services.indices {
      for index in services[at: service].replicas.indices {
        let place = Place.replica(service: service, index: index)
        guard self[place].state == .waiting, self[place].isLead, self[place].notBefore ?? now <= now else { continue }
        if self[place].ranks != nil {
          without += placeRanks(of: service, lead: index)
        } else if let worker = workerForReplica(of: service, self[place]) {
          lease(place, to: worker, beyondSlots: false)
        } else {
          without.append(place)
        }
      }
    }
    return without
  }

  /// - Parameter count: how many such units have to fit there.
  func workerForReplica(of service: Int, _ unit: UnitRecord, count: Int = 1) -> Int? {
    let generation = services[at: service].record.spec.generation
    let same = replicasByWorker(service) { $0.generation == generation }
    let others = replicasByWorker(service)
    var zones: [String: Int] = [:]
    var hosts: [String: Int] = [:]
    // One that evens out the workers goes to the emptiest of them, wherever that is: two rules would undo each other for ever.
    if unit.replaces == nil {
      for worker in workers.indices {
        let count = same[workers.keys[worker]] ?? 0
        zones[workers[at: worker].labels["zone"] ?? "", default: 0] += count
        hosts[workers[at: worker].hostID, default: 0] += count
      }
    }
    let load = unit.load
    var best: (worker: Int, load: (Int, Int, Int, Int, Int))?
    for worker in workers.indices where workers[at: worker].acceptsWork {
      guard suits(worker, unit.demand), workers[at: worker].room.count(load, upTo: count) == count else { continue }
      let name = workers.keys[worker]
      let (zone, host) = (zones[workers[at: worker].labels["zone"] ?? ""] ?? 0, hosts[workers[at: worker].hostID] ?? 0)
      let load = (zone, host, same[name] ?? 0, others[name] ?? 0, workers[at: worker].replicas)
      if best.map({ load < $0.load }) ?? true { best = (worker, load) }
    }
    return best?.worker
  }
}
