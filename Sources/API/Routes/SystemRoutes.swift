// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Hummingbird

/// Health, metrics, status, nodes.
struct SystemRoutes {
  let service: any PlatformService

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    // Liveness: this very answer shows that the loops turn.
    for path in ["/healthz", "/livez"] as [RouterPath] {
      router.get(path) { _, _ in Response.text("ok\n", type: "text/plain; charset=utf-8") }
    }
    router.get("/readyz") { _, _ in
      try await service.readiness()
      return Response.text("ready\n", type: "text/plain; charset=utf-8")
    }
    router.get("/metrics") { _, _ in
      Response.text(try await service.metricsText(), type: "text/plain; version=0.0.4; charset=utf-8")
    }
    router.get("/api/2.0/status") { _, _ in try Response.json(await service.status()) }
    router.get("/api/2.0/nodes") { _, _ in try Response.json(await service.nodes()) }
    for change in NodeChange.allCases {
      router.post("/api/2.0/nodes/{name}/\(change.rawValue)") { _, context in
        try Response.json(await service.setNode(try context.parameters.require("name"), change, by: context.principal))
      }
    }
    router.post("/api/2.0/join-tokens") { request, context in
      let body: JoinTokenRequest = try await request.json()
      guard (1...31_536_000).contains(body.ttlSeconds), (1...1000).contains(body.uses) else {
        throw PlatformError(.invalidArgument, "ttl_seconds must be 1 to 31536000 and uses 1 to 1000")
      }
      return try Response.json(await service.createJoinToken(body, by: context.principal))
    }
  }
}
