// SPDX-License-Identifier: Apache-2.0

public import Core

/// What has to be done so that the cluster has what the project says. A value: it is shown, and it is carried out.
public struct DeploymentPlan: Sendable {
  public enum Action: String, Sendable, Codable, CaseIterable {
    case create, update, recreate, delete, unchanged
  }

  public struct Step: Sendable, Equatable {
    public var action: Action
    public var kind: ProjectResource.Kind
    public var key: String
    /// The full name in the catalog, or a job's name.
    public var name: String
    /// What the deployment knows of it so far.
    public var id: String?
    public var changes: [FieldChange] = []
    /// Why it is made anew.
    public var reason = ""
    /// An object of the catalog that is there and is the deployment's, or becomes it.
    public var isThere = false
    /// The key that the object had in the project before.
    public var formerKey: String?

    /// What deletes data; nobody is asked about others.
    public var deletesData: Bool { (action == .delete || action == .recreate) && kind.holdsData }
  }

  /// First what is made and changed in the order of the project, then what goes, last made first.
  public var steps: [Step]
  /// Why nothing can be done: names that others have taken.
  public var errors: [PlatformError] = []
  public var changesAnything: Bool { steps.contains { $0.action != .unchanged } }
  public var removals: [Step] { steps.filter { $0.action == .delete || $0.action == .recreate } }

  public func count(_ action: Action) -> Int { steps.count { $0.action == action } }

  // MARK: Making one

  /// - Parameters:
  ///   - lookups: numbers of jobs that are looked up, by their tokens.
  ///   - adopting: keys whose objects may exist without being the deployment's; for jobs with the number of the one to take over.
  ///   - digest: of the text of a file.
  public init(
    _ project: Project, _ state: DeploymentState, lookups: [String: Int64] = [:], adopting: [String: String] = [:], digest: (String) -> String
  ) {
    steps = []
    let ids = state.jobNumbers.merging(lookups) { $1 }
    for resource in project.resources {
      var known = state.resources.first { $0.kind == resource.kind && $0.key == resource.key }
      if resource.kind == .jobs {
        if known == nil, let id = adopting[resource.key], !id.isEmpty {
          steps.append(Step(action: .update, kind: .jobs, key: resource.key, name: resource.name, id: id, reason: "job \(id) is taken over"))
        } else {
          steps.append(Self.job(resource, known, ids, digest))
        }
        continue
      }
      var formerKey: String?
      if known == nil {
        known = Self.moved(to: resource, project, state)
        formerKey = known?.key
      }
      switch Self.object(resource, known, state, isAdopted: adopting[resource.key] != nil) {
      case .success(var step):
        if let formerKey {
          step.formerKey = formerKey
          step.changes.insert(FieldChange(field: "key", old: .string(formerKey), new: .string(resource.key)), at: 0)
          if step.action == .unchanged { step.action = .update }
        }
        steps.append(step)
      case .failure(let error): errors.append(error)
      }
    }
    let moved = Set(steps.compactMap { step in step.formerKey.map { "\(step.kind.rawValue) \($0)" } })
    steps += Self.removals(project, state).filter { !moved.contains("\($0.kind.rawValue) \($0.key)") }
  }

  /// What the deployment has made under a key that the project does not have any more.
  private static func moved(to resource: ProjectResource, _ project: Project, _ state: DeploymentState) -> DeploymentState.Resource? {
    state.resources.first { one in
      one.kind == resource.kind && !one.isPending && one.id.lowercased() == resource.name.lowercased()
        && !project.resources.contains { $0.kind == one.kind && $0.key == one.key }
    }
  }

  /// A plan that removes all that a deployment has made.
  public init(removing state: DeploymentState) {
    steps = Self.removals(nil, state)
  }

  private static func removals(_ project: Project?, _ state: DeploymentState) -> [Step] {
    let gone = state.resources.filter { one in
      !(project?.resources.contains { $0.kind == one.kind && $0.key == one.key } ?? false)
    }
    // What others are in goes last.
    return gone.sorted { ($1.kind, $1.key) < ($0.kind, $0.key) }.map { one in
      Step(action: .delete, kind: one.kind, key: one.key, name: one.job?.settings["name"]?.stringValue ?? one.id, id: one.id)
    }
  }

  private static func job(_ resource: ProjectResource, _ known: DeploymentState.Resource?, _ ids: [String: Int64], _ digest: (String) -> String) -> Step {
    var step = Step(action: .create, kind: .jobs, key: resource.key, name: resource.name, id: known?.id)
    guard let known else { return step }
    guard let live = known.job else {
      step.reason = "it was deleted"
      return step
    }
    let wanted = resource.definition(ids: ids)
    step.changes = FieldChange.all(from: live.settings(comparedWith: wanted), to: wanted)
    let files = resource.attachments.mapValues(digest)
    for path in Set(files.keys).union(live.files.keys).sorted() where files[path] != live.files[path] {
      step.changes.append(
        FieldChange(field: path, old: live.files[path].map { .string(String($0.prefix(12))) }, new: files[path].map { .string(String($0.prefix(12))) }))
    }
    step.action = step.changes.isEmpty ? .unchanged : .update
    return step
  }

  /// What of an object cannot be changed while it is there.
  private static let fixed: [ProjectResource.Kind: [String]] = [.volumes: ["volume_type", "storage_location"]]

  private static func object(
    _ resource: ProjectResource, _ known: DeploymentState.Resource?, _ state: DeploymentState, isAdopted: Bool
  ) -> Result<Step, PlatformError> {
    var step = Step(action: .create, kind: resource.kind, key: resource.key, name: resource.name, id: known?.id)
    let there = state.object(resource.kind, resource.name)
    let isOwn = known.map { known in
      known.id.lowercased() == resource.name.lowercased()
        // Noted before it was made: what is older was made by somebody else.
        && (!known.isPending || there.map { $0.createdAt >= known.notedAt } ?? true)
    }
    if there != nil, isOwn != true, !isAdopted {
      return .failure(
        PlatformError(
          .conflict, "\(resource.kind.noun) \(resource.name) exists, and this deployment has not made it",
          hint: "Give resources.\(resource.kind.rawValue).\(resource.key) another name, or take it over with --adopt \(resource.key).", number: "PLT-4277",
          path: resource.path, line: resource.line))
    }
    if let known, known.id.lowercased() != resource.name.lowercased(), !known.isPending {
      step.action = .recreate
      step.reason = "its name was \(known.id)"
      return .success(step)
    }
    guard let there else {
      if known != nil, known?.isPending == false { step.reason = "it was dropped" }
      return .success(step)
    }
    step.isThere = true
    for field in fixed[resource.kind] ?? [] {
      guard let new = resource.definition[field], let old = there.facts[field], !FieldChange.isSame(old, new) else { continue }
      step.action = .recreate
      step.reason = "\(field) cannot be changed"
      step.changes = [FieldChange(field: field, old: old, new: new)]
      return .success(step)
    }
    for field in ["comment", "properties"] {
      // What the project does not say stays as it is.
      guard let new = resource.definition[field] else { continue }
      step.changes += FieldChange.all(from: there.facts[field], to: new, field)
    }
    if isOwn != true { step.reason = "it exists, and is taken over" }
    // A note that is missing has to be written.
    step.action = step.changes.isEmpty && isOwn == true && known?.isPending == false ? .unchanged : .update
    return .success(step)
  }
}
