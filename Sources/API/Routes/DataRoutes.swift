// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Hummingbird

/// Vector indexes.
struct DataRoutes {
  let service: any PlatformService

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    router.post("/api/2.0/vector-search/indexes/{name}/query") { request, context in
      let body: IndexQueryRequest = try await request.json()
      guard (1...1000).contains(body.numResults ?? 5) else {
        throw PlatformError(.invalidArgument, "num_results must be 1 to 1000")
      }
      return try Response.json(await service.queryIndex(try context.parameters.require("name"), body, by: context.principal))
    }
  }
}
