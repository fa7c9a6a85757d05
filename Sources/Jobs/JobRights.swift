// SPDX-License-Identifier: Apache-2.0

public import Core
import Postgres

/// What somebody may do with a job and its runs. Each right includes those before it.
public enum JobRight: Int, Sendable, Comparable, CaseIterable {
  case view, manageRun, manage, owner

  /// As Databricks calls it.
  public var name: String {
    switch self {
    case .view: "CAN_VIEW"
    case .manageRun: "CAN_MANAGE_RUN"
    case .manage: "CAN_MANAGE"
    case .owner: "IS_OWNER"
    }
  }

  public var summary: String {
    switch self {
    case .view: "See the job, its runs and what they have printed"
    case .manageRun: "Start, cancel and repair runs"
    case .manage: "Change and delete the job, and say who may do what with it"
    case .owner: "Answer for the job: what starts by itself runs in this name. There is exactly one"
    }
  }

  public init?(name: String) {
    guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = found
  }

  public static func < (a: JobRight, b: JobRight) -> Bool { a.rawValue < b.rawValue }
}

/// Somebody who can be given rights, as text: a kind and a name.
public enum JobGrantee {
  /// Everybody who holds a token.
  public static let everybody = "users"
  /// Those who may do everything.
  public static let administrators = "admins"
  public static func user(_ name: String) -> String { "user:\(name)" }
  public static func group(_ name: String) -> String { "group:\(name)" }
}

/// Whose view of jobs and runs is asked for.
public struct JobViewer: Sendable, Equatable {
  public var user: String
  public init(user: String) { self.user = user }

  /// The ways to be given a right.
  public var grantees: [String] { [JobGrantee.user(user), JobGrantee.group(JobGrantee.everybody)] }
  var values: [PostgresValue] { [.text(user), .textArray(grantees)] }
}

/// Who may do what with a job: a value without input or output. There is one owner at every moment.
public struct JobRights: Sendable, Equatable {
  /// Makes other rights of those that a job has.
  public typealias Change = @Sendable (inout JobRights) throws -> Void

  /// One line of an `access_control_list`.
  public struct Entry: Sendable, Equatable {
    public var grantee: String
    public var right: JobRight
    /// The name of a user or group without its kind.
    public var name: String { String(grantee.split(separator: ":", maxSplits: 1).last ?? "") }
    public var isGroup: Bool { grantee.hasPrefix("group:") }
  }

  public var owner: String
  /// Besides the owner's.
  public var grants: [String: JobRight]

  public init(owner: String, grants: [String: JobRight] = [:]) {
    self.owner = owner
    self.grants = grants
  }

  /// Nil: nothing, not even to see it.
  public func right(of viewer: JobViewer) -> JobRight? {
    viewer.user == owner ? .owner : viewer.grantees.compactMap { grants[$0] }.max()
  }

  // MARK: Lists

  private static func bad(_ text: String, _ hint: String = "") -> PlatformError {
    PlatformError(.invalidArgument, text, hint: hint, number: "PLT-4461")
  }

  /// - Parameter list: `access_control_list` of a request, or `permissions` of a project file, where a right is called `level`.
  /// - Throws: `invalidArgument` PLT-4461, the first thing that is wrong; `notFound` PLT-4462 for a program's account or group, of which there are none.
  public static func entries(_ list: JSONValue) throws(PlatformError) -> [Entry] {
    guard let items = list.arrayValue, items.count <= 1000 else { throw bad("access_control_list must be a list of at most 1000 rights") }
    var best: [String: JobRight] = [:]
    var order: [String] = []
    for (index, item) in items.enumerated() {
      let place = "access_control_list[\(index)]"
      guard let members = item.objectValue else { throw bad("\(place) must name somebody and a right") }
      let names = ["user_name", "group_name", "service_principal_name"].compactMap { key in
        members[key]?.stringValue.flatMap { $0.isEmpty ? nil : (key, $0) }
      }
      guard names.count == 1, let (kind, name) = names.first else {
        throw bad("\(place): give one of user_name, group_name and service_principal_name")
      }
      guard kind != "service_principal_name" else {
        throw PlatformError(
          .notFound, "Principal: ServicePrincipalName(\(name.prefix(130))) does not exist",
          hint: "Programs use the token of a user: 'platform users create NAME'.",
          number: "PLT-4462")
      }
      let level = (members["permission_level"] ?? members["level"])?.stringValue ?? ""
      // What project files say for all kinds of resources.
      guard let right = JobRight(name: level == "CAN_RUN" ? "CAN_MANAGE_RUN" : level) else {
        throw bad(
          "\(place): '\(level.prefix(40))' is no right of a job", "Rights: \(JobRight.allCases.map(\.name).joined(separator: ", ")).")
      }
      let grantee = kind == "group_name" ? JobGrantee.group(name) : JobGrantee.user(name)
      if right == .owner, kind == "group_name" { throw bad("Groups can not be owners: \(name.prefix(130))") }
      if best[grantee] == nil { order.append(grantee) }
      best[grantee] = max(best[grantee] ?? right, right)
    }
    let entries = order.map { Entry(grantee: $0, right: best[$0] ?? .view) }
    guard entries.count(where: { $0.right == .owner }) <= 1 else { throw Self.oneOwner }
    return entries
  }

