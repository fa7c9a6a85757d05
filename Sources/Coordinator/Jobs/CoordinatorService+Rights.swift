// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Core
import Jobs

extension Principal {
  /// Whose view of jobs and runs it is; nil for administrators, who see all.
  var viewer: JobViewer? { isAdministrator ? nil : JobViewer(user: name) }
}

/// Who may do what with jobs and their runs.
extension CoordinatorService {
  static func denied(_ text: String, hint: String = "") -> PlatformError {
    PlatformError(.permissionDenied, text, hint: hint, number: "PLT-4460")
  }

  /// - Parameter deed: what somebody wants to do, with its object: `cancel run 7`.
  /// - Throws: `permissionDenied` PLT-4460, which says what is missing and who can give it. Whoever may not even see it is not told whose it is.
  static func require(_ right: JobRight, of rights: JobRights, _ viewer: JobViewer, _ deed: String) throws {
    let own = rights.right(of: viewer)
    if let own, own >= right { return }
    let owner = own.map { ", and \(viewer.user) has \($0.name); its owner \(rights.owner)" } ?? "; its owner"
    throw denied("\(viewer.user) may not \(deed): that needs \(right.name)\(owner) or an administrator can give it")
  }

  /// - Throws: `permissionDenied` PLT-4460, `notFound` PLT-4200.
  func require(_ right: JobRight, ofJob id: Int64, _ principal: Principal, to verb: String) async throws {
    guard let viewer = principal.viewer else { return }
    try Self.require(right, of: try await store.rights(ofJob: id), viewer, "\(verb) job \(id)")
  }

  /// - Throws: `permissionDenied` PLT-4460, `notFound` PLT-1304.
  func require(_ right: JobRight, ofRun id: String, _ principal: Principal, to verb: String) async throws {
    guard let viewer = principal.viewer else { return }
    try Self.require(right, of: try await store.rights(ofRun: id), viewer, "\(verb) run \(id)")
  }

  // MARK: Changes

  /// - Throws: `notFound` PLT-4462 for a user or group that there is not.
  private func requireKnown(_ entries: [JobRights.Entry]) async throws {
    let users = try await Users(pool: pool).all().map(\.name)
    for entry in entries {
      let known = entry.isGroup ? [JobGrantee.everybody, JobGrantee.administrators] : users
      guard !known.contains(entry.name) else { continue }
      let close = Spelling.suggestion(for: entry.name, among: known)
      throw PlatformError(
        .notFound, "Principal: \(entry.isGroup ? "GroupName" : "UserName")(\(entry.name.prefix(130))) does not exist",
        hint: close.map { "Did you mean '\($0)'?" } ?? (entry.isGroup ? "Groups: \(known.joined(separator: ", "))." : "List users with 'platform users list'."),
        number: "PLT-4462")
    }
  }

  /// What a list that somebody sent makes of a job's rights; nil when there is none.
  /// - Parameters:
  ///   - replaces: whether what the list does not name goes.
  ///   - keepsOwner: whether the owner stays when the list names none.
  /// - Throws: PLT-4461, PLT-4462; the change throws PLT-4460 for who may not make it.
  func rightsChange(_ list: JSONValue?, replaces: Bool = true, keepsOwner: Bool = true, by principal: Principal) async throws -> JobRights.Change? {
    guard let list, list != .null else { return nil }
    let entries = try JobRights.entries(list)
    try await requireKnown(entries)
    let viewer = principal.viewer
    return { rights in
      let before = rights
      if let viewer { try Self.require(.manage, of: before, viewer, "say who may do what with the job") }
      if replaces { try rights.set(entries, keepsOwner: keepsOwner) } else { try rights.update(entries) }
      if let viewer, rights.owner != before.owner { try Self.require(.owner, of: before, viewer, "give the job another owner") }
    }
  }

  /// Rights of a run that is no job's. Its owner is who started it.
  func runGrants(_ list: JSONValue?, by principal: Principal) async throws -> [String: JobRight] {
    guard let list, list != .null else { return [:] }
    let entries = try JobRights.entries(list)
    try await requireKnown(entries)
    var rights = JobRights(owner: principal.name)
    try rights.set(entries, keepsOwner: true)
    guard rights.owner == principal.name else {
      throw PlatformError(.invalidArgument, "the owner of a run is who starts it: \(principal.name)", hint: "Leave IS_OWNER out.", number: "PLT-4461")
    }
    return rights.grants
  }

  func jobPermissions(_ id: Int64, by principal: Principal) async throws -> JSONValue {
    try await require(.view, ofJob: id, principal, to: "see")
    return try await store.rights(ofJob: id).view(ofJob: id)
  }

  func setJobPermissions(_ id: Int64, _ list: JSONValue, replaces: Bool, by principal: Principal) async throws -> JSONValue {
    try await require(.manage, ofJob: id, principal, to: "say who may do what with")
    guard let change = try await rightsChange(list, replaces: replaces, keepsOwner: false, by: principal) else {
      return try await jobPermissions(id, by: principal)
    }
    let rights = try await store.changeRights(ofJob: id, change)
    try await catalog.audit(actor: principal.name, action: "change permissions of job", object: String(id), outcome: "ok")
    return rights.view(ofJob: id)
  }

  func jobPermissionLevels() -> JSONValue {
    ["permission_levels": .array(JobRight.allCases.map { ["permission_level": .string($0.name), "description": .string($0.summary)] })]
  }
}
