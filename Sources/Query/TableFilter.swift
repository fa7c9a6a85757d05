// SPDX-License-Identifier: Apache-2.0

public import Core
public import DeltaLog

/// What a statement asks of the rows of one table where it names it: only rows for which every condition is true can have an
/// influence on its result. Made without knowing the table's columns; `predicate` finds out what the log can judge.
public struct TableFilter: Sendable, Hashable {
  /// The name that columns are qualified with.
  var alias: String
  /// Whether a column without a qualifier that the table has is the table's.
  var ownsBareNames: Bool
  /// Parts of the engine's syntax tree.
  var conditions: [JSONValue]

  /// What several uses of a table in a statement ask of it together.
  public static func predicate(
    _ filters: [TableFilter]?, schema: StructType, parameters: [JSONValue] = [], variables: [StatementVariable] = []
  ) -> FilePredicate {
    guard let filters, !filters.isEmpty else { return .all }
    let each = filters.map { $0.predicate(schema: schema, parameters: parameters, variables: variables) }
    return each.contains(.all) ? .all : (each.count == 1 ? each[0] : .or(each))
  }

  /// True for at least every row for which the conditions are.
  /// - Parameters:
  ///   - parameters: values of `$1`, `$2`, ..
  ///   - variables: what `getvariable` gives.
  func predicate(schema: StructType, parameters: [JSONValue], variables: [StatementVariable] = []) -> FilePredicate {
    let translation = ConditionTranslation(
      alias: alias, ownsBareNames: ownsBareNames, schema: schema, parameters: parameters, variables: variables)
    let parts = conditions.map { translation.predicate($0, negated: false, depth: 0) }.filter { $0 != .unknown }
    return parts.isEmpty ? .all : (parts.count == 1 ? parts[0] : .and(parts))
  }

  /// What the log has to tell of a file for all of its rows to fulfil the conditions; nil: it cannot tell.
  func decided(schema: StructType, variables: [StatementVariable]) -> DecidedFiles? {
    let translation = ConditionTranslation(alias: alias, ownsBareNames: ownsBareNames, schema: schema, parameters: [], variables: variables)
    let parts = conditions.map { translation.predicate($0, negated: true, depth: 0) }
    guard !parts.isEmpty, !parts.contains(.unknown), let columns = translation.columnsThatMakeNull(.array(conditions)) else { return nil }
    return DecidedFiles(failing: .or(parts), columns: columns)
  }
}

/// Files that a condition holds for as a whole, by partition values and statistics.
struct DecidedFiles: Sendable {
  /// True for at least the rows for which the condition is false.
  var failing: FilePredicate
  /// Columns that make the condition null where they are.
  var columns: [[String]]

  func holds(for file: AddFile, _ skipper: FileSkipper) -> Bool {
    !skipper.mayMatch(file, failing) && !columns.contains { skipper.mayMatch(file, .isNull($0)) }
  }
}

/// Conditions of the engine's syntax tree as predicates that are true for at least the same rows. What is not understood to the last
/// detail (casts of columns, collations, functions, comparisons across kinds of types) is `unknown`.
private struct ConditionTranslation {
  var alias: String
  var ownsBareNames: Bool
  var schema: StructType
  var parameters: [JSONValue]
  var variables: [StatementVariable]

  /// A column and how its values compare.
  private struct Target {
    var path: [String]
    var type: String
  }

  /// A constant: the engine's name of its type, and its text or number.
  private struct Constant {
    var type: String
    var value: JSONValue
    var scale = 0
  }

