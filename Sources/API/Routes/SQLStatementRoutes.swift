// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// SQL over HTTP as Databricks' clients know it: statements, their results, warehouses, the history.
struct SQLStatementRoutes {
  /// Results behind signed links, which carry their own permission.
  static let signedPrefix = "/api/2.0/sql/results/"
  /// Until then a client that goes away is not noticed: watching for it costs the connection its reuse.
  private static let quickMilliseconds = 250

  let service: any PlatformService
  private let links = SignedLinks()

  init(service: any PlatformService) { self.service = service }

  func add(to routes: DescribedRoutes) {
    describe(in: routes.tagged("SQL"))
    let router = routes.router
    let service = self.service
    let group = router.group("/api/2.0/sql")
    group.post("/statements") { request, context in try await submit(request, context) }
    group.get("/statements/{id}") { request, context in
      let view = try await service.awaitStatement(context.name("id"), milliseconds: 0, by: context.principal)
      return answer(view, request)
    }
    group.post("/statements/{id}/cancel") { _, context in
      try await service.cancelStatement(context.name("id"), by: context.principal)
      return try Response.json([:] as JSONValue)
    }
    group.get("/statements/{id}/result/chunks/{index}") { request, context in
      let text = try context.name("index")
      guard let index = Int(text), index >= 0 else {
        throw PlatformError(.invalidArgument, "chunk_index must be a number from 0", number: "PLT-3234", path: "chunk_index")
      }
      let (view, rows) = try await service.statementChunk(context.name("id"), index: index, by: context.principal)
      return Self.json(StatementBody.chunk(view, index, rows: view.isInline ? rows : Data(), link: link(view, request)))
    }
    router.get("\(Self.signedPrefix){id}/{index}") { request, context in
      let (id, index) = (try context.name("id"), try context.name("index"))
      try links.check("\(id)/\(index)", expires: request.query("expires"), signature: request.query("signature"))
      let (view, bytes) = try await service.statementChunk(id, index: Int(index) ?? -1, by: nil)
      let type =
        switch view.format {
        case "CSV": "text/csv; charset=utf-8"
        case "ARROW_STREAM": "application/vnd.apache.arrow.stream"
        default: "application/json"
        }
      return Response(status: .ok, headers: [.contentType: type], body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }
    addWarehouses(to: group)
    group.get("/history/queries") { request, context in try await history(request, context) }
  }

  private func describe(in routes: DescribedRoutes) {
    let statement = "/api/2.0/sql/statements/{statement_id}"
    routes.describe(.post, "/api/2.0/sql/statements", "Run a statement", body: StatementRequest.self, answer: .object(StatementStatus.self))
    routes.describe(.get, statement, "How a statement stands, with its first rows when it is done", answer: .object(StatementStatus.self))
    routes.describe(.post, statement + "/cancel", "Cancel a statement", answer: .object(EmptyAnswer.self))
    routes.describe(.get, statement + "/result/chunks/{chunk_index}", "A chunk of a statement's rows", answer: .object(StatementStatus.Result.self))
    routes.describe(
      .get, Self.signedPrefix + "{statement_id}/{chunk_index}", "A chunk behind a signed link, which needs no token",
      query: [.text("expires", required: true), .text("signature", required: true)],
      answer: .bytes(["application/json", "text/csv", "application/vnd.apache.arrow.stream"]))
  }

  // MARK: statements

  private func submit(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    var request = request
    let body: ByteBuffer
    do {
      body = try await request.collectBody(upTo: 8 << 20)
    } catch {
      throw PlatformError(.invalidArgument, "the request body is larger than 8 MB or broke off")
    }
    let decoded: StatementRequest
    do {
      decoded = try JSONDecoder.platform.decode(StatementRequest.self, from: Data(body.readableBytesView))
    } catch {
      var failure = PlatformError.malformedBody(error)
      failure.number = "PLT-3234"
      throw failure
    }
    let (submission, wait) = try StatementSubmission.checked(decoded)
    let service = self.service
    let principal = context.principal
    let id = try await service.startStatement(submission, by: principal)
    var view = try await service.awaitStatement(
      id, milliseconds: min(wait.seconds * 1000, Self.quickMilliseconds), by: principal)
    let isWatched = !view.state.isFinal && wait.seconds > 0
    if isWatched {
      let rest = wait.seconds * 1000 - Self.quickMilliseconds
      // The end of the wait also ends the reading, which is told as a closed connection: from then on it says nothing.
      let isWaiting = Mutex(true)
      view = try await request.body.consumeWithInboundCloseHandler { _ in
        defer { isWaiting.withLock { $0 = false } }
        return try await service.awaitStatement(id, milliseconds: rest, by: principal)
      } onInboundClosed: {
        if isWaiting.withLock({ $0 }) { service.abandonStatement(id) }
      }
    }
    if !view.state.isFinal {
      if wait.cancelsAfter {
        try await service.cancelStatement(id, by: principal)
        view = try await service.awaitStatement(id, milliseconds: 5000, by: principal)
      } else {
        try await service.detachStatement(id, by: principal)
      }
    }
    var response = answer(view, request)
    // Who has been watched for going away can send nothing more on this connection: told, a client does not try.
    if isWatched { response.headers[.connection] = "close" }
    return response
  }

  private func answer(_ view: StatementView, _ request: Request) -> Response {
    Self.json(StatementBody.encode(view, link: link(view, request)))
  }

  private static func json(_ data: Data) -> Response {
    Response(status: .ok, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(bytes: data)))
  }

