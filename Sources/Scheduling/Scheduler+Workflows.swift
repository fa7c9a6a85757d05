// SPDX-License-Identifier: Apache-2.0

public import Core

/// Runs, tasks, stages, retries and cancellation.
extension Scheduler {
  // MARK: Runs

  mutating func submit(_ spec: RunSpec) {
    if let known = runIndex[spec.id] {
      effects.append(.runStateChanged(run: spec.id, state: runs[known].record.state, error: runs[known].record.error))
      return
    }
    if let error = Self.problem(with: spec) {
      effects.append(.refused(name: spec.id, error: error))
      return
    }
    let record = RunRecord(
      spec: spec, state: .pending, sequence: nextSequence, submittedAt: now, finishedAt: nil, cancelRequested: false,
      error: nil)
    nextSequence += 1
    runs.append(Run(record: record, tasks: Self.tasks(of: spec) { TaskRecord(pending: $0, of: spec.id) }))
    runIndex[spec.id] = runs.count - 1
    let tasks = runs[runs.count - 1].tasks
    changes["run:\(spec.id)"] = .run(record)
    for task in tasks { changes["task:\(spec.id)/\(task.spec.key)"] = .task(task.record) }
    effects.append(.runStateChanged(run: spec.id, state: .pending, error: nil))
  }

  /// The tasks of a run with their dependencies as positions.
  static func tasks(of spec: RunSpec, record: (String) -> TaskRecord) -> [Task] {
    let positions = Dictionary(uniqueKeysWithValues: spec.tasks.enumerated().map { ($1.key, $0) })
    return spec.tasks.map { task in
      Task(record: record(task.key), spec: task, upstream: task.dependsOn.compactMap { positions[$0] })
    }
  }

  /// Why a run cannot be accepted: names that cannot be part of unit names, repeated keys, unknown or circular dependencies.
  public static func problem(with spec: RunSpec) -> PlatformError? {
    guard isComponent(spec.id) else {
      return PlatformError(.invalidArgument, "'\(spec.id)' cannot be the identifier of a run")
    }
    guard !spec.tasks.isEmpty else { return PlatformError(.invalidArgument, "run '\(spec.name)' has no tasks") }
    var seen: Set<String> = []
    for task in spec.tasks {
      guard isComponent(task.key) else { return PlatformError(.invalidArgument, "'\(task.key)' cannot be a task key") }
      guard seen.insert(task.key).inserted else {
        return PlatformError(.invalidArgument, "task key '\(task.key)' is used twice")
      }
    }
    for task in spec.tasks {
      if let wrong = (task.outcomes ?? [:]).keys.sorted().first(where: { key in
        !task.dependsOn.contains(key) || spec.tasks.first { $0.key == key }?.condition == nil
      }) {
        return PlatformError(.invalidArgument, "task '\(task.key)' waits for an outcome of '\(wrong)', which is no condition that it depends on")
      }
      if task.condition != nil, task.forEach != nil {
        return PlatformError(.invalidArgument, "task '\(task.key)' cannot be a condition and a loop")
      }
      if task.key.contains("["), spec.tasks.contains(where: { $0.forEach != nil && task.key.hasPrefix($0.key + "[") }) {
        return PlatformError(.invalidArgument, "task key '\(task.key)' is the name of an iteration")
      }
      if let unknown = task.dependsOn.first(where: { !seen.contains($0) }) {
        return PlatformError(.invalidArgument, "task '\(task.key)' depends on '\(unknown)', which does not exist")
      }
    }
    var done: Set<String> = []
    while done.count < spec.tasks.count {
      let ready = spec.tasks.filter { !done.contains($0.key) && $0.dependsOn.allSatisfy(done.contains) }
      if ready.isEmpty {
        let circle = spec.tasks.map(\.key).filter { !done.contains($0) }.joined(separator: ", ")
        return PlatformError(.invalidArgument, "the tasks \(circle) depend on each other in a circle")
      }
      done.formUnion(ready.map(\.key))
    }
    return nil
  }