  private static let oneOwner = bad("The job must have exactly one owner.")

  /// These and no others.
  /// - Parameter keepsOwner: whether the owner stays when the list names none.
  /// - Throws: `invalidArgument` PLT-4461 when there would be no owner.
  public mutating func set(_ entries: [Entry], keepsOwner: Bool = false) throws(PlatformError) {
    let owners = entries.filter { $0.right == .owner }
    guard owners.count == 1 || (keepsOwner && owners.isEmpty) else { throw Self.oneOwner }
    owner = owners.first?.name ?? owner
    grants = Dictionary(entries.filter { $0.right != .owner }.map { ($0.grantee, $0.right) }, uniquingKeysWith: { $1 })
    // An owner needs nothing else.
    grants[JobGrantee.user(owner)] = nil
  }

  /// These over those that there are.
  /// - Throws: `invalidArgument` PLT-4461 when there would be no owner.
  public mutating func update(_ entries: [Entry]) throws(PlatformError) {
    let next = entries.first { $0.right == .owner }?.name
    guard next != nil || !entries.contains(where: { $0.grantee == JobGrantee.user(owner) }) else { throw Self.oneOwner }
    for entry in entries where entry.right != .owner { grants[entry.grantee] = entry.right }
    if let next {
      owner = next
      grants[JobGrantee.user(next)] = nil
    }
  }

  // MARK: Views

  /// Lines of an `access_control_list` as requests have them: the owner first, then by name.
  public func list(withOwner: Bool = true) -> [JSONValue] {
    (withOwner ? [["user_name": .string(owner), "permission_level": .string(JobRight.owner.name)]] : [])
      + grants.sorted { $0.key < $1.key }.map { grantee, right in
        let entry = Entry(grantee: grantee, right: right)
        return [entry.isGroup ? "group_name" : "user_name": .string(entry.name), "permission_level": .string(right.name)]
      }
  }

  /// As answers have them: administrators may everything, whatever a job says.
  public func view(ofJob id: Int64) -> JSONValue {
    func line(_ key: String, _ name: String, _ permissions: [JSONValue]) -> JSONValue {
      var members: [String: JSONValue] = [key: .string(name), "all_permissions": .array(permissions)]
      if key == "user_name" { members["display_name"] = .string(name) }
      return .object(members)
    }
    func own(_ right: JobRight) -> JSONValue { ["permission_level": .string(right.name), "inherited": false] }
    let above: JSONValue = ["permission_level": "CAN_MANAGE", "inherited": true, "inherited_from_object": ["/jobs/"]]
    var lines = [line("user_name", owner, [own(.owner)])]
    var administrators: [JSONValue] = []
    for (grantee, right) in grants.sorted(by: { $0.key < $1.key }) {
      let entry = Entry(grantee: grantee, right: right)
      if grantee == JobGrantee.group(JobGrantee.administrators) {
        administrators.append(own(right))
      } else {
        lines.append(line(entry.isGroup ? "group_name" : "user_name", entry.name, [own(right)]))
      }
    }
    lines.append(line("group_name", JobGrantee.administrators, administrators + [above]))
    return ["object_id": .string("/jobs/\(id)"), "object_type": "job", "access_control_list": .array(lines)]
  }
}