  /// Links lead to the address under which the client found us.
  private func link(_ view: StatementView, _ request: Request) -> StatementBody.Link {
    { index in
      let (expires, signature) = links.sign("\(view.id)/\(index)")
      let host = request.head.authority ?? "127.0.0.1"
      return ("http://\(host)\(Self.signedPrefix)\(view.id)/\(index)?expires=\(expires)&signature=\(signature)", expires)
    }
  }

  // MARK: warehouses

  /// The cluster is one warehouse, and it runs.
  static let warehouse: JSONValue = [
    "id": "platform", "name": "platform", "state": "RUNNING", "cluster_size": "Small", "warehouse_type": "PRO", "auto_stop_mins": 0,
    "min_num_clusters": 1, "max_num_clusters": 1, "num_clusters": 1, "enable_serverless_compute": false, "enable_photon": false,
    "creator_name": "platform",
  ]

  private func addWarehouses(to group: RouterGroup<PlatformRequestContext>) {
    group.get("/warehouses") { _, _ in try Response.json(["warehouses": [Self.warehouse]] as JSONValue) }
    group.get("/warehouses/{id}") { _, context in
      try Self.checkWarehouse(context.name("id"))
      return try Response.json(Self.warehouse)
    }
    // It runs as long as the cluster does.
    group.post("/warehouses/{id}/start") { _, context in
      try Self.checkWarehouse(context.name("id"))
      return try Response.json([:] as JSONValue)
    }
  }

  private static func checkWarehouse(_ id: String) throws {
    guard id == "platform" else {
      throw PlatformError(.notFound, "the warehouse '\(id.prefix(64))' does not exist", hint: "There is one: platform.", number: "PLT-3002")
    }
  }

  // MARK: history

  private func history(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    var filter = StatementHistoryFilter()
    filter.limit = try request.queryInt("max_results", in: 1...1000, default: 100)
    filter.token = request.query("page_token")
    let states = ["QUEUED": "PENDING", "STARTED": "RUNNING", "RUNNING": "RUNNING", "FINISHED": "SUCCEEDED", "FAILED": "FAILED", "CANCELED": "CANCELED"]
    filter.states = try request.queries("filter_by.statuses").map { text in
      guard let state = states[text] else {
        throw PlatformError(.invalidArgument, "filter_by.statuses must be one of \(states.keys.sorted().joined(separator: ", "))", number: "PLT-3234")
      }
      return state
    }
    filter.ids = request.queries("filter_by.statement_ids")
    func time(_ name: String) throws -> Int64? {
      guard let text = request.query(name) else { return nil }
      guard let value = Int64(text) else { throw PlatformError(.invalidArgument, "\(name) must be a number of milliseconds", number: "PLT-3234") }
      return value
    }
    filter.startedAfterMilliseconds = try time("filter_by.query_start_time_range.start_time_ms")
    filter.startedBeforeMilliseconds = try time("filter_by.query_start_time_range.end_time_ms")
    let page = try await service.statementHistory(filter, by: context.principal)
    let words = ["PENDING": "QUEUED", "RUNNING": "RUNNING", "SUCCEEDED": "FINISHED", "FAILED": "FAILED", "CANCELED": "CANCELED", "CLOSED": "FINISHED"]
    let entries = page.entries.map { entry -> JSONValue in
      var members: [String: JSONValue] = [
        "query_id": .string(entry.id), "query_text": .string(entry.text), "status": .string(words[entry.state] ?? entry.state),
        "user_name": .string(entry.principal), "executed_as_user_name": .string(entry.principal), "warehouse_id": "platform",
        "endpoint_id": "platform", "query_start_time_ms": .integer(entry.startedMilliseconds),
        "rows_produced": .integer(entry.rows), "statement_type": .string(Self.statementType(entry.kind)),
        "is_final": .bool(entry.endedMilliseconds != nil), "engine": .string(entry.engine), "tables": entry.tables,
        "metrics": ["rows_produced_count": .integer(entry.rows), "network_sent_bytes": .integer(entry.bytes)],
      ]
      if let end = entry.endedMilliseconds {
        members["query_end_time_ms"] = .integer(end)
        members["execution_end_time_ms"] = .integer(end)
        members["duration"] = .integer(max(0, end - entry.startedMilliseconds))
      }
      if let error = entry.error { members["error_message"] = .string(error) }
      return .object(members)
    }
    var body: [String: JSONValue] = ["res": .array(entries), "has_next_page": .bool(page.nextToken != nil)]
    if let token = page.nextToken { body["next_page_token"] = .string(token) }
    return try Response.json(JSONValue.object(body))
  }

  /// Databricks' `statement_type`.
  private static func statementType(_ kind: String) -> String {
    switch kind {
    case "select": "SELECT"
    case "explain": "EXPLAIN"
    case "insert", "insertInto": "INSERT"
    case "update": "UPDATE"
    case "delete": "DELETE"
    case "merge": "MERGE"
    case "describe", "describeHistory", "describeDetail": "DESCRIBE"
    case let kind where kind.hasPrefix("show"): "SHOW"
    case let kind where kind.hasPrefix("create"): "CREATE"
    case let kind where kind.hasPrefix("drop"): "DROP"
    case let kind where kind.hasPrefix("alter"): "ALTER"
    default: "OTHER"
    }
  }
}

extension Request {
  /// Every value of a parameter that may be repeated.
  func queries(_ name: String) -> [String] { uri.queryParameters.filter { $0.key == name }.map { String($0.value) } }
}
