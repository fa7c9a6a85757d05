// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Functions that people know from other engines: those that the engine has, and those that are added as macros because they mean exactly
/// the same there.
public enum SQLExtensions {
  /// Words that depend on who asks and from where, and the expressions that are put in their place.
  static let sessionWords: [String: String] = [
    "current_user": user.expression, "session_user": user.expression, "current_catalog": catalog.expression,
    "current_database": schema.expression, "current_schema": schema.expression,
  ]
  /// Words that others write as calls without arguments.
  static let bareCalls: [String: String] = ["current_timestamp": "current_timestamp", "localtimestamp": "localtimestamp"]
  private static let user = StatementVariable(name: "__session_user", value: .null, type: "VARCHAR")
  private static let catalog = StatementVariable(name: "__session_catalog", value: .null, type: "VARCHAR")
  private static let schema = StatementVariable(name: "__session_schema", value: .null, type: "VARCHAR")

  static func isOfSession(_ variable: StatementVariable) -> Bool { [user, catalog, schema].contains { $0.name == variable.name } }

  /// What the words mean for one statement.
  public static func session(user name: String, catalog: String, schema: String) -> [StatementVariable] {
    zip([user, Self.catalog, Self.schema], [name, catalog, schema]).map {
      StatementVariable(name: $0.name, value: .string($1), type: $0.type)
    }
  }

  /// Names of the engine's functions, in small letters. Empty when there is no engine, and then no statement runs either.
  private static let builtIn: Set<String> = {
    let names = try? Database(settings: .init(threads: 1)).connect().rows("SELECT DISTINCT lower(function_name) FROM duckdb_functions()")
    return Set((names ?? []).compactMap { $0.first?.stringValue }).union(["overlay", "grouping", "grouping_id", "unnest"])
  }()

  /// Whether the engine itself has a function of this name, in small letters.
  public static func isBuiltIn(_ name: String) -> Bool { builtIn.contains(name) }

  /// All names that can be called, but for the engine's operators and what it has for itself.
  static var known: Set<String> {
    var names = builtIn.filter { name in name.first?.isLetter == true && !["pg_", "duckdb_", "pragma_"].contains { name.hasPrefix($0) } }
    names.formUnion(macros.keys)
    names.formUnion(sessionWords.keys)
    names.formUnion(bareCalls.keys)
    names.formUnion(SparkCalls.areWrittenAnew)
    return names.union(["map", "read_files", "table_changes", "coalesce", "nullif", "ifnull", "cast", "try_cast", "extract"])
  }

  /// Whether no function of the catalog may have this name.
  public static func isTaken(_ name: String) -> Bool {
    let folded = name.lowercased()
    return isBuiltIn(folded) || macros[folded] != nil || sessionWords[folded] != nil || bareCalls[folded] != nil
  }

  /// By name, in small letters.
  static let macros = SparkMacros.all

  /// Whether a call of so many arguments means the macro of this name, and not a function of the engine's.
  static func isMacro(_ name: String, arguments: Int) -> Bool {
    guard let macro = macros[name] else { return false }
    return !isBuiltIn(name) || macro.takes(arguments)
  }

  /// The macros of these names.
  public static func definitions(_ names: Set<String>) -> [StatementDefinition] {
    names.sorted().compactMap { name in
      macros[name].map { macro in
        let list = (macro.overloads + macro.passed).map { "(\($0.parameters.joined(separator: ", "))) AS (\($0.expression))" }
        return StatementDefinition(
          function: name, label: name, sql: "CREATE MACRO \(SQLText.identifier(name))\(list.joined(separator: ", "))")
      }
    }
  }
}