  /// Names become parts of unit names, which are split at `/`.
  public static func isComponent(_ name: String) -> Bool { !name.isEmpty && name.utf8.count <= 200 && !name.contains("/") }

  mutating func requestCancel(_ id: String) {
    guard let run = runIndex[id], !runs[run].record.state.isTerminal else { return }
    changeRun(run) {
      $0.cancelRequested = true
      $0.state = .cancelling
    }
    // A commit that is under way decides by itself whether its task is done.
    for task in runs[run].tasks.indices
    where !runs[run].tasks[task].record.state.isTerminal && runs[run].tasks[task].record.state != .committing {
      finish(run, task, .cancelled, error: nil)
    }
  }

  /// Starts what can start, ends what is over, until nothing changes.
  mutating func progressRun(_ run: Int) {
    defer {
      runs[run].isDirty = false
      runs[run].isWakeStale = true
    }
    guard !runs[run].record.state.isTerminal else { return }
    if runs[run].record.state == .pending {
      guard isAdmitted(run) else {
        if runs[run].record.spec.queues == false { skip(run) }
        return
      }
      changeRun(run) { [now] in
        $0.state = .running
        $0.startedAt = now
      }
    }
    if let deadline = deadline(ofRun: run), deadline <= now { timeOut(run) }
    var changed = true
    while changed {
      changed = false
      for task in runs[run].tasks.indices where progressTask(run, task) { changed = true }
    }
    runs[run].waitsForService = runs[run].tasks.contains { $0.record.state == .running && $0.record.shape == .service }
    guard runs[run].tasks.allSatisfy(\.record.state.isTerminal) else { return }
    let late = runs[run].record.error.flatMap { $0.number == Self.runTimeout ? $0 : nil }
    let state: RunState =
      late != nil || hasUnhandledFailure(run)
      ? .failed : runs[run].tasks.contains { $0.record.state == .cancelled } ? .cancelled : .succeeded
    let error = late ?? (state == .failed ? runs[run].tasks.first { $0.record.state == .failed }?.record.error : nil)
    changeRun(run) { [now] in
      $0.state = state
      $0.error = error
      $0.finishedAt = now
    }
  }

  /// Numbers of the errors that time limits make.
  public static let runTimeout = "PLT-4202"
  public static let taskTimeout = "PLT-4223"

  /// When a run has to have ended.
  func deadline(ofRun run: Int) -> Instant? {
    let record = runs[run].record
    guard record.state == .running, let limit = record.spec.timeoutMs else { return nil }
    return (record.startedAt ?? record.submittedAt) + limit
  }

  /// The run takes too long: what runs is stopped, except a commit that is under way.
  private mutating func timeOut(_ run: Int) {
    let limit = (runs[run].record.spec.timeoutMs ?? 0) / 1000
    let error = PlatformError(.timeout, "the run did not finish within its \(limit) s", hint: "Raise timeout_seconds.", number: Self.runTimeout)
    changeRun(run) {
      $0.cancelRequested = true
      $0.state = .cancelling
      $0.error = error
    }
    for task in runs[run].tasks.indices {
      let state = runs[run].tasks[task].record.state
      if !state.isTerminal, state != .committing { finish(run, task, .cancelled, error: state == .pending ? nil : error) }
    }
  }

  /// Whether a task failed, or was skipped because of a failure, and no task after it took care of that by succeeding.
  private func hasUnhandledFailure(_ run: Int) -> Bool {
    let tasks = runs[run].tasks
    return tasks.indices.contains { task in
      let record = tasks[task].record
      guard record.state == .failed || record.state == .skipped && record.excluded != true else { return false }
      // An iteration's failure is its loop's.
      if tasks[task].loop != nil { return false }
      return !tasks.contains { $0.record.state == .succeeded && $0.upstream.contains(task) }
    }
  }

  // MARK: Tasks

