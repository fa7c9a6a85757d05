// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import HTTPTypes
import Hummingbird

/// Databricks' Jobs API, in its versions 2.1 and 2.2.
struct JobsAPIRoutes {
  let service: any PlatformService

  func add(to router: Router<PlatformRequestContext>) {
    for version in ["2.1", "2.2"] {
      addJobs(router.group("/api/\(version)/jobs"))
      addRuns(router.group("/api/\(version)/jobs/runs"))
    }
    addPermissions(router.group("/api/2.0/permissions/{type}/{id}"))
  }

  private func addPermissions(_ permissions: RouterGroup<PlatformRequestContext>) {
    let service = self.service
    permissions.get("") { _, context in try Response.json(await service.jobPermissions(Self.job(context), by: context.principal)) }
    permissions.get("/permissionLevels") { _, context in
      _ = try Self.job(context)
      return try Response.json(service.jobPermissionLevels())
    }
    for (method, replaces) in [(HTTPRequest.Method.put, true), (.patch, false)] {
      permissions.on("", method: method) { request, context in
        let list = try await request.object()["access_control_list"] ?? []
        return try Response.json(await service.setJobPermissions(Self.job(context), list, replaces: replaces, by: context.principal))
      }
    }
  }

  /// The job that a path names.
  private static func job(_ context: PlatformRequestContext) throws -> Int64 {
    let type = try context.parameters.require("type")
    guard type == "jobs" else {
      throw PlatformError(.invalidArgument, "'\(type.prefix(60))' have no permissions", hint: "Jobs have.", number: "PLT-4461")
    }
    return try JSONValue.string(try context.parameters.require("id")).positive("the number of the job")
  }

  private static let nothing: JSONValue = [:]

  private func addJobs(_ jobs: RouterGroup<PlatformRequestContext>) {
    let service = self.service
    jobs.post("/create") { request, context in
      try Response.json(await service.createJob(try await request.object(), by: context.principal))
    }
    jobs.post("/create-file") { request, context in
      let body: SubmitFileRequest = try await request.json()
      return try Response.json(await service.createJob(file: body, replacing: nil, by: context.principal))
    }
    jobs.post("/reset-file") { request, context in
      let body: SubmitFileRequest = try await request.json()
      let id = Int64(try request.queryInt("job_id", in: 1...Int.max, default: 0))
      return try Response.json(await service.createJob(file: body, replacing: id, by: context.principal))
    }
    jobs.get("/get") { request, context in try Response.json(await service.job(request.number("job_id"), by: context.principal)) }
    jobs.get("/list") { request, context in
      try Response.json(
        await service.jobs(
          JobListRequest(
            name: request.query("name"), expandsTasks: try request.isTrue("expand_tasks"), limit: request.queryInt("limit", in: 1...100, default: 20),
            offset: request.queryInt("offset", in: 0...1_000_000, default: 0), pageToken: request.query("page_token")), by: context.principal))
    }
    jobs.post("/update") { request, context in
      let body = try await request.object()
      let removed = try body.list("fields_to_remove")
      try await service.updateJob(try body.number("job_id"), body["new_settings"] ?? [:], removing: removed, by: context.principal)
      return try Response.json(Self.nothing)
    }
    jobs.post("/reset") { request, context in
      let body = try await request.object()
      guard let settings = body["new_settings"], settings.objectValue != nil else { throw JSONValue.missing("new_settings") }
      try await service.resetJob(try body.number("job_id"), settings, by: context.principal)
      return try Response.json(Self.nothing)
    }
    jobs.post("/delete") { request, context in
      try await service.deleteJob(try await request.object().number("job_id"), by: context.principal)
      return try Response.json(Self.nothing)
    }
    jobs.post("/run-now") { request, context in
      try Response.json(await service.runJob(try await request.object(), by: context.principal))
    }
  }

