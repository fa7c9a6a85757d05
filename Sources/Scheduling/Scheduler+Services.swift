// SPDX-License-Identifier: Apache-2.0

import Core

/// Services: the wanted number of replicas, kept alive, spread, and replaced one by one.
extension Scheduler {
  /// Applies a specification. Returns the generation that it has now.
  mutating func setService(_ wanted: ServiceSpec) -> Result<Int, PlatformError> {
    guard Self.isComponent(wanted.name), (0...10_000).contains(wanted.replicas) else {
      return .failure(
        PlatformError(.invalidArgument, "service '\(wanted.name)' with \(wanted.replicas) replicas is not possible"))
    }
    var spec = wanted
    var record = ServiceRecord(spec: spec, nextReplica: 0, removing: false, removed: false)
    if let known = services[spec.name] {
      record = known.record
      let same = known.record.spec.kind == spec.kind && known.record.spec.payload == spec.payload
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
    var service = services[spec.name] ?? Service(record: record)
    if services[spec.name] == nil || service.record != record {
      service.record = record
      services.set(spec.name, service)
      changes["service:\(spec.name)"] = .service(record)
    }
    return .success(spec.generation)
  }

  mutating func removeService(_ name: String) {
    guard let service = services[name], !service.record.removing, !service.record.removed else { return }
    changeService(name) { $0.removing = true }
  }

  private mutating func changeService(_ name: String, _ body: (inout ServiceRecord) -> Void) {
    services.update(name) { body(&$0.record) }
    if let record = services[name]?.record { changes["service:\(name)"] = .service(record) }
  }

  /// Ready replicas of the wanted generation, on workers that are heard.
  func readyReplicas(_ service: Service) -> Int {
    service.replicas.count {
      $0.state == .ready && $0.generation == service.record.spec.generation && workers[$0.worker ?? ""]?.state == .live
    }
  }

  /// One step towards the wanted replicas: new before old, one more than wanted at most while changing.
  mutating func reconcileService(_ name: String) {
    guard let service = services[name], !service.record.removed else { return }
    for index in service.replicas.indices { forceIfOverdue(name, index) }
    services.update(name) { $0.replicas.removeAll { $0.state.isTerminal } }
    guard let service = services[name] else { return }
    let wanted = service.record.removing ? 0 : service.record.spec.replicas
    let live = service.replicas.indices.filter { service.replicas[$0].state != .draining }
    func isCurrent(_ unit: UnitRecord) -> Bool {
      unit.generation == service.record.spec.generation && workers[unit.worker ?? ""]?.draining != true
    }
    let current = live.filter { isCurrent(service.replicas[$0]) }
    let old = live.filter { !isCurrent(service.replicas[$0]) }
    func isServing(_ index: Int) -> Bool { service.replicas[index].state == .ready }

    // What does not serve and is not wanted goes at once; what serves goes when there are enough others.
    var drain = old.filter { !isServing($0) }
    let servingOld = old.filter(isServing)
    let servingCurrent = current.filter(isServing).count
    drain += servingOld.prefix(max(0, min(servingOld.count, servingOld.count + servingCurrent - wanted)))
    if current.count > wanted {
      let surplus = current.filter { !isServing($0) }.reversed() + current.filter(isServing).reversed()
      drain += surplus.prefix(current.count - wanted)
    }
    let remainingOld = servingOld.count { !drain.contains($0) }
    for index in drain.sorted() { drainReplica(name, index) }

    let allowed = remainingOld == 0 ? wanted : min(wanted, max(1, wanted + 1 - remainingOld))
    for _ in current.count..<max(allowed, current.count) { addReplica(name) }
    services.update(name) { $0.replicas.removeAll { $0.state.isTerminal } }
    if let after = services[name], after.record.removing, after.replicas.isEmpty {
      changeService(name) { $0.removed = true }
    }
  }

  private mutating func addReplica(_ name: String) {
    guard let record = services[name]?.record else { return }
    let unit = UnitRecord(
      name: "service/\(name)/\(record.nextReplica)", kind: record.spec.kind, payload: record.spec.payload,
      index: record.nextReplica, service: name, generation: record.spec.generation)
    services.update(name) { $0.replicas.append(unit) }
    changes["unit:\(unit.name)"] = .unit(unit)
    changeService(name) { $0.nextReplica += 1 }
  }

  private mutating func drainReplica(_ name: String, _ index: Int) {
    let place = Place.replica(service: name, index: index)
    let unit = record(place)
    guard unit.state.isLeased, let worker = unit.worker else {
      change(place) { $0.state = .ended }
      return
    }
    if unit.state == .ready { effects.append(.replicaGone(service: name, unit: unit.name, attempt: unit.attempt)) }
    change(place) { [now, configuration] in
      $0.state = .draining
      $0.drainDeadline = now + configuration.drainMs
    }
    effects.append(.drainReplica(worker: worker, unit: unit.name, attempt: unit.attempt))
  }

  private mutating func forceIfOverdue(_ name: String, _ index: Int) {
    let unit = services[name]!.replicas[index]
    guard unit.state == .draining, let deadline = unit.drainDeadline, deadline <= now else { return }
    stop(unit)
    change(.replica(service: name, index: index)) { $0.state = .ended }
  }

  /// A replica ended: it was told to, or it starts again, later each time unless it had been stable.
  mutating func replicaEnded(_ name: String, _ index: Int, _ outcome: UnitOutcome) {
    let place = Place.replica(service: name, index: index)
    let unit = record(place)
    if unit.state == .ready { effects.append(.replicaGone(service: name, unit: unit.name, attempt: unit.attempt)) }
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

  /// On the worker with the fewest replicas of the same service, then with the fewest at all.
  mutating func placeReplicas() {
    for name in services.keys {
      guard let service = services[name], !service.record.removed else { continue }
      for index in service.replicas.indices
      where service.replicas[index].state == .waiting && service.replicas[index].notBefore ?? now <= now {
        var best: (name: String, same: Int, all: Int)?
        for (worker, state) in workers where state.acceptsWork {
          let replicas = state.leases.filter { $0.value.slots == 0 }
          let same = replicas.count { $0.key.unit.hasPrefix("service/\(name)/") }
          if best.map({ (same, replicas.count) < ($0.same, $0.all) }) ?? true { best = (worker, same, replicas.count) }
        }
        guard let best else { return }
        lease(.replica(service: name, index: index), to: best.name, slots: 0, beyondSlots: false)
      }
    }
  }
}