  /// - Parameter negated: the predicate is for rows for which the condition is false. (Approximations are on the safe side only for what
  ///   they are made for, so nothing is negated afterwards.)
  func predicate(_ node: JSONValue, negated: Bool, depth: Int) -> FilePredicate {
    guard depth < 100 else { return .unknown }
    let type = node["type"]?.stringValue ?? ""
    let children = node["children"]?.arrayValue ?? []
    switch (node["class"]?.stringValue ?? "", type) {
    case ("CONJUNCTION", "CONJUNCTION_AND"), ("CONJUNCTION", "CONJUNCTION_OR"):
      let parts = children.map { predicate($0, negated: negated, depth: depth + 1) }
      if (type == "CONJUNCTION_AND") != negated {
        let known = parts.filter { $0 != .unknown }
        return known.isEmpty ? .unknown : .and(known)
      }
      return parts.contains(.unknown) ? .unknown : .or(parts)
    case ("OPERATOR", "OPERATOR_NOT"): return children.count == 1 ? predicate(children[0], negated: !negated, depth: depth + 1) : .unknown
    case ("OPERATOR", "OPERATOR_IS_NULL"), ("OPERATOR", "OPERATOR_IS_NOT_NULL"):
      // Writers do not agree on how the NULLs of fields within a NULL count.
      guard children.count == 1, let path = path(children[0]), path.count == 1 else { return .unknown }
      return (type == "OPERATOR_IS_NULL") != negated ? .isNull(path) : .isNotNull(path)
    case ("COLUMN_REF", _):
      guard let target = target(node), target.type == "boolean" else { return .unknown }
      return .compare(column: target.path, .equal, .boolean(!negated))
    case ("COMPARISON", _):
      guard let left = node["left"], let right = node["right"], var comparison = Self.comparisons[type] else { return .unknown }
      if let target = target(left), let constant = constant(right) {
        if negated { comparison = Self.opposite[comparison] ?? comparison }
        return compare(target, comparison, constant)
      }
      guard let target = target(right), let constant = constant(left) else { return .unknown }
      comparison = Self.mirrored[comparison] ?? comparison
      if negated { comparison = Self.opposite[comparison] ?? comparison }
      return compare(target, comparison, constant)
    case ("BETWEEN", _):
      guard let target = node["input"].flatMap(target), let lower = node["lower"].flatMap(constant), let upper = node["upper"].flatMap(constant),
        areAlike([lower, upper])
      else { return .unknown }
      let parts =
        negated
        ? [compare(target, .less, lower), compare(target, .greater, upper)]
        : [compare(target, .greaterOrEqual, lower), compare(target, .lessOrEqual, upper)]
      return combined(parts, isAnd: !negated)
    case ("OPERATOR", "COMPARE_IN"), ("OPERATOR", "COMPARE_NOT_IN"):
      let constants = children.dropFirst().map(constant)
      let known = constants.compactMap { $0 }
      guard let target = children.first.flatMap(target), !known.isEmpty, known.count == constants.count, known.count <= 1000, areAlike(known) else {
        return .unknown
      }
      let isIn = (type == "COMPARE_IN") != negated
      return combined(known.map { compare(target, isIn ? .equal : .notEqual, $0) }, isAnd: !isIn)
    case ("FUNCTION", _): return negated ? .unknown : prefixTest(node, children)
    default: return .unknown
    }
  }

  /// Columns whose NULLs can make a condition null; nil when one is not found, or lies within another.
  func columnsThatMakeNull(_ node: JSONValue) -> [[String]]? {
    switch node {
    case .array(let items):
      return items.reduce([]) { sum, item in sum.flatMap { sum in columnsThatMakeNull(item).map { sum + $0 } } }
    case .object(let members):
      if members["type"] == "OPERATOR_IS_NULL" || members["type"] == "OPERATOR_IS_NOT_NULL" { return [] }
      if members["class"] == "COLUMN_REF" {
        guard let path = path(node), path.count == 1 else { return nil }
        return [path]
      }
      return columnsThatMakeNull(.array(Array(members.values)))
    default: return []
    }
  }

  private func combined(_ parts: [FilePredicate], isAnd: Bool) -> FilePredicate {
    if isAnd {
      let known = parts.filter { $0 != .unknown }
      return known.isEmpty ? .unknown : .and(known)
    }
    return parts.contains(.unknown) ? .unknown : .or(parts)
  }

