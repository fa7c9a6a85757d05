// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Hummingbird

/// Runs in the platform's own shape, for its command line and console. Databricks' shapes are in `JobsAPIRoutes`.
struct JobRoutes {
  let service: any PlatformService

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    let runs = router.group("/api/2.2/jobs/runs")
    runs.post("/submit-file") { request, context in
      let body: SubmitFileRequest = try await request.json()
      return try Response.json(await service.submit(body, by: context.principal))
    }
    let own = router.group("/api/2.0/runs")
    own.get("/list") { request, context in
      let limit = try request.queryInt("limit", in: 1...1000, default: 25)
      return try Response.json(await service.runs(limit: limit, before: request.query("page_token"), by: context.principal))
    }
    own.get("/get") { request, context in try Response.json(await service.run(request.requiredQuery("run_id"), by: context.principal)) }
    own.post("/cancel") { request, context in
      let body: [String: JSONValue] = try await request.json()
      guard let runID = body["run_id"].flatMap({ $0.stringValue ?? $0.intValue.map(String.init) }) else {
        throw PlatformError(.invalidArgument, "the request body is missing 'run_id'")
      }
      return try Response.json(await service.cancelRun(runID, by: context.principal))
    }
    runs.get("/logs") { request, context in
      let attempt = try request.query("attempt") == nil ? nil : request.queryInt("attempt", in: 0...Int.max, default: 0)
      return try Response.json(
        await service.logs(
          runID: request.requiredQuery("run_id"), taskKey: request.query("task_key"), attempt: attempt,
          after: Int64(try request.queryInt("after", in: 0...Int.max, default: 0)),
          limit: try request.queryInt("limit", in: 1...1000, default: 1000), by: context.principal))
    }
    runs.get("/metrics") { request, context in
      try Response.json(
        await service.metrics(
          runID: request.requiredQuery("run_id"), taskKey: request.query("task_key"), name: request.query("name"), by: context.principal))
    }
  }
}
