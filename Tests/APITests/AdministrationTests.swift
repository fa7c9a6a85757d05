// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Testing

@testable import API

@Suite struct AdministrationTests {
  @Test(arguments: ["/api/2.0/nodes", "/api/2.0//nodes", "//metrics", "/metrics/", "/api//2.0/events/", "/api/2.0/console/dashboard"])
  func whatShowsTheWholeClusterIsReservedHoweverItIsWritten(_ path: String) {
    #expect(Administration.isReserved(.get, path))
  }

  @Test func theRestIsNot() {
    for path in ["/", "", "/api/2.0/nodesx", "/api/2.2/jobs/list", "/api/2.0/notification-destinations"] { #expect(!Administration.isReserved(.get, path)) }
    #expect(Administration.isReserved(.post, "/api/2.0//notification-destinations"))
  }
}
