// SPDX-License-Identifier: Apache-2.0

// Functions of `/api/2.1/unity-catalog/functions`, in the members that Unity Catalog's own clients read.

/// A parameter of a function, or a column of the table that it gives.
public struct FunctionParameterInfo: Codable, Sendable, Equatable {
  public var name: String
  /// As in `array<bigint>`.
  public var typeText: String
  public var typeJSON: String?
  public var typeName: ColumnTypeName?
  public var typePrecision: Int?
  public var typeScale: Int?
  public var position: Int?
  public var parameterMode: String?
  /// `PARAM` or `COLUMN`.
  public var parameterType: String?
  /// An expression.
  public var parameterDefault: String?
  public var comment: String?

  public init(
    name: String, typeText: String, typeJSON: String?, typeName: ColumnTypeName?, typePrecision: Int?, typeScale: Int?, position: Int,
    isColumn: Bool, defaultValue: String? = nil, comment: String?
  ) {
    self.name = name
    self.typeText = typeText
    self.typeJSON = typeJSON
    self.typeName = typeName
    self.typePrecision = typePrecision
    self.typeScale = typeScale
    self.position = position
    parameterMode = "IN"
    parameterType = isColumn ? "COLUMN" : "PARAM"
    parameterDefault = defaultValue
    self.comment = comment
  }

  enum CodingKeys: String, CodingKey {
    case name, position, comment
    case typeText = "type_text"
    case typeJSON = "type_json"
    case typeName = "type_name"
    case typePrecision = "type_precision"
    case typeScale = "type_scale"
    case parameterMode = "parameter_mode"
    case parameterType = "parameter_type"
    case parameterDefault = "parameter_default"
  }
}

public struct FunctionParameterInfos: Codable, Sendable, Equatable {
  public var parameters: [FunctionParameterInfo]?
  public init(_ parameters: [FunctionParameterInfo]) { self.parameters = parameters }
}

/// What language a function is written in.
public enum RoutineBodyName: String, APIEnum {
  case sql = "SQL"
  case external = "EXTERNAL"
}

public struct CreateFunctionRequest: Codable, Sendable, Equatable {
  public struct Function: Codable, Sendable, Equatable {
    public var name: String
    public var catalogName: String
    public var schemaName: String
    public var inputParams: FunctionParameterInfos?
    /// `TABLE_TYPE` of a function that gives a table; its columns are `return_params`.
    public var dataType: ColumnTypeName?
    /// As in `array<bigint>`; goes before `data_type`.
    public var fullDataType: String?
    public var returnParams: FunctionParameterInfos?
    public var routineBody: RoutineBodyName?
    /// An expression or a query.
    public var routineDefinition: String
    public var isDeterministic: Bool?
    public var comment: String?
    enum CodingKeys: String, CodingKey {
      case name, comment
      case catalogName = "catalog_name"
      case schemaName = "schema_name"
      case inputParams = "input_params"
      case dataType = "data_type"
      case fullDataType = "full_data_type"
      case returnParams = "return_params"
      case routineBody = "routine_body"
      case routineDefinition = "routine_definition"
      case isDeterministic = "is_deterministic"
    }
  }
  public var functionInfo: Function
  enum CodingKeys: String, CodingKey { case functionInfo = "function_info" }
}

public struct FunctionInfo: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String
  public var schemaName: String
  public var fullName: String
  public var functionID: String
  public var inputParams: FunctionParameterInfos
  public var returnParams: FunctionParameterInfos?
  public var dataType: ColumnTypeName
  public var fullDataType: String
  public var routineBody = RoutineBodyName.sql
  public var routineDefinition: String
  public var parameterStyle = "S"
  public var isDeterministic: Bool?
  /// `CONTAINS_SQL`, or `READS_SQL_DATA` when it reads tables.
  public var sqlDataAccess: String
  /// It is called for NULL, too.
  public var isNullCall = true
  public var securityType = "DEFINER"
  public var specificName: String
  public var comment: String?
  public var owner: String
  /// A JSON object as text.
  public var properties: String?
  public var createdAt: Int64
  public var createdBy: String
  public var updatedAt: Int64
  public var updatedBy: String

  public init(
    id: String, catalog: String, schema: String, name: String, inputParams: [FunctionParameterInfo], returnParams: [FunctionParameterInfo]?,
    dataType: ColumnTypeName, fullDataType: String, routineDefinition: String, isDeterministic: Bool?, readsData: Bool, comment: String,
    owner: String, properties: String?, createdAt: Int64, createdBy: String, updatedAt: Int64, updatedBy: String
  ) {
    functionID = id
    catalogName = catalog
    schemaName = schema
    self.name = name
    fullName = "\(catalog).\(schema).\(name)"
    self.inputParams = FunctionParameterInfos(inputParams)
    self.returnParams = returnParams.map { FunctionParameterInfos($0) }
    self.dataType = dataType
    self.fullDataType = fullDataType
    self.routineDefinition = routineDefinition
    self.isDeterministic = isDeterministic
    sqlDataAccess = readsData ? "READS_SQL_DATA" : "CONTAINS_SQL"
    specificName = name
    self.comment = comment.isEmpty ? nil : comment
    self.owner = owner
    self.properties = properties
    self.createdAt = createdAt
    self.createdBy = createdBy
    self.updatedAt = updatedAt
    self.updatedBy = updatedBy
  }

  enum CodingKeys: String, CodingKey {
    case name, comment, owner, properties
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case fullName = "full_name"
    case functionID = "function_id"
    case inputParams = "input_params"
    case returnParams = "return_params"
    case dataType = "data_type"
    case fullDataType = "full_data_type"
    case routineBody = "routine_body"
    case routineDefinition = "routine_definition"
    case parameterStyle = "parameter_style"
    case isDeterministic = "is_deterministic"
    case sqlDataAccess = "sql_data_access"
    case isNullCall = "is_null_call"
    case securityType = "security_type"
    case specificName = "specific_name"
    case createdAt = "created_at"
    case createdBy = "created_by"
    case updatedAt = "updated_at"
    case updatedBy = "updated_by"
  }
}