  /// One step of one task, when one is due. Returns whether something changed.
  private mutating func progressTask(_ run: Int, _ task: Int) -> Bool {
    let state = runs[run].tasks[task].record.state
    if state == .planning || state == .running, let deadline = runs[run].tasks[task].record.deadline, deadline <= now {
      let key = runs[run].tasks[task].record.key
      let limit = (runs[run].tasks[task].spec.timeoutMs ?? 0) / 1000
      failAttempt(
        run, task,
        PlatformError(.timeout, "task '\(key)' did not finish within its \(limit) s", hint: "Raise timeout_seconds.", number: Self.taskTimeout))
      return true
    }
    let notBefore = runs[run].tasks[task].record.notBefore
    switch state {
    case .pending: return startIfReady(run, task)
    case .retrying:
      guard notBefore ?? now <= now else { return false }
      startAttempt(run, task, attempt: runs[run].tasks[task].record.attempt + 1)
      return true
    case .planning:
      guard let time = notBefore, time <= now else { return false }
      changeTask(run, task) { $0.notBefore = nil }
      effects.append(.planStage(stageCall(run, task)))
      return true
    case .committing:
      guard let time = notBefore, time <= now else { return false }
      changeTask(run, task) { $0.notBefore = nil }
      commit(run, task)
      return true
    case .running: return runs[run].tasks[task].spec.forEach == nil ? finishStageIfDone(run, task) : progressLoop(run, task)
    case .succeeded, .failed, .cancelled, .skipped: return false
    }
  }

  private mutating func startIfReady(_ run: Int, _ task: Int) -> Bool {
    // An iteration is started by its loop.
    guard runs[run].tasks[task].loop == nil else { return false }
    let spec = runs[run].tasks[task].spec
    if spec.disabled == true, !runs[run].tasks[task].upstream.contains(where: { !runs[run].tasks[$0].record.state.isTerminal }) {
      changeTask(run, task) { $0.excluded = true }
      finish(run, task, .skipped, error: nil)
      return true
    }
    switch (spec.runIf ?? .allSuccess).decide(runs[run].tasks[task].upstream.map { upstream(run, $0, of: spec) }) {
    case .wait: return false
    case .skip: finish(run, task, .skipped, error: nil)
    case .exclude:
      changeTask(run, task) { $0.excluded = true }
      finish(run, task, .skipped, error: nil)
    case .run:
      if runs[run].record.cancelRequested {
        finish(run, task, .cancelled, error: nil)
      } else if let condition = spec.condition {
        decide(run, task, condition)
      } else if let loop = spec.forEach {
        startLoop(run, task, loop)
      } else {
        startAttempt(run, task, attempt: (runs[run].tasks[task].record.base ?? 0) + 1)
      }
    }
    return true
  }

  private func upstream(_ run: Int, _ other: Int, of spec: TaskSpec) -> RunIf.Upstream {
    let record = runs[run].tasks[other].record
    switch record.state {
    case .succeeded:
      guard let wanted = spec.outcomes?[record.key] else { return .succeeded }
      return record.values["outcome"]?.boolValue == wanted ? .succeeded : .excluded
    case .failed, .cancelled: return .failed
    case .skipped: return record.excluded == true ? .excluded : .failed
    case .pending, .planning, .running, .committing, .retrying: return .open
    }
  }

  /// A condition is decided at once.
  private mutating func decide(_ run: Int, _ task: Int, _ condition: Condition) {
    let outcome = Result { try condition.evaluate(scope(run, task)) }
    changeTask(run, task) { [now] in
      $0.attempt = ($0.base ?? 0) + 1
      $0.startedAt = now
      if case .success(let value) = outcome { $0.values = ["outcome": .bool(value)] }
    }
    switch outcome {
    case .success: finish(run, task, .succeeded, error: nil)
    case .failure(let error): finish(run, task, .failed, error: PlatformError.from(error))
    }
  }

  /// Values of the tasks that have succeeded, by key.
  func values(ofRun run: Int) -> [String: JSONValue] {
    var values: [String: JSONValue] = [:]
    for task in runs[run].tasks where task.record.state == .succeeded && task.loop == nil { values[task.record.key] = task.record.values }
    return values
  }