  private static let comparisons: [String: FilePredicate.Comparison] = [
    "COMPARE_EQUAL": .equal, "COMPARE_NOTEQUAL": .notEqual, "COMPARE_LESSTHAN": .less, "COMPARE_LESSTHANOREQUALTO": .lessOrEqual,
    "COMPARE_GREATERTHAN": .greater, "COMPARE_GREATERTHANOREQUALTO": .greaterOrEqual,
  ]
  private static let opposite: [FilePredicate.Comparison: FilePredicate.Comparison] = [
    .equal: .notEqual, .notEqual: .equal, .less: .greaterOrEqual, .greaterOrEqual: .less, .greater: .lessOrEqual, .lessOrEqual: .greater,
  ]
  private static let mirrored: [FilePredicate.Comparison: FilePredicate.Comparison] = [
    .less: .greater, .greater: .less, .lessOrEqual: .greaterOrEqual, .greaterOrEqual: .lessOrEqual,
  ]

  // MARK: columns

  private func path(_ node: JSONValue) -> [String]? {
    guard node["class"] == "COLUMN_REF", let parts = node["column_names"]?.arrayValue?.compactMap(\.stringValue), !parts.isEmpty else { return nil }
    if parts.count > 1, parts[0].lowercased() == alias.lowercased() { return resolves(Array(parts.dropFirst())) ? Array(parts.dropFirst()) : nil }
    return ownsBareNames && resolves(parts) ? parts : nil
  }

  private func resolves(_ path: [String]) -> Bool { field(path) != nil }

  private func field(_ path: [String]) -> StructField? {
    var fields = schema.fields
    var found: StructField?
    for name in path {
      guard let next = fields.first(where: { $0.name.lowercased() == name.lowercased() }) else { return nil }
      found = next
      if case .structure(let inner) = next.type { fields = inner.fields } else { fields = [] }
    }
    return found
  }

  private func target(_ node: JSONValue) -> Target? {
    guard let path = path(node), case .primitive(let type)? = field(path)?.type else { return nil }
    return Target(path: path, type: type)
  }

  // MARK: constants

  private func constant(_ node: JSONValue) -> Constant? {
    switch node["class"]?.stringValue {
    case "CONSTANT":
      guard let value = node["value"], value["is_null"] == false, let type = value["type"]?["id"]?.stringValue, let content = value["value"] else { return nil }
      return Constant(type: type, value: content, scale: value["type"]?["type_info"]?["scale"]?.intValue ?? 0)
    case "PARAMETER":
      guard let number = node["identifier"]?.stringValue.flatMap({ Int($0) }), parameters.indices.contains(number - 1) else { return nil }
      switch parameters[number - 1] {
      case .bool: return Constant(type: "BOOLEAN", value: parameters[number - 1])
      case .integer: return Constant(type: "BIGINT", value: parameters[number - 1])
      case .number: return Constant(type: "DOUBLE", value: parameters[number - 1])
      case .string: return Constant(type: "VARCHAR", value: parameters[number - 1])
      default: return nil
      }
    case "FUNCTION":
      guard node["function_name"] == "getvariable", let children = node["children"]?.arrayValue, children.count == 1,
        let name = constant(children[0]), name.type == "VARCHAR", let variable = variables.first(where: { .string($0.name) == name.value })
      else { return nil }
      return Self.constant(variable)
    case "CAST":
      // `DATE '2024-01-01'`, `TIMESTAMP '..'`, `true`, `5::BIGINT`.
      guard node["try_cast"] == false, let inner = node["child"].flatMap(constant), let type = node["cast_type"]?["id"]?.stringValue else { return nil }
      switch (type, inner.value) {
      case ("DATE", .string), ("TIMESTAMP", .string), ("TIMESTAMP WITH TIME ZONE", .string):
        return inner.type == "VARCHAR" ? Constant(type: type, value: inner.value) : nil
      case ("BOOLEAN", .string(let text)):
        guard let value = ["t": true, "f": false, "true": true, "false": false][text.lowercased()] else { return nil }
        return Constant(type: type, value: .bool(value))
      case ("INTEGER", .integer), ("BIGINT", .integer): return Self.integers.contains(inner.type) ? Constant(type: type, value: inner.value) : nil
      default: return nil
      }
    default: return nil
    }
  }

