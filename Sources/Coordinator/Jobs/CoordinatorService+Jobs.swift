// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import Foundation
import Jobs
import Scheduling

/// Stored jobs: create, read, change, delete.
extension CoordinatorService {
  /// Settings as they may be stored.
  /// - Throws: everything that is wrong with them.
  static func checked(_ given: JSONValue, attachments: [String: String]) throws -> JSONValue {
    var members = given.objectValue ?? [:]
    // They are kept beside the settings.
    for key in ["access_control_list", "permissions"] { members[key] = nil }
    let errors = JobSettings.check(.object(members), attachments: attachments).errors
    if let error = JobLauncher.joined(errors) { throw error }
    // Whose it is says in whose name it runs.
    members["run_as"] = nil
    return .object(members)
  }

  /// - Parameters:
  ///   - settings: as somebody sent them.
  ///   - job: whose settings they become; nil: of a new one.
  /// - Throws: PLT-4490, PLT-4491 when they name another than the job's owner as whom it runs.
  private func requireOwnName(_ settings: JSONValue, job: Int64?, changed rights: JobRights.Change?, by principal: Principal) async throws {
    guard let value = settings["run_as"], value != .null else { return }
    var after = JobRights(owner: principal.name)
    if let job { after = try await store.rights(ofJob: job) }
    try rights?(&after)
    // What else is wrong with them is said together with the rest.
    if (try? RunIdentity.user(of: settings)) != nil { try RunIdentity.require(settings, owner: after.owner) }
  }

  func createJob(_ settings: JSONValue, by principal: Principal) async throws -> JSONValue {
    let rights = try await rightsChange(settings["access_control_list"], by: principal)
    try await requireOwnName(settings, job: nil, changed: rights, by: principal)
    let settings = try Self.checked(settings, attachments: [:])
    try await requireDestinations(settings)
    try await triggers.check(settings)
    let id = try await store.createJob(settings, attachments: [:], by: principal.name, rights: rights)
    await triggers.begin(id)
    try await catalog.audit(actor: principal.name, action: "create job", object: String(id), outcome: "ok")
    return ["job_id": .integer(id)]
  }

  func createJob(file request: SubmitFileRequest, replacing job: Int64?, by principal: Principal) async throws -> JSONValue {
    let parsed = WorkflowFile.parse(
      text: request.text, path: request.file, job: request.job, parameters: request.parameters, attachments: request.attachments, isDefinition: true)
    guard parsed.errors.isEmpty else { throw PlatformErrors(parsed.errors) }
    if let job { try await require(.manage, ofJob: job, principal, to: "change") }
    let found = try JobSettings.settings(text: request.text, path: request.file, job: request.job, variables: request.parameters)
    let rights = try await rightsChange(found["permissions"], by: principal)
    try await requireOwnName(found, job: job, changed: rights, by: principal)
    let settings = try Self.checked(found, attachments: request.attachments)
    try await requireDestinations(settings)
    try await triggers.check(settings)
    var id = job ?? 0
    if let job {
      try await store.changeJob(job, attachments: request.attachments, rights: rights) { _ in settings }
    } else {
      id = try await store.createJob(settings, attachments: request.attachments, by: principal.name, rights: rights)
    }
    await triggers.begin(id)
    try await catalog.audit(actor: principal.name, action: job == nil ? "create job" : "change job", object: String(id), outcome: "ok")
    return [
      "job_id": .integer(id), "name": .string(JobStore.name(settings)), "warnings": .array(parsed.warnings.map { .string($0) }),
    ]
  }

  func job(_ id: Int64, by principal: Principal) async throws -> JSONValue {
    try await require(.view, ofJob: id, principal, to: "see")
    return JobsView.job(try await store.job(id), now: Date())
  }

  func jobs(_ request: JobListRequest, by principal: Principal) async throws -> JSONValue {
    let before = try request.pageToken.flatMap { $0.isEmpty ? nil : $0 }.map(Self.pageNumber)
    let found = try await store.jobs(
      name: request.name, before: before, offset: request.offset, limit: request.limit + 1, viewer: principal.viewer)
    let page = found.prefix(request.limit)
    var answer: [String: JSONValue] = ["has_more": .bool(found.count > page.count)]
    // As Databricks does: no list at all when there is nothing in it.
    if !page.isEmpty { answer["jobs"] = .array(page.map { JobsView.job($0, expandsTasks: request.expandsTasks, now: Date()) }) }
    if found.count > page.count, let last = page.last { answer["next_page_token"] = .string(String(last.id)) }
    return .object(answer)
  }

