// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import Foundation
import Query
import Scheduling

extension StatementPlanner {
  /// - Returns: whether the statement was one about the catalog's other objects, and is done.
  func catalogStatement(_ plan: StatementPlan, _ call: StageCall, _ response: inout StatementResponse) async throws -> Bool {
    let actor = "run \(call.id.run)"
    guard let target = plan.target else { throw PlatformError(.internalError, "the statement has no target") }
    switch plan.kind {
    case .createSchema:
      let made = try await services.catalog.createSchema(catalog: target.catalog, name: target.schema, by: actor)
      if !made && !plan.isConditional {
        throw PlatformError(.alreadyExists, "schema '\(target.catalog).\(target.schema)' exists already", number: "PLT-3003")
      }
    case .showTables:
      response.columns = [.init(name: "table", type: "varchar"), .init(name: "owner", type: "varchar")]
      response.rows = try await services.catalog.tables(catalog: target.catalog, schema: target.schema).map {
        [.string("\($0.name)"), .string($0.owner)]
      }
    default: return false
    }
    return true
  }
}