  /// A value that stays what it is when it is made to the variable's type.
  private static func constant(_ variable: StatementVariable) -> Constant? {
    switch (variable.type, variable.value) {
    case ("VARCHAR", .string), ("DATE", .string), ("TIMESTAMP", .string), ("TIMESTAMP WITH TIME ZONE", .string), ("BOOLEAN", .bool),
      ("DOUBLE", .number), ("DOUBLE", .integer):
      return Constant(type: variable.type, value: variable.value)
    case (let type, .integer) where integers.contains(type): return Constant(type: type, value: variable.value)
    case (let type, .string(let text)) where integers.contains(type):
      let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
      guard (1...18).contains(digits.utf8.count), digits.utf8.allSatisfy({ (48...57).contains($0) }), let value = Int64(text) else { return nil }
      return Constant(type: type, value: .integer(value))
    default: return nil
    }
  }

  private static let integers: Set<String> = ["TINYINT", "SMALLINT", "INTEGER", "BIGINT"]

  /// The engine brings the constants of a list to one type first: only those are taken that stay what they are.
  private func areAlike(_ constants: [Constant]) -> Bool {
    let types = Set(constants.map(\.type))
    return types.count == 1 || types.isSubset(of: Self.integers.union(["DECIMAL"]))
  }

  // MARK: comparisons

  private func compare(_ target: Target, _ comparison: FilePredicate.Comparison, _ constant: Constant) -> FilePredicate {
    func exact(_ value: Literal) -> FilePredicate { .compare(column: target.path, comparison, value) }
    switch target.type {
    case "string":
      guard constant.type == "VARCHAR", case .string(let text) = constant.value else { return .unknown }
      // Bounds that were cut off without a mark could look like the one value of a file.
      if comparison == .notEqual && text.unicodeScalars.count >= FileStatistics.stringLimit { return .unknown }
      return exact(.string(text))
    case "byte", "short", "integer", "long":
      if constant.type == "VARCHAR", case .string(let text) = constant.value {
        guard text.utf8.count <= 18, text.utf8.allSatisfy({ (48...57).contains($0) }), let value = Int64(text) else { return .unknown }
        return exact(.integer(value))
      }
      if constant.type == "DOUBLE" { return nearly(target, comparison, constant) }
      return number(constant).map(exact) ?? .unknown
    case "float", "double": return nearly(target, comparison, constant)
    case "boolean":
      guard constant.type == "BOOLEAN", case .bool(let value) = constant.value, comparison == .equal || comparison == .notEqual else { return .unknown }
      return exact(.boolean(value))
    case "date", "timestamp", "timestamp_ntz": return time(target.type, constant).map(exact) ?? .unknown
    case let name where name.hasPrefix("decimal"):
      if constant.type == "DOUBLE" { return nearly(target, comparison, constant) }
      return number(constant).map(exact) ?? .unknown
    default: return .unknown
    }
  }

  /// A whole or decimal number, exactly.
  private func number(_ constant: Constant) -> Literal? {
    guard case .integer(let value) = constant.value else { return nil }
    if Self.integers.contains(constant.type) { return .integer(value) }
    guard constant.type == "DECIMAL", (0...18).contains(constant.scale) else { return nil }
    var digits = String(value.magnitude)
    if digits.count <= constant.scale { digits = String(repeating: "0", count: constant.scale + 1 - digits.count) + digits }
    return .decimal((value < 0 ? "-" : "") + digits.dropLast(constant.scale) + (constant.scale > 0 ? "." + digits.suffix(constant.scale) : ""))
  }