  /// What references in the body of a task stand for.
  func scope(_ run: Int, _ task: Int) -> TemplateScope { TemplateScope(values: values(ofRun: run), facts: facts(run, task)) }

  /// What the run was given, what is known of its start and of the task, and how the tasks that it depends on have ended.
  private func facts(_ run: Int, _ task: Int) -> [String: String] {
    let record = runs[run].record
    let current = runs[run].tasks[task]
    var facts = record.spec.facts ?? [:]
    facts["job.run_id"] = record.spec.id
    facts["job.repair_count"] = String(record.repairs ?? 0)
    facts["task.name"] = current.record.key
    facts["task.execution_count"] = String(max(1, current.record.attempt))
    for (name, value) in CivilTime.facts(record.startedAt ?? record.submittedAt) { facts["job.start_time.\(name)"] = value }
    let loop = current.loop.map { runs[run].tasks[$0] } ?? current
    for position in loop.upstream {
      let other = runs[run].tasks[position].record
      facts["tasks.\(other.key).result_state"] = Self.resultState(other)
    }
    return facts
  }

  private static func resultState(_ record: TaskRecord) -> String {
    switch record.state {
    case .succeeded: "success"
    case .failed: record.error?.number == taskTimeout ? "timedout" : "failed"
    case .cancelled: "canceled"
    case .skipped: record.excluded == true ? "excluded" : "upstream_failed"
    case .pending, .planning, .running, .committing, .retrying: "running"
    }
  }

  mutating func startAttempt(_ run: Int, _ task: Int, attempt: Int) {
    let timeout = runs[run].tasks[task].spec.timeoutMs
    changeTask(run, task) { [now] in
      $0.attempt = attempt
      $0.deadline = timeout.map { now + $0 }
      if $0.startedAt == nil { $0.startedAt = now }
      $0.error = nil
    }
    startPlanning(run, task)
  }

  private mutating func startPlanning(_ run: Int, _ task: Int) {
    dropUnits(run, task)
    changeTask(run, task) {
      $0.state = .planning
      $0.shape = .none
      $0.unitCount = 0
      $0.notBefore = nil
      $0.readyDeadline = nil
      $0.infrastructureFailures = 0
      $0.generation = 0
      $0.gang = nil
      $0.ranks = nil
      $0.service = nil
      $0.serviceGeneration = 0
      $0.serviceReplicas = 0
    }
    effects.append(.planStage(stageCall(run, task)))
  }

  /// Cancels what still runs and forgets the units of the task's last stage.
  private mutating func dropUnits(_ run: Int, _ task: Int) {
    for index in runs[run].tasks[task].units.indices {
      let unit = runs[run].tasks[task].units[index]
      stop(unit)
      guard !unit.state.isTerminal else { continue }
      change(.task(run: run, task: task, unit: index)) {
        $0.state = .cancelled
        $0.rival = nil
      }
    }
    runs[run].tasks[task].setUnits([])
  }

  func stageCall(_ run: Int, _ task: Int) -> StageCall {
    let current = runs[run].tasks[task]
    var call = StageCall(
      id: current.record.stageID, kind: current.spec.kind, body: current.spec.body, carry: current.record.carry,
      values: values(ofRun: run), facts: facts(run, task), repair: current.record.repairs ?? 0)
    call.isPure = configuration.purePlans.contains(current.spec.kind)
    call.partsPerBatch = current.spec.partsPerBatch
    return call
  }

  mutating func finish(_ run: Int, _ task: Int, _ state: TaskState, error: PlatformError?) {
    dropUnits(run, task)
    changeTask(run, task) { [now] in
      $0.state = state
      $0.error = error
      $0.finishedAt = now
      $0.notBefore = nil
      $0.deadline = nil
      $0.readyDeadline = nil
    }
  }

