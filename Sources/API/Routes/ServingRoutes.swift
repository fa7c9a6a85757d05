// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Hummingbird

/// Endpoints and their replicas.
struct ServingRoutes {
  let service: any PlatformService

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    let endpoints = router.group("/api/2.0/serving-endpoints")
    endpoints.get("/") { request, _ in
      let load = request.uri.queryParameters["load"].map { String($0) }
      guard load == nil || load == "true" || load == "false" else { throw PlatformError(.invalidArgument, "load must be true or false") }
      return try Response.json(await service.endpoints(load: load == "true"))
    }
    endpoints.get("/{name}") { _, context in try Response.json(await service.endpoint(try context.parameters.require("name"))) }
    endpoints.delete("/{name}") { _, context in
      try await service.removeEndpoint(try context.parameters.require("name"), by: context.principal)
      return try Response.json(JSONValue.object([:]))
    }
    endpoints.put("/{name}/scale") { request, context in
      let body: ScaleRequest = try await request.json()
      guard (0...64).contains(body.replicas) else { throw PlatformError(.invalidArgument, "replicas must be 0 to 64") }
      return try Response.json(
        await service.scale(try context.parameters.require("name"), replicas: body.replicas, by: context.principal))
    }
  }
}
