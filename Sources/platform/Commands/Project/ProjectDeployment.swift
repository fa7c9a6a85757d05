// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Workspace

/// What the cluster has of a project, and how it gets what the plan says.
struct ProjectDeployment {
  static let base = "/api/2.0/deployments"
  var client: PlatformClient
  var rootPath: String

  func info() async throws -> DeploymentInfo { try await client.get("\(Self.base)/get?root_path=\(segment(rootPath))") }

  /// Everything that a plan looks at.
  func state(_ info: DeploymentInfo, for project: Project?) async throws -> DeploymentState {
    var state = DeploymentState()
    state.version = info.version
    for one in info.resources {
      guard let kind = ProjectResource.Kind(rawValue: one.kind) else {
        throw PlatformError(
          .conflict, "the deployment holds '\(one.key)' of the unknown kind \(one.kind)", hint: "It was made by a newer version: use that.", number: "PLT-4282")
      }
      let job = one.settings.map { DeploymentState.Job(settings: $0, files: one.files ?? [:]) }
      state.resources.append(DeploymentState.Resource(kind: kind, key: one.key, id: one.id, isPending: one.pending, notedAt: one.notedAt, job: job))
    }
    var wanted = Set(state.resources.filter { $0.kind != .jobs }.map { Name(kind: $0.kind, name: $0.id) })
    wanted.formUnion((project?.resources ?? []).filter { $0.kind != .jobs }.map { Name(kind: $0.kind, name: $0.name) })
    for one in wanted {
      if let object = try await object(one.kind, one.name) { state.objects[DeploymentState.name(one.kind, one.name)] = object }
    }
    return state
  }

  private struct Name: Hashable {
    var kind: ProjectResource.Kind
    var name: String
  }

  static func path(_ kind: ProjectResource.Kind) -> String { "\(CatalogCalls.base)/\(kind == .registeredModels ? "models" : kind.rawValue)" }

  private func object(_ kind: ProjectResource.Kind, _ name: String) async throws -> DeploymentState.Object? {
    do {
      let found: JSONValue = try await client.get("\(Self.path(kind))/\(segment(name))")
      return DeploymentState.Object(facts: found, createdAt: Int64(found["created_at"]?.intValue ?? 0))
    } catch let error as PlatformError where error.code == .notFound {
      return nil
    }
  }

  /// Numbers of jobs that the project looks up, by their tokens.
  /// - Throws: `notFound` PLT-4200, `conflict` PLT-4220 with the place in the file.
  func numbers(_ lookups: [JobLookup]) async throws -> [String: Int64] {
    var numbers: [String: Int64] = [:]
    for lookup in lookups {
      do {
        numbers[lookup.token] = try await JobsCommand.numberOfName(lookup.job, client)
      } catch let error as PlatformError where error.path == nil {
        var error = error
        (error.path, error.line) = (lookup.path, lookup.line)
        throw error
      }
    }
    return numbers
  }

  // MARK: Carrying a plan out

  /// - Parameter note: is told of every step that was done.
  func carryOut(
    _ plan: DeploymentPlan, _ project: Project?, _ identity: Project.Identity, _ state: DeploymentState, lookups: [String: Int64] = [:],
    adopting: [String: String] = [:], note: (DeploymentPlan.Step) -> Void
  ) async throws {
    let begun: DeploymentVersion = try await client.post(
      "\(Self.base)/begin", DeploymentBegin(rootPath: rootPath, bundle: identity.name, target: identity.target, planned: state.version))
    let version = begun.version
    var ids = state.jobNumbers.merging(lookups) { $1 }
    // What is in others goes before them.
    for step in plan.steps.reversed() where step.action == .recreate {
      if let id = step.id { try await drop(step.kind, id) }
      // Whoever is cut short here makes it anew.
      try await remove(step.kind, step.key, version)
    }
    for step in plan.steps where step.action != .delete {
      guard let resource = project?.resources.first(where: { $0.kind == step.kind && $0.key == step.key }) else { continue }
      if step.action == .unchanged { continue }
      if step.kind == .jobs {
        let change = DeploymentChange(
          rootPath: rootPath, version: version, kind: step.kind.rawValue, key: step.key, id: adopting[step.key].flatMap { $0.isEmpty ? nil : $0 },
          settings: resource.definition(ids: ids), files: resource.attachments)
        do {
          let made: DeploymentResource = try await client.post("\(Self.base)/put-resource", change)
          if let id = Int64(made.id) { ids["resources.jobs.\(step.key).id"] = id }
        } catch let error as PlatformError where error.code == .invalidArgument {
          // What only the cluster knows, a destination that is not there for example.
          var error = error.wrapping("resources.jobs.\(step.key)")
          (error.path, error.line) = (resource.path, resource.line)
          throw error
        }
      } else {
        try await makeObject(step, resource, version)
      }
      note(step)
    }
    for step in plan.steps where step.action == .delete {
      if step.kind != .jobs, let id = step.id { try await drop(step.kind, id) }
      try await remove(step.kind, step.key, version)
      note(step)
    }
    let _: JSONValue = try await client.post("\(Self.base)/end", DeploymentEnd(rootPath: rootPath, version: version))
  }