  /// The attempt is over; another one follows when the task may retry.
  mutating func failAttempt(_ run: Int, _ task: Int, _ error: PlatformError) {
    let spec = runs[run].tasks[task].spec
    let record = runs[run].tasks[task].record
    guard !runs[run].record.cancelRequested else { return finish(run, task, .cancelled, error: nil) }
    let attempt = record.attempt - (record.base ?? 0)
    let tooLate = error.number == Self.taskTimeout && spec.retryOnTimeout == false
    guard attempt <= spec.maxRetries, !error.isPermanent, !tooLate else { return finish(run, task, .failed, error: error) }
    dropUnits(run, task)
    let time = delay(spec.retryBackoff, afterAttempt: attempt)
    changeTask(run, task) {
      $0.state = .retrying
      $0.error = error
      $0.notBefore = time
      $0.deadline = nil
      $0.readyDeadline = nil
    }
  }

  // MARK: Planning

  /// The task that an answer is for, when it is still waiting for exactly this answer.
  private func waiting(_ id: StageID, in state: TaskState) -> (run: Int, task: Int)? {
    guard let run = runIndex[id.run],
      let task = runs[run].tasks.firstIndex(where: { $0.record.key == id.task })
    else { return nil }
    let record = runs[run].tasks[task].record
    // With `notBefore` set the previous call was answered already; a second answer is a repetition.
    return record.stageID == id && record.state == state && record.notBefore == nil ? (run, task) : nil
  }

  mutating func stagePlanned(_ id: StageID, _ plan: StagePlan) {
    guard let (run, task) = waiting(id, in: .planning) else { return }
    switch plan {
    case .none: startCommitting(run, task)
    case .shards(let specs): startUnits(run, task, specs, shape: .shards)
    case .gang(let specs, let terms): startUnits(run, task, specs, shape: .gang, terms.checked(of: specs.count))
    case .service(var spec):
      spec.demand = spec.demand ?? runs[run].tasks[task].spec.demand
      spec.priority = spec.priority ?? runs[run].record.spec.priority ?? 0
      switch setService(spec) {
      case .failure(let error): failAttempt(run, task, error)
      case .success(let generation):
        changeTask(run, task) { [now] in
          $0.state = .running
          $0.shape = .service
          $0.service = spec.name
          $0.serviceGeneration = generation
          $0.serviceReplicas = max(0, spec.replicas)
          $0.readyDeadline = now + max(0, spec.readyTimeoutMs)
        }
      }
    }
  }

  private mutating func startUnits(_ run: Int, _ task: Int, _ specs: [UnitSpec], shape: StageShape, _ terms: GangTerms? = nil) {
    guard !specs.isEmpty else { return startCommitting(run, task) }
    let id = runs[run].tasks[task].record.stageID
    changeTask(run, task) {
      $0.state = .running
      $0.shape = shape
      $0.unitCount = specs.count
      $0.gang = terms
    }
    let prefix = "\(id.run)/\(id.task)/\(id.attempt)/\(id.stage)/"
    let demand = runs[run].tasks[task].spec.demand
    runs[run].tasks[task].setUnits(
      specs.enumerated().map { index, spec in
        var unit = UnitRecord(
          name: prefix + String(index), kind: spec.kind, payload: spec.payload, index: index, run: id.run, task: id.task,
          taskAttempt: id.attempt, stage: id.stage, demand: spec.takesRoom ? demand : Demand(cpus: 0, labels: demand?.labels))
        if spec.repeatable, shape == .shards { unit.repeatable = true }
        if shape == .shards { unit.affinity = spec.affinity }
        return unit
      })
    runs[run].isDirty = true
    for unit in runs[run].tasks[task].units { changes["unit:\(unit.name)"] = .unit(unit) }
  }

  mutating func stagePlanFailed(_ id: StageID, _ error: PlatformError) {
    guard let (run, task) = waiting(id, in: .planning) else { return }
    let located = error.code == .failed ? error : error.wrapping("planning stage \(id.stage) of '\(id.task)'")
    retryInfrastructure(run, task, located, retryable: error.isRetryable)
  }

