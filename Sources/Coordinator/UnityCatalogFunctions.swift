// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import Foundation
import Query

/// Functions, for Unity Catalog's clients. What they make goes through the same checks as CREATE FUNCTION.
extension CoordinatorService {
  func functions(catalog parent: String, schema: String, _ page: PageRequest) async throws -> CatalogList<FunctionInfo> {
    let found = try await catalog.storedSchema(parent, schema)
    return try await catalog.functions(catalog: found.catalog, schema: found.name, limit: page.limit, pageToken: page.token)
      .list("functions", FunctionInfo.init)
  }

  func function(_ name: String) async throws -> FunctionInfo {
    FunctionInfo(try await catalog.function(catalog.stored(.function, Self.threePart(name))))
  }

  func createFunction(_ request: CreateFunctionRequest, by principal: Principal) async throws -> FunctionInfo {
    let given = request.functionInfo
    guard given.routineBody != .external else {
      throw PlatformError(
        .invalidArgument, "function_info.routine_body: functions are written in SQL here", number: "PLT-1702", path: "function_info.routine_body")
    }
    let name = try await newName(.function, given.catalogName, given.schemaName, given.name)
    let isTable = given.dataType == .table || (given.dataType == nil && given.fullDataType == nil && given.returnParams != nil)
    let text = given.fullDataType ?? given.dataType?.rawValue
    guard isTable || text != nil else { throw Self.missing("function_info.full_data_type") }
    let parameters = try Self.sorted(given.inputParams).enumerated().map { index, one in
      FunctionDefinition.Parameter(
        name: one.name, type: try Self.type(one.typeText, "function_info.input_params.parameters[\(index)].type_text"),
        defaultValue: one.parameterDefault, comment: one.comment)
    }
    let columns = try Self.sorted(isTable ? given.returnParams : nil).enumerated().map { index, one in
      ColumnEntry(
        name: one.name, type: try Self.type(one.typeText, "function_info.return_params.parameters[\(index)].type_text"), comment: one.comment)
    }
    guard !isTable || !columns.isEmpty else { throw Self.missing("function_info.return_params") }
    let definition = FunctionDefinition(
      parameters: parameters, returns: isTable ? nil : try text.map { try Self.type($0, "function_info.full_data_type") }, columns: columns,
      body: given.routineDefinition, isDeterministic: given.isDeterministic, catalog: name.catalog, schema: name.schema)
    let checked = try await LakeTables(catalog: catalog, root: configuration.layout.lake).checked(
      definition, name: name, session: SQLContext(catalog: name.catalog, schema: name.schema), user: principal.name)
    return FunctionInfo(try await catalog.setFunction(name, checked, comment: given.comment ?? "", by: principal.name))
  }

  private static func sorted(_ list: FunctionParameterInfos?) -> [FunctionParameterInfo] {
    (list?.parameters ?? []).enumerated().sorted { ($0.element.position ?? $0.offset, $0.offset) < ($1.element.position ?? $1.offset, $1.offset) }
      .map(\.element)
  }

  private static func type(_ text: String, _ member: String) throws -> String {
    do { return try SQLTypeText.engine(text) } catch let error as PlatformError {
      throw PlatformError(.invalidArgument, "\(member): \(error.message)", hint: error.hint, number: "PLT-1405", path: member)
    }
  }

  func changeFunction(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> FunctionInfo {
    let name = try await renamed(.function, name, request.newName, by: principal)
    try await catalog.change(.function, name, request.change, by: principal.name)
    return FunctionInfo(try await catalog.function(name))
  }

  func deleteFunction(_ name: String, by principal: Principal) async throws {
    try await catalog.dropFunction(catalog.stored(.function, Self.threePart(name)), by: principal.name)
  }
}

extension FunctionInfo {
  init(_ entry: FunctionEntry) {
    let definition = entry.definition
    func info(_ name: String, _ type: String, _ index: Int, _ isColumn: Bool, _ value: String?, _ comment: String?) -> FunctionParameterInfo {
      let column = ColumnInfo(name: name, type: CatalogTypeText.delta(sql: type), position: index)
      return FunctionParameterInfo(
        name: name, typeText: column.typeText, typeJSON: column.typeJSON, typeName: ColumnTypeName(rawValue: column.typeName),
        typePrecision: column.typePrecision, typeScale: column.typeScale, position: index, isColumn: isColumn, defaultValue: value, comment: comment)
    }
    let result = definition.returns.map { CatalogTypeText.delta(sql: $0) }
    let columns = definition.columns.enumerated().map { info($1.name, $1.type, $0, true, nil, $1.comment) }
    self.init(
      id: entry.id.uuidString.lowercased(), catalog: entry.name.catalog, schema: entry.name.schema, name: entry.name.name,
      inputParams: definition.parameters.enumerated().map { info($1.name, $1.type, $0, false, $1.defaultValue, $1.comment) },
      returnParams: result == nil ? columns : nil,
      dataType: result.map { ColumnTypeName(rawValue: CatalogTypeText.name($0).name) ?? .userDefined } ?? .table,
      fullDataType: result.map { CatalogTypeText.text($0) } ?? "table(\(columns.map { "\($0.name) \($0.typeText)" }.joined(separator: ", ")))",
      routineDefinition: definition.body, isDeterministic: definition.isDeterministic, readsData: definition.readsData ?? false,
      comment: entry.comment, owner: entry.owner,
      properties: entry.properties.isEmpty ? nil : JSONValue.object(entry.properties.mapValues { .string($0) }).sortedText,
      createdAt: entry.createdAt.catalogMilliseconds, createdBy: entry.createdBy, updatedAt: entry.updatedAt.catalogMilliseconds,
      updatedBy: entry.updatedBy)
  }
}
