// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Logging

/// What has to be done for the catalog now and then: files of what was dropped long ago, versions whose files never came.
struct CatalogUpkeep: Sendable {
  let catalog: CatalogStore
  let lake: String
  let logger: Logger

  /// Every hour, first soon after the start. Ends when the task is cancelled.
  func run() async {
    var wait = Duration.seconds(60)
    while !Task.isCancelled {
      try? await Task.sleep(for: wait)  // cancelled: the loop condition ends it
      if Task.isCancelled { return }
      wait = .seconds(3600)
      do {
        let gone = try await catalog.purge(lake: lake)
        let failed = try await catalog.failForgottenVersions()
        if gone + failed > 0 { logger.info("catalog upkeep", metadata: ["purged": "\(gone)", "failed_versions": "\(failed)"]) }
      } catch { logger.warning("catalog upkeep failed; it is tried again in an hour", metadata: ["error": "\(error)"]) }
    }
  }
}