  private mutating func retryInfrastructure(_ run: Int, _ task: Int, _ error: PlatformError, retryable: Bool) {
    let failures = runs[run].tasks[task].record.infrastructureFailures + 1
    guard retryable, failures < configuration.infrastructureFailureLimit else { return failAttempt(run, task, error) }
    let time = delay(configuration.infrastructureBackoff, afterAttempt: failures)
    changeTask(run, task) {
      $0.infrastructureFailures = failures
      $0.notBefore = time
      $0.error = error
    }
  }

  // MARK: Committing

  private mutating func finishStageIfDone(_ run: Int, _ task: Int) -> Bool {
    if runs[run].tasks[task].record.shape == .service {
      let current = runs[run].tasks[task].record
      guard let name = current.service, let service = services[name], !service.record.removing,
        service.record.spec.generation == current.serviceGeneration
      else {
        let error = PlatformError(.conflict, "service '\(current.service ?? "")' was changed while it was being deployed")
        failAttempt(run, task, error)
        return true
      }
      if readyReplicas(service) >= current.serviceReplicas {
        startCommitting(run, task)
        return true
      }
      guard let deadline = current.readyDeadline, deadline <= now else { return false }
      let last = service.replicas.last { $0.error != nil }?.error
      let reason = last.map { ": \($0.message)" } ?? ""
      failAttempt(run, task, PlatformError(.timeout, "the replicas of '\(name)' did not become ready in time" + reason))
      return true
    }
    guard runs[run].tasks[task].succeeded == runs[run].tasks[task].ranks else { return false }
    startCommitting(run, task)
    return true
  }

  private mutating func startCommitting(_ run: Int, _ task: Int) {
    changeTask(run, task) {
      $0.state = .committing
      $0.infrastructureFailures = 0
      $0.notBefore = nil
      $0.readyDeadline = nil
    }
    commit(run, task)
  }

  mutating func commit(_ run: Int, _ task: Int) {
    effects.append(.commitStage(stageCall(run, task), results: runs[run].tasks[task].units.prefix(runs[run].tasks[task].ranks).map(\.result)))
  }

  mutating func stageCommitted(_ id: StageID, _ outcome: StageOutcome) {
    guard let (run, task) = waiting(id, in: .committing) else { return }
    switch outcome {
    case .taskDone(let values):
      changeTask(run, task) { $0.values = values }
      finish(run, task, .succeeded, error: nil)
    case .nextStage(let carry):
      changeTask(run, task) { $0.carry = carry }
      if runs[run].record.cancelRequested { return finish(run, task, .cancelled, error: nil) }
      changeTask(run, task) {
        $0.stage += 1
        $0.state = .planning
        $0.error = nil
      }
      startPlanning(run, task)
    }
  }

  mutating func stageCommitFailed(_ id: StageID, _ error: PlatformError, retryable: Bool) {
    guard let (run, task) = waiting(id, in: .committing) else { return }
    let located = error.code == .failed ? error : error.wrapping("committing stage \(id.stage) of '\(id.task)'")
    retryInfrastructure(run, task, located, retryable: retryable)
  }

  /// Where a task of a run that has not ended is, and in which attempt.
  public func position(run id: String, task key: String) -> (state: TaskState, attempt: Int)? {
    guard let run = runIndex[id], let task = runs[run].tasks.first(where: { $0.record.key == key }) else { return nil }
    return (task.record.state, task.record.attempt)
  }

  /// What workers may be given, of those that may not have everything.
  public var restrictedWorkers: [String: WorkerAvailability] {
    Dictionary(availability.map { ($0.key, $0.value.availability) }, uniquingKeysWith: { $1 })
  }

