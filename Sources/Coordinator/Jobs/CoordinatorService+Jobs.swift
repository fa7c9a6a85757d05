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
    // Of a file it is ignored with a warning; elsewhere it was refused before.
    members["access_control_list"] = nil
    let settings = JSONValue.object(members)
    let errors = JobSettings.check(settings, attachments: attachments).errors
    if let error = JobLauncher.joined(errors) { throw error }
    return settings
  }

  /// There are no rights: a list that would have to keep somebody out is not taken as if it did.
  /// - Throws: `invalidArgument` PLT-4426 for an `access_control_list` that says anything.
  static func requireNoRights(_ given: JSONValue) throws {
    guard let list = given["access_control_list"], list != .null, list != .array([]) else { return }
    throw PlatformError(
      .invalidArgument, "access_control_list: jobs have no permissions", hint: "Everybody with a token may see, change and run every job: leave it out.",
      number: "PLT-4426")
  }

  func createJob(_ settings: JSONValue, by principal: Principal) async throws -> JSONValue {
    try Self.requireNoRights(settings)
    let settings = try Self.checked(settings, attachments: [:])
    try await requireDestinations(settings)
    try await triggers.check(settings)
    let id = try await store.createJob(settings, attachments: [:], by: principal.name)
    await triggers.begin(id)
    try await catalog.audit(actor: principal.name, action: "create job", object: String(id), outcome: "ok")
    return ["job_id": .integer(id)]
  }

  func createJob(file request: SubmitFileRequest, replacing job: Int64?, by principal: Principal) async throws -> JSONValue {
    let parsed = WorkflowFile.parse(
      text: request.text, path: request.file, job: request.job, parameters: request.parameters, attachments: request.attachments, isDefinition: true)
    guard parsed.errors.isEmpty else { throw PlatformErrors(parsed.errors) }
    let found = try JobSettings.settings(text: request.text, path: request.file, job: request.job, variables: request.parameters)
    let settings = try Self.checked(found, attachments: request.attachments)
    try await requireDestinations(settings)
    try await triggers.check(settings)
    var id = job ?? 0
    if let job {
      try await store.changeJob(job, attachments: request.attachments) { _ in settings }
    } else {
      id = try await store.createJob(settings, attachments: request.attachments, by: principal.name)
    }
    await triggers.begin(id)
    try await catalog.audit(actor: principal.name, action: job == nil ? "create job" : "change job", object: String(id), outcome: "ok")
    return [
      "job_id": .integer(id), "name": .string(JobStore.name(settings)), "warnings": .array(parsed.warnings.map { .string($0) }),
    ]
  }

  func job(_ id: Int64) async throws -> JSONValue { JobsView.job(try await store.job(id), now: Date()) }

  func jobs(_ request: JobListRequest) async throws -> JSONValue {
    let before = try request.pageToken.flatMap { $0.isEmpty ? nil : $0 }.map(Self.pageNumber)
    let found = try await store.jobs(name: request.name, before: before, offset: request.offset, limit: request.limit + 1)
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
    try Self.requireNoRights(settings)
    try await requireDestinations(settings)
    try await triggers.check(settings)
    try await store.changeJob(id) { job in
      try Self.checked(JobChange.apply(settings, removing: removing, to: job.settings), attachments: job.attachments)
    }
    await triggers.begin(id)
    try await catalog.audit(actor: principal.name, action: "change job", object: String(id), outcome: "ok")
  }

  func resetJob(_ id: Int64, _ settings: JSONValue, by principal: Principal) async throws {
    try Self.requireNoRights(settings)
    try await requireDestinations(settings)
    try await triggers.check(settings)
    try await store.changeJob(id) { job in try Self.checked(settings, attachments: job.attachments) }
    await triggers.begin(id)
    try await catalog.audit(actor: principal.name, action: "change job", object: String(id), outcome: "ok")
  }

  func deleteJob(_ id: Int64, by principal: Principal) async throws {
    try await store.deleteJob(id)
    try await catalog.audit(actor: principal.name, action: "delete job", object: String(id), outcome: "ok")
  }

  // MARK: lists of runs

  func jobRuns(_ request: RunListRequest) async throws -> JSONValue {
    var filter = JobStore.RunFilter()
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
