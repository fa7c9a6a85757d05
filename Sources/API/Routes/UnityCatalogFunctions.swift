// SPDX-License-Identifier: Apache-2.0

public import Client
import Core
import Foundation
import Hummingbird

/// Functions of the catalog, and where rows come from.
public protocol UnityCatalogFunctionService: Sendable {
  func functions(catalog: String, schema: String, _ page: PageRequest) async throws -> CatalogList<FunctionInfo>
  func function(_ name: String) async throws -> FunctionInfo
  func createFunction(_ request: CreateFunctionRequest, by principal: Principal) async throws -> FunctionInfo
  func changeFunction(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> FunctionInfo
  func deleteFunction(_ name: String, by principal: Principal) async throws

  func lineage(_ request: LineageRequest) async throws -> TableLineageInfo
  func columnLineage(_ request: LineageRequest) async throws -> ColumnLineageInfo
}

extension UnityCatalogRoutes {
  func addFunctions(to routes: DescribedRoutes) {
    routes.list(
      "/functions", "functions", "Functions of a schema by name",
      query: [.text("catalog_name", required: true), .text("schema_name", required: true), .flag("include_browse")]
    ) { [service] page, request, _ in
      try await service.functions(catalog: request.requiredQuery("catalog_name"), schema: request.requiredQuery("schema_name"), page)
    }
    routes.add(.post, "/functions", "Make a function that is written in SQL") { [service] (body: CreateFunctionRequest, _, context) in
      try await service.createFunction(body, by: context.principal)
    }
    routes.add(.get, "/functions/{name}", "One function", query: [.flag("include_browse")]) { [service] _, context in
      try await service.function(context.name())
    }
    routes.add(.patch, "/functions/{name}", "Change or rename a function") { [service] (body: CatalogChangeRequest, _, context) in
      try await service.changeFunction(context.name(), body, by: context.principal)
    }
    routes.done(.delete, "/functions/{name}", "Drop a function", query: [.flag("force")]) { [service] request, context in
      _ = try request.force()
      try await service.deleteFunction(context.name(), by: context.principal)
    }
  }

  /// Clients ask in the query or, as Databricks' examples do, in the body of a GET.
  func addLineage(to routes: DescribedRoutes) {
    var routes = routes
    routes.prefix = "/api/2.0/lineage-tracking"
    let table: [QueryField] = [.text("table_name"), .flag("include_entity_lineage")]
    routes.add(.get, "/table-lineage", "Tables that a table's rows come from and go to", query: table) { [service] request, _ -> TableLineageInfo in
      try await service.lineage(request.lineageRequest())
    }
    routes.add(.get, "/column-lineage", "Columns that a column's values come from and go to", query: table + [.text("column_name")]) {
      [service] request, _ -> ColumnLineageInfo in try await service.columnLineage(request.lineageRequest())
    }
  }
}

extension Request {
  fileprivate func lineageRequest() async throws -> LineageRequest {
    if let table = query("table_name") { return LineageRequest(tableName: table, columnName: query("column_name")) }
    return try await json()
  }
}