  private func noteObject(_ step: DeploymentPlan.Step, _ resource: ProjectResource, _ version: Int64, isPending: Bool) async throws {
    let _: DeploymentResource = try await client.post(
      "\(Self.base)/put-resource",
      DeploymentChange(rootPath: rootPath, version: version, kind: step.kind.rawValue, key: step.key, id: resource.name, pending: isPending))
  }

  private func remove(_ kind: ProjectResource.Kind, _ key: String, _ version: Int64) async throws {
    let _: JSONValue = try await client.post(
      "\(Self.base)/remove-resource", DeploymentChange(rootPath: rootPath, version: version, kind: kind.rawValue, key: key))
  }

  private func makeObject(_ step: DeploymentPlan.Step, _ resource: ProjectResource, _ version: Int64) async throws {
    if step.isThere && step.action == .update {
      var body: [String: JSONValue] = [:]
      for field in ["comment", "properties"] where step.changes.contains(where: { $0.field == field || $0.field.hasPrefix(field + ".") }) {
        body[field] = resource.definition[field]
      }
      if !body.isEmpty { let _: JSONValue = try await client.patch("\(Self.path(step.kind))/\(segment(resource.name))", JSONValue.object(body)) }
    } else {
      try await noteObject(step, resource, version, isPending: true)
      do {
        let _: JSONValue = try await client.post(Self.path(step.kind), Self.creation(resource))
      } catch let error as PlatformError where !error.isRetryable {
        let isOwn = error.code == .alreadyExists ? try await isYoungerThanItsNote(step, resource) : false
        if !isOwn {
          // It was not made, and what others may make of that name is not this deployment's.
          try await remove(step.kind, step.key, version)
          throw error
        }
      }
    }
    try await noteObject(step, resource, version, isPending: false)
    if let former = step.formerKey { try await remove(step.kind, former, version) }
  }

  /// Whether an object was made since this deployment noted it: one that was killed may have been answered after the plan was made.
  private func isYoungerThanItsNote(_ step: DeploymentPlan.Step, _ resource: ProjectResource) async throws -> Bool {
    let note = try await info().resources.first { $0.kind == step.kind.rawValue && $0.key == step.key }
    guard let note, let there = try await object(step.kind, resource.name) else { return false }
    return there.createdAt >= note.notedAt
  }

  private static func creation(_ resource: ProjectResource) -> JSONValue {
    let parts = resource.name.split(separator: ".").map(String.init)
    var body = resource.definition.objectValue ?? [:]
    body["name"] = .string(parts.last ?? resource.name)
    if parts.count > 1 { body["catalog_name"] = .string(parts[0]) }
    if parts.count > 2 { body["schema_name"] = .string(parts[1]) }
    return .object(body)
  }

  /// What is gone already is as good as dropped.
  private func drop(_ kind: ProjectResource.Kind, _ name: String) async throws {
    do {
      _ = try await client.send("DELETE", "\(Self.path(kind))/\(segment(name))?force=true", body: nil)
    } catch let error as PlatformError where error.code == .notFound {
      return
    }
  }
}