  private func addRuns(_ runs: RouterGroup<PlatformRequestContext>) {
    let service = self.service
    runs.post("/submit") { request, context in
      try Response.json(await service.submitRun(try await request.object(), by: context.principal))
    }
    runs.get("/get") { request, context in
      try Response.json(
        await service.jobRun(request.number("run_id"), includesHistory: try request.isTrue("include_history"), by: context.principal))
    }
    runs.get("/list") { request, context in
      let (active, completed) = (try request.isTrue("active_only"), try request.isTrue("completed_only"))
      guard !(active && completed) else { throw PlatformError(.invalidArgument, "active_only and completed_only exclude each other", number: "PLT-4217") }
      func time(_ name: String) throws -> Int64? { try request.query(name).map { _ in Int64(try request.queryInt(name, in: 0...Int.max, default: 0)) } }
      let limit = try request.queryInt("limit", in: 0...100, default: 20)
      return try Response.json(
        await service.jobRuns(
          RunListRequest(
            job: try request.query("job_id").map { _ in try request.number("job_id") }, isActive: active ? true : completed ? false : nil,
            expandsTasks: try request.isTrue("expand_tasks"), type: request.query("run_type"), from: try time("start_time_from"),
            to: try time("start_time_to"), limit: limit == 0 ? 25 : limit, offset: request.queryInt("offset", in: 0...1_000_000, default: 0),
            pageToken: request.query("page_token")), by: context.principal))
    }
    runs.post("/cancel") { request, context in
      try await service.cancelJobRun(try await request.object().number("run_id"), by: context.principal)
      return try Response.json(Self.nothing)
    }
    runs.post("/cancel-all") { request, context in
      let body = try await request.object()
      let job = try body["job_id"].map { _ in try body.number("job_id") }
      try await service.cancelAllRuns(job: job, onlyQueued: body["all_queued_runs"]?.boolValue ?? false, by: context.principal)
      return try Response.json(Self.nothing)
    }
    runs.post("/repair") { request, context in
      try Response.json(await service.repairRun(try await request.object(), by: context.principal))
    }
    runs.get("/get-output") { request, context in try Response.json(await service.runOutput(request.number("run_id"), by: context.principal)) }
    runs.get("/export") { request, context in try Response.json(await service.exportRun(request.number("run_id"), by: context.principal)) }
    runs.post("/delete") { request, context in
      try await service.deleteRun(try await request.object().number("run_id"), by: context.principal)
      return try Response.json(Self.nothing)
    }
  }
}

extension Request {
  /// The body, a JSON object.
  fileprivate func object() async throws -> JSONValue {
    let value: JSONValue = try await json()
    guard value.objectValue != nil else { throw PlatformError(.invalidArgument, "the request body is no JSON object", number: "PLT-4217") }
    // Postgres cannot hold it in text.
    guard !value.sortedText.contains("\\u0000") else {
      throw PlatformError(.invalidArgument, "the request body holds U+0000, which cannot be stored", number: "PLT-4217")
    }
    return value
  }

  fileprivate func number(_ name: String) throws -> Int64 {
    guard let text = query(name), !text.isEmpty else { throw JSONValue.missing(name) }
    return try JSONValue.string(text).positive(name)
  }

  fileprivate func isTrue(_ name: String) throws -> Bool {
    switch query(name) {
    case nil, "false", "False", "0": return false
    case "true", "True", "1", "": return true
    case let text?: throw PlatformError(.invalidArgument, "\(name) must be true or false, found '\(text.prefix(40))'", number: "PLT-4217")
    }
  }
}

extension JSONValue {
  fileprivate static func missing(_ name: String) -> PlatformError {
    PlatformError(.invalidArgument, "'\(name)' is missing", number: "PLT-4217")
  }

  /// A whole number above zero; clients write it as a number or as text.
  fileprivate func positive(_ name: String) throws -> Int64 {
    guard let number = stringValue.flatMap({ Int($0) }) ?? intValue, number > 0 else {
      throw PlatformError(.invalidArgument, "\(name) must be a number above 0, found '\(sortedText.prefix(40))'", number: "PLT-4217")
    }
    return Int64(number)
  }

  fileprivate func number(_ name: String) throws -> Int64 {
    guard let value = self[name], value != .null else { throw Self.missing(name) }
    return try value.positive(name)
  }

  fileprivate func list(_ name: String) throws -> [String] {
    guard let value = self[name], value != .null else { return [] }
    guard let items = value.arrayValue, items.allSatisfy({ $0.stringValue != nil }) else {
      throw PlatformError(.invalidArgument, "\(name) must be a list of texts", number: "PLT-4217")
    }
    return items.compactMap(\.stringValue)
  }
}
