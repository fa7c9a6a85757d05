// SPDX-License-Identifier: Apache-2.0

public import Core
import Hummingbird

/// Destinations of notifications in the shapes of Databricks' API, and what became of notifications.
public protocol NotificationServing: Sendable {
  func createDestination(_ request: JSONValue, by principal: Principal) async throws -> JSONValue
  func destination(_ id: String) async throws -> JSONValue
  func destinations(pageSize: Int, pageToken: String?) async throws -> JSONValue
  func changeDestination(_ id: String, _ request: JSONValue, by principal: Principal) async throws -> JSONValue
  func deleteDestination(_ id: String, by principal: Principal) async throws
  /// Newest first, of one run or of all.
  func deliveries(run: String?, state: String?, limit: Int, pageToken: String?) async throws -> JSONValue
}

/// `/api/2.0/notification-destinations`, and the platform's own `/api/2.0/notification-deliveries`.
struct NotificationRoutes {
  let service: any PlatformService

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    let destinations = router.group("/api/2.0/notification-destinations")
    destinations.post { request, context in
      let body: JSONValue = try await request.json()
      return try Response.json(await service.createDestination(body, by: context.principal))
    }
    destinations.get { request, _ in
      let size = try request.queryInt("page_size", in: 0...1000, default: 100)
      return try Response.json(await service.destinations(pageSize: size == 0 ? 100 : size, pageToken: request.query("page_token")))
    }
    destinations.get("/{id}") { _, context in try Response.json(await service.destination(context.parameters.require("id"))) }
    destinations.patch("/{id}") { request, context in
      let body: JSONValue = try await request.json()
      return try Response.json(await service.changeDestination(context.parameters.require("id"), body, by: context.principal))
    }
    destinations.delete("/{id}") { _, context in
      try await service.deleteDestination(context.parameters.require("id"), by: context.principal)
      return try Response.json(JSONValue.object([:]))
    }
    router.get("/api/2.0/notification-deliveries") { request, _ in
      try Response.json(
        await service.deliveries(
          run: request.query("run_id"), state: request.query("state"), limit: request.queryInt("limit", in: 1...1000, default: 100),
          pageToken: request.query("page_token")))
    }
  }
}
