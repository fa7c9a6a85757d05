// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import Foundation
import Jobs

/// Deployments of projects.
extension CoordinatorService {
  private var deploymentStore: DeploymentStore { DeploymentStore(pool: pool) }

  /// Kinds of project files whose resources can be noted.
  private static let kinds: Set<String> = ["catalogs", "schemas", "volumes", "registered_models", DeploymentStore.jobs]

  private static func bad(_ text: String) -> PlatformError { PlatformError(.invalidArgument, text, number: "PLT-4282") }

  private static func check(_ change: DeploymentChange) throws {
    guard kinds.contains(change.kind) else { throw bad("there is no kind of resource '\(change.kind.prefix(60))'") }
    guard (1...100).contains(change.key.utf8.count), !change.key.contains("\0") else { throw bad("'key' must have 1 to 100 bytes") }
  }

  private static func milliseconds(_ date: Date) -> Int64 { Int64(date.timeIntervalSince1970 * 1000) }

  private static func info(_ one: DeploymentStore.Deployment) -> DeploymentInfo {
    DeploymentInfo(
      rootPath: one.rootPath, bundle: one.bundle, target: one.target, version: one.version, state: one.isComplete ? "DEPLOYED" : "IN_PROGRESS",
      deployedBy: one.deployedBy, deployedAt: milliseconds(one.deployedAt))
  }

  func deployment(_ rootPath: String, by principal: Principal) async throws -> DeploymentInfo {
    guard let (found, resources) = try await deploymentStore.deployment(rootPath) else { return DeploymentInfo(rootPath: rootPath) }
    var info = Self.info(found)
    var rights: [String: JSONValue] = [:]
    for one in resources where one.job != nil {
      guard let number = Int64(one.id) else { continue }
      let held = try await store.rights(ofJob: number)
      if let viewer = principal.viewer { try Self.require(.view, of: held, viewer, "see job \(number)") }
      rights[one.id] = .array(held.list())
    }
    info.resources = resources.map { one in
      DeploymentResource(
        kind: one.kind, key: one.key, id: one.id, pending: one.isPending, notedAt: Self.milliseconds(one.notedAt),
        settings: one.job.map { Self.settings($0.settings, rights[one.id]) }, files: one.job?.attachments.mapValues { SHA256Digest.hex($0) })
    }
    return info
  }

  /// With the job's rights as requests have them; what the project does not say of them, it does not look at.
  private static func settings(_ settings: JSONValue, _ rights: JSONValue?) -> JSONValue {
    var members = settings.objectValue ?? [:]
    members["access_control_list"] = rights
    return .object(members)
  }

  func deployments() async throws -> DeploymentList { DeploymentList(deployments: try await deploymentStore.deployments().map(Self.info)) }

  func beginDeployment(_ request: DeploymentBegin, by principal: Principal) async throws -> DeploymentVersion {
    for (name, text) in [("root_path", request.rootPath), ("bundle", request.bundle), ("target", request.target)] {
      guard (1...512).contains(text.utf8.count), !text.contains("\0") else { throw Self.bad("'\(name)' must have 1 to 512 bytes") }
    }
    let version = try await deploymentStore.begin(
      request.rootPath, bundle: request.bundle, target: request.target, planned: request.planned, by: principal.name)
    try await catalog.audit(actor: principal.name, action: "deploy", object: request.rootPath, outcome: "version \(version)")
    return DeploymentVersion(version: version)
  }

  func putResource(_ change: DeploymentChange, by principal: Principal) async throws -> DeploymentResource {
    try Self.check(change)
    var answer = DeploymentResource(
      kind: change.kind, key: change.key, id: change.id ?? "", pending: change.pending ?? false, notedAt: Self.milliseconds(Date()))
    guard change.kind == DeploymentStore.jobs else {
      guard let id = change.id, (1...1024).contains(id.utf8.count), !id.contains("\0") else { throw Self.bad("'id' must be the full name of the object") }
      try await deploymentStore.note(
        change.rootPath, version: change.version, kind: change.kind, key: change.key, id: id, isPending: change.pending ?? false)
      return answer
    }
    guard let given = change.settings, given.objectValue != nil else { throw Self.bad("'settings' is missing") }
    let files = change.files ?? [:]
    guard !given.sortedText.contains("\\u0000"), files.allSatisfy({ !$0.key.contains("\0") && !$0.value.contains("\0") }) else {
      throw Self.bad("the settings or files hold U+0000, which cannot be stored")
    }
    let adopting = try change.id.map { text in
      guard let number = Int64(text), number > 0 else { throw Self.bad("'\(text.prefix(40))' is no number of a job") }
      return number
    }
    let settings = try Self.checked(given, attachments: files)
    try await requireDestinations(settings)
    var rights = try await rightsChange(given["access_control_list"], by: principal)
    if rights == nil, let viewer = principal.viewer {
      let deed = "change the job of '\(change.key)'"
      rights = { (held: inout JobRights) in try Self.require(.manage, of: held, viewer, deed) }
    }
    let id = try await deploymentStore.putJob(
      change.rootPath, version: change.version, key: change.key, settings: settings, attachments: files, adopting: adopting, by: principal.name,
      rights: rights)
    try await catalog.audit(actor: principal.name, action: "deploy job", object: String(id), outcome: "ok")
    answer.id = String(id)
    return answer
  }

  func removeResource(_ change: DeploymentChange, by principal: Principal) async throws {
    try Self.check(change)
    if let viewer = principal.viewer, change.kind == DeploymentStore.jobs {
      let known = try await deploymentStore.deployment(change.rootPath)?.1.first { $0.kind == change.kind && $0.key == change.key }
      if let known, known.job != nil, let number = Int64(known.id) {
        try Self.require(.manage, of: try await store.rights(ofJob: number), viewer, "delete job \(number)")
      }
    }
    try await deploymentStore.remove(change.rootPath, version: change.version, kind: change.kind, key: change.key)
    try await catalog.audit(actor: principal.name, action: "remove from deployment", object: "\(change.kind) \(change.key)", outcome: "ok")
  }

  func endDeployment(_ request: DeploymentEnd, by principal: Principal) async throws {
    try await deploymentStore.end(request.rootPath, version: request.version)
  }
}