  private static func pageNumber(_ token: String) throws -> Int64 {
    guard let number = Int64(token), number > 0 else {
      throw PlatformError(.invalidArgument, "page_token '\(token.prefix(40))' is none of ours", number: "PLT-4217")
    }
    return number
  }

  func updateJob(_ id: Int64, _ settings: JSONValue, removing: [String], by principal: Principal) async throws {
    try await require(.manage, ofJob: id, principal, to: "change")
    let rights = try await rightsChange(settings["access_control_list"], by: principal)
    try await requireOwnName(settings, job: id, changed: rights, by: principal)
    try await requireDestinations(settings)
    try await triggers.check(settings)
    try await store.changeJob(id, rights: rights) { job in
      try Self.checked(JobChange.apply(settings, removing: removing, to: job.settings), attachments: job.attachments)
    }
    await triggers.begin(id)
    try await catalog.audit(actor: principal.name, action: "change job", object: String(id), outcome: "ok")
  }

  func resetJob(_ id: Int64, _ settings: JSONValue, by principal: Principal) async throws {
    try await require(.manage, ofJob: id, principal, to: "change")
    let rights = try await rightsChange(settings["access_control_list"], by: principal)
    try await requireOwnName(settings, job: id, changed: rights, by: principal)
    try await requireDestinations(settings)
    try await triggers.check(settings)
    try await store.changeJob(id, rights: rights) { job in try Self.checked(settings, attachments: job.attachments) }
    await triggers.begin(id)
    try await catalog.audit(actor: principal.name, action: "change job", object: String(id), outcome: "ok")
  }

  func deleteJob(_ id: Int64, by principal: Principal) async throws {
    try await require(.manage, ofJob: id, principal, to: "delete")
    try await store.deleteJob(id)
    try await catalog.audit(actor: principal.name, action: "delete job", object: String(id), outcome: "ok")
  }

  // MARK: lists of runs

  func jobRuns(_ request: RunListRequest, by principal: Principal) async throws -> JSONValue {
    var filter = JobStore.RunFilter()
    filter.viewer = principal.viewer
    filter.job = request.job
    filter.isActive = request.isActive
    filter.from = request.from.map { Date(timeIntervalSince1970: Double($0) / 1000) }
    filter.to = request.to.map { Date(timeIntervalSince1970: Double($0) / 1000) }
    filter.before = try request.pageToken.flatMap { $0.isEmpty ? nil : $0 }.map(Self.pageNumber)
    filter.offset = request.offset
    filter.limit = request.limit + 1
    if let type = request.type {
      guard let kind = RunOrigin.Kind(rawValue: type) else {
        throw PlatformError(
          .invalidArgument, "run_type '\(type.prefix(40))' is not possible", hint: "Use JOB_RUN, SUBMIT_RUN or WORKFLOW_RUN.", number: "PLT-4217")
      }
      filter.type = kind
    }
    let found = try await store.storedRuns(filter)
    let page = found.prefix(request.limit)
    // Whether a run succeeded in spite of failures is in its tasks.
    let needing = page.filter { request.expandsTasks || $0.record?.state == .succeeded && $0.spec.tasks.count > 1 }.map(\.id)
    let tasksOfRuns = try await store.tasks(ofRuns: needing)
    var runs: [JSONValue] = []
    for run in page {
      let tasks = needing.contains(run.id) ? tasksOfRuns[run.id] ?? [] : nil
      var shown = JobsView.run(run, tasks: tasks, repairs: nil, host: host).objectValue ?? [:]
      if !request.expandsTasks { shown["tasks"] = nil }
      runs.append(.object(shown))
    }
    var answer: [String: JSONValue] = ["has_more": .bool(found.count > page.count)]
    if !runs.isEmpty { answer["runs"] = .array(runs) }
    if found.count > page.count, let last = page.last { answer["next_page_token"] = .string(last.id) }
    return .object(answer)
  }

  var host: String { "http://\(configuration.httpBind)" }
}