  /// Why a task is not running yet, for people.
  public func waitingReason(run id: String, task key: String) -> String? {
    guard let run = runIndex[id].map({ runs[$0] }),
      let task = run.tasks.first(where: { $0.record.key == key })
    else { return nil }
    switch task.record.state {
    case .pending where run.record.state == .pending: return "waits for other runs of '\(run.record.spec.job ?? "")' to end"
    case .pending where task.loop != nil: return "waits for earlier iterations"
    case .pending:
      let open = task.spec.dependsOn.filter { name in
        run.tasks.contains { $0.record.key == name && !$0.record.state.isTerminal }
      }
      return "waits for " + open.joined(separator: ", ")
    case .retrying:
      return
        "attempt \(task.record.attempt) failed; the next one starts in \(max(0, (task.record.notBefore ?? now) - now)) ms"
    case .running where task.record.shape == .service:
      let ready = services[task.record.service ?? ""].map(readyReplicas) ?? 0
      let service = services[task.record.service ?? ""]
      let waits = service?.replicas.contains { $0.state == .waiting } ?? false
      let reason = waits ? unmet(service?.record.spec.demand, isReplica: true) : nil
      return "\(ready) of \(task.record.serviceReplicas) replicas are ready" + (reason.map { "; \($0)" } ?? "")
    case .running where task.spec.forEach != nil:
      let ended = run.tasks.count { $0.loop != nil && $0.record.state.isTerminal && run.tasks[$0.loop!].record.key == key }
      return "\(ended) of \(task.record.items?.count ?? 0) iterations have ended"
    case .running:
      let waiting = task.units.count { $0.state == .waiting }
      guard waiting > 0 else { return nil }
      if task.record.shape == .gang, waiting < task.units.count {
        return "works with \(task.ranks) of \(task.units.count) ranks, and with more from a checkpoint on when there is room"
      }
      if let service = task.units.first(where: { $0.state == .waiting && $0.preemptedBy != nil })?.preemptedBy {
        let count = task.units.count { $0.state == .waiting && $0.preemptedBy == service }
        return "\(count) of \(task.units.count) units were stopped to make room for service '\(service)', and wait for room"
      }
      if !workers.contains(where: { $0.value.acceptsWork }) { return "no worker is connected" }
      if let reason = unmet(task.spec.demand, isReplica: false) { return reason }
      if task.record.shape == .gang, holdsStopping(run: id, task: key) || waitsForUnheard(task.record) {
        return "ranks of the last generation are still stopping"
      }
      if task.record.shape == .gang, let demand = task.spec.demand, gangCapacity(task) < task.units.count {
        return "the connected workers together have no room for \(task.units.count) ranks with \(demand.text) each"
      }
      return "\(waiting) of \(task.units.count) units wait for " + (task.spec.demand.map { "a worker with \($0.text)" } ?? "a free slot")
    case .planning, .committing, .succeeded, .failed, .cancelled, .skipped: return nil
    }
  }
}

extension TaskRecord {
  init(pending key: String, of run: String) {
    self.init(
      run: run, key: key, state: .pending, attempt: 0, stage: 0, shape: .none, unitCount: 0, carry: .null, values: .null,
      notBefore: nil, deadline: nil, readyDeadline: nil, infrastructureFailures: 0, generation: 0, service: nil,
      serviceGeneration: 0, serviceReplicas: 0, excluded: nil, items: nil, startedAt: nil, finishedAt: nil, error: nil)
  }
}

extension UnitRecord {
  /// A unit that has never been leased.
  init(
    name: String, kind: String, payload: JSONValue, index: Int, run: String = "", task: String = "", taskAttempt: Int = 0,
    stage: Int = 0, service: String? = nil, generation: Int = 0, demand: Demand? = nil
  ) {
    self.init(
      name: name, run: run, task: task, taskAttempt: taskAttempt, stage: stage, index: index, service: service,
      replaces: nil, generation: generation, kind: kind, payload: payload, state: .waiting, attempt: 0, worker: nil, incarnation: 0,
      failures: 0, losses: 0, notBefore: nil, readySince: nil, drainDeadline: nil, address: nil, publicKey: nil,
      result: .null,
      error: nil, demand: demand)
  }
}