  /// Comparisons that the engine makes with rounded numbers, with room for how it may round.
  private func nearly(_ target: Target, _ comparison: FilePredicate.Comparison, _ constant: Constant) -> FilePredicate {
    let value: Double
    switch constant.type {
    case "DOUBLE", "FLOAT":
      guard let number = constant.value.doubleValue else { return .unknown }
      value = number
    default:
      guard let text = number(constant),
        let number = { if case .integer(let whole) = text { Double(whole) } else if case .decimal(let digits) = text { Double(digits) } else { nil } }()
      else { return .unknown }
      value = number
    }
    guard value.isFinite, value.magnitude < 1e30 else { return .unknown }
    let rounded = Float(value)
    let isSingle = target.type == "float"
    let low = isSingle ? min(value, Double(rounded.nextDown)) : value.nextDown.nextDown
    let high = isSingle ? max(value, Double(rounded.nextUp)) : value.nextUp.nextUp
    switch comparison {
    case .equal:
      return .and([.compare(column: target.path, .greaterOrEqual, .number(low)), .compare(column: target.path, .lessOrEqual, .number(high))])
    case .notEqual: return .unknown
    case .less, .lessOrEqual: return .compare(column: target.path, .lessOrEqual, .number(high))
    case .greater, .greaterOrEqual: return .compare(column: target.path, .greaterOrEqual, .number(low))
    }
  }

  /// Sessions run in UTC. Text is taken only as far as the engine reads it in the same way.
  private func time(_ type: String, _ constant: Constant) -> Literal? {
    guard case .string(let text) = constant.value else { return nil }
    let wanted: String
    switch constant.type {
    case "DATE": wanted = "date"
    case "TIMESTAMP": wanted = "timestamp_ntz"
    case "TIMESTAMP WITH TIME ZONE": wanted = "timestamp"
    case "VARCHAR": wanted = type
    default: return nil
    }
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, text.utf8.count <= 32, text.utf8.count >= 10, parts.count == 1 || parts[1].prefix(while: \.isNumber).count <= 6 else { return nil }
    let hasZone = text.dropFirst(10).contains { "Zz+-".contains($0) }
    guard wanted == "timestamp" || !hasZone else { return nil }
    return try? Literal(partition: text, type: .primitive(wanted))  // what is no time here may be one to the engine
  }

  // MARK: prefixes

  private func prefixTest(_ node: JSONValue, _ children: [JSONValue]) -> FilePredicate {
    guard children.count == 2, let target = target(children[0]), target.type == "string", let constant = constant(children[1]),
      constant.type == "VARCHAR", case .string(var prefix) = constant.value
    else { return .unknown }
    switch node["function_name"]?.stringValue {
    case "~~":
      let fixed = prefix.unicodeScalars.prefix { $0 != "%" && $0 != "_" }
      prefix = String(String.UnicodeScalarView(fixed))
    case "starts_with", "prefix", "^@": break
    default: return .unknown
    }
    guard !prefix.isEmpty else { return .unknown }
    var parts: [FilePredicate] = [.compare(column: target.path, .greaterOrEqual, .string(prefix))]
    if let end = Self.successor(prefix) { parts.append(.compare(column: target.path, .less, .string(end))) }
    return .and(parts)
  }

  /// The first text after all that begin with `prefix`; nil: there is none.
  private static func successor(_ prefix: String) -> String? {
    var scalars = Array(prefix.unicodeScalars)
    while let last = scalars.popLast() {
      let next = last.value == 0xD7FF ? 0xE000 : last.value + 1
      if let scalar = Unicode.Scalar(next) { return String(String.UnicodeScalarView(scalars + [scalar])) }
    }
    return nil
  }
}
