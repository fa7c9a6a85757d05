// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB

/// Reading statements about tables: CREATE, CLONE, OPTIMIZE, VACUUM, RESTORE, DESCRIBE, SHOW.
extension StatementPlan {
  /// - Returns: false, at the same place, when the statement is about something else.
  mutating func parseTableCommand() throws -> Bool {
    let start = position
    if take("CREATE") {
      replaces = take("OR", "REPLACE")
      guard take("EXTERNAL", "TABLE") || take("TABLE") else {
        (position, replaces) = (start, false)
        return false
      }
      try parseCreateTable()
    } else if take("ALTER", "TABLE") {
      try parseAlterTable()
    } else if take("COMMENT", "ON", "TABLE") {
      try about()
      let comment = try commentText()
      command = .alter(.setTableComment(comment))
    } else if take("COMMENT", "ON", "COLUMN") {
      var parts = try path(limit: 32)
      guard parts.count >= 2 else { throw PlatformError(.invalidArgument, "a column is named with its table: COMMENT ON COLUMN t.a") }
      // Up to three parts name the table; what is left is the column.
      let column = parts.removeLast()
      guard parts.count <= 3 else { throw PlatformError(.invalidArgument, "the name '\(parts.joined(separator: "."))' has too many parts") }
      kind = .table
      target = qualified(parts)
      command = .alter(.setComment([column], try commentText()))
    } else if take("OPTIMIZE") {
      try parseOptimize()
    } else if take("VACUUM") {
      try parseVacuum()
    } else if take("REORG", "TABLE") {
      try about()
      guard take("APPLY"), takeSymbol("("), take("PURGE"), takeSymbol(")") else { throw expected("APPLY (PURGE)") }
      command = .purge
    } else if take("FSCK", "REPAIR", "TABLE") {
      try about()
      command = .repair(isDryRun: take("DRY", "RUN"))
    } else if take("RESTORE", "TABLE") || take("RESTORE") {
      try about()
      _ = take("TO")
      let version = try travel()
      guard version != TableVersion() else { throw expected("VERSION AS OF or TIMESTAMP AS OF") }
      command = .restore(version)
    } else if take("SHOW", "CREATE", "TABLE") {
      try about()
      command = .showCreate
    } else if take("SHOW", "COLUMNS") {
      guard take("IN") || take("FROM") else { throw expected("IN") }
      try about()
      command = .showColumns
    } else if take("SHOW", "TBLPROPERTIES") {
      try about()
      var name: String?
      if takeSymbol("(") {
        name = try propertyName()
        guard takeSymbol(")") else { throw expected(")") }
      }
      command = .showProperties(name)
    } else if take("SHOW", "PARTITIONS") {
      try about()
      command = .showPartitions
    } else if try !parseDescribe() {
      position = start
      return false
    }
    if kind != .createTableAs { try expectEnd() }
    return true
  }

  /// The table that the statement is about.
  private mutating func about() throws {
    kind = .table
    target = qualified(try name())
  }

  private mutating func commentText() throws -> String? {
    guard take("IS") else { throw expected("IS") }
    return take("NULL") ? nil : try text("a comment")
  }

  // MARK: DESCRIBE

  private mutating func parseDescribe() throws -> Bool {
    guard take("DESCRIBE") || take("DESC") else { return false }
    let others = [
      "HISTORY", "DETAIL", "CATALOG", "SCHEMA", "DATABASE", "FUNCTION", "VOLUME", "QUERY", "SHARE", "EXTERNAL", "CREDENTIAL", "SELECT", "WITH",
      "MODEL", "PROVIDER", "RECIPIENT",
    ]
    // A table may be called so: then nothing else follows.
    if let token, token.kind == .word, others.contains(token.text.uppercased()), position + 1 < source.tokens.count,
      !source.tokens[position + 1].isSymbol(".")
    {
      return false
    }
    _ = take("TABLE")
    let isExtended = take("EXTENDED") || take("FORMATTED")
    try about()
    command = .describe(isExtended: isExtended, column: token == nil ? [] : try path(limit: 16))
    return true
  }

  // MARK: CREATE

  private mutating func parseCreateTable() throws {
    isConditional = take("IF", "NOT", "EXISTS")
    guard !(replaces && isConditional) else { throw PlatformError(.invalidArgument, "OR REPLACE and IF NOT EXISTS exclude each other") }
    try about()
    if take("LIKE") {
      let source = qualified(try name())
      command = .createLike(source, try tableOptions(TableDefinition()))
      return
    }
    let isDeep = take("DEEP", "CLONE") || take("CLONE")
    if isDeep || take("SHALLOW", "CLONE") {
      let source = qualified(try name())
      let version = try travel()
      command = .clone(source, version, isDeep: isDeep, try tableOptions(TableDefinition()))
      return
    }
    var definition = TableDefinition()
    let hasColumns = token?.isSymbol("(") == true && !isQueryBehindParenthesis()
    if hasColumns { try parseColumns(&definition) }
    definition = try tableOptions(definition)
    if take("AS") || ["SELECT", "WITH", "VALUES"].contains(where: { token?.isWord($0) == true }) || token?.isSymbol("(") == true {
      guard !hasColumns else {
        throw PlatformError(
          .invalidArgument, "CREATE TABLE .. AS takes its columns from the query", hint: "Leave the list of columns out, and name and cast in the query.")
      }
      kind = .createTableAs
      self.definition = definition
      return try parseQuery()
    }
    guard hasColumns || definition.location != nil else { throw expected("a list of columns, or AS and a query,") }
    command = .create(definition)
  }

  private func isQueryBehindParenthesis() -> Bool {
    guard position + 1 < source.tokens.count else { return false }
    let next = source.tokens[position + 1]
    return next.isSymbol("(") || ["SELECT", "WITH", "VALUES"].contains(where: next.isWord)
  }

  /// `USING`, `PARTITIONED BY`, `CLUSTER BY`, `TBLPROPERTIES`, `COMMENT`, `LOCATION` in any order.
  private mutating func tableOptions(_ given: TableDefinition) throws -> TableDefinition {
    var definition = given
    var seen: Set<String> = []
    func once(_ what: String) throws {
      guard seen.insert(what).inserted else { throw PlatformError(.invalidArgument, "\(what) is there twice") }
    }
    while true {
      if take("USING") {
        try once("USING")
        guard let token, token.isName else { throw expected("a format") }
        guard token.text.uppercased() == "DELTA" else {
          throw PlatformError(
            .invalidArgument, "tables of the format '\(token.text.prefix(60))' are not supported: every table is a Delta table",
            hint: "Leave USING out, or write USING DELTA.")
        }
        position += 1
      } else if take("PARTITIONED", "BY") {
        try once("PARTITIONED BY")
        guard takeSymbol("(") else { throw expected("(") }
        repeat {
          guard let column = token, column.isName else { throw expected("a column's name") }
          position += 1
          if token?.kind == .word {
            // Hive's way: the partition column is declared here, behind all others.
            var field = StructField(name: column.text, type: try columnType())
            field.characterLimit = takeCharacterLimit()
            definition.fields.append(field)
            if take("COMMENT") { definition.fields[definition.fields.count - 1].metadata["comment"] = .string(try text("a comment")) }
          } else if token?.isSymbol("(") == true {
            throw PlatformError(
              .invalidArgument, "a table is partitioned by columns, not by the expression '\(column.text)(..)'",
              hint: "Add a column GENERATED ALWAYS AS (..) and partition by that.")
          }
          definition.partitionColumns.append(column.text)
        } while takeSymbol(",")
        guard takeSymbol(")") else { throw expected(")") }
      } else if take("CLUSTER", "BY") {
        try once("CLUSTER BY")
        definition.clusteringColumns = try clustering()
      } else if take("TBLPROPERTIES") {
        try once("TBLPROPERTIES")
        definition.properties = try propertyList()
      } else if take("COMMENT") {
        try once("COMMENT")
        definition.comment = try text("a comment")
      } else if take("LOCATION") {
        try once("LOCATION")
        definition.location = try text("a folder")
      } else if let token, ["OPTIONS", "CLUSTERED", "ROW", "STORED", "WITH"].contains(where: token.isWord), !isQueryWith() {
        throw PlatformError(.invalidArgument, "\(token.text.uppercased()) is not supported in CREATE TABLE")
      } else {
        break
      }
    }
    guard definition.partitionColumns.isEmpty || (definition.clusteringColumns ?? []).isEmpty else {
      throw PlatformError(.invalidArgument, "a table cannot be both partitioned and clustered", hint: "Choose PARTITIONED BY or CLUSTER BY.")
    }
    return definition
  }

  /// `WITH x AS (`: the query of CREATE TABLE without AS.
  private func isQueryWith() -> Bool {
    guard token?.isWord("WITH") == true, position + 1 < source.tokens.count else { return false }
    return source.tokens[position + 1].isName
  }

  mutating func clustering() throws -> [[String]] {
    if take("NONE") { return [] }
    if token?.isWord("AUTO") == true {
      throw PlatformError(.invalidArgument, "CLUSTER BY AUTO is not supported", hint: "Name up to four columns.")
    }
    return try columnList()
  }

  /// `(a, b.c)`.
  mutating func columnList() throws -> [[String]] {
    guard takeSymbol("(") else { throw expected("(") }
    var columns: [[String]] = []
    repeat { columns.append(try path(limit: 16)) } while takeSymbol(",")
    guard takeSymbol(")") else { throw expected(")") }
    return columns
  }

  private mutating func parseColumns(_ definition: inout TableDefinition) throws {
    guard takeSymbol("(") else { throw expected("(") }
    repeat {
      if let constraint = try parseConstraint(&definition) {
        _ = constraint
        continue
      }
      try parseColumn(&definition)
    } while takeSymbol(",")
    guard takeSymbol(")") else { throw expected(") behind the columns") }
    guard !definition.fields.isEmpty else { throw PlatformError(.invalidArgument, "a table needs columns") }
  }

  /// `[CONSTRAINT name] CHECK (..) | PRIMARY KEY (..) | FOREIGN KEY (..) REFERENCES t (..)`.
  /// - Returns: nil, at the same place, when there is none.
  @discardableResult
  mutating func parseConstraint(_ definition: inout TableDefinition) throws -> Bool? {
    let start = position
    var constraint: String?
    if take("CONSTRAINT") {
      guard let token, token.isName else { throw expected("the constraint's name") }
      constraint = token.text
      position += 1
    }
    if token?.isWord("CHECK") == true, position + 1 < source.tokens.count, source.tokens[position + 1].isSymbol("(") {
      position += 1
      definition.checks.append(.init(name: constraint, expression: try inParentheses()))
      _ = take("ENFORCED")
    } else if take("PRIMARY", "KEY") {
      let columns = try columnList().map { $0.joined(separator: ".") }
      definition.keys.append(.init(kind: .primary, name: constraint, columns: columns, references: nil, referenced: []))
      skipKeyOptions()
    } else if take("FOREIGN", "KEY") {
      let columns = try columnList().map { $0.joined(separator: ".") }
      definition.keys.append(try references(constraint, columns))
    } else if constraint != nil {
      throw expected("CHECK, PRIMARY KEY or FOREIGN KEY")
    } else {
      position = start
      return nil
    }
    return true
  }

  private mutating func references(_ constraint: String?, _ columns: [String]) throws -> TableDefinition.Key {
    guard take("REFERENCES") else { throw expected("REFERENCES") }
    let other = qualified(try name())
    let referenced = token?.isSymbol("(") == true ? try columnList().map { $0.joined(separator: ".") } : []
    skipKeyOptions()
    return .init(kind: .foreign, name: constraint, columns: columns, references: other, referenced: referenced)
  }

  /// Words that say how a key is meant; all of them come to the same here.
  private mutating func skipKeyOptions() {
    while take("NOT", "ENFORCED") || take("DEFERRABLE") || take("INITIALLY", "DEFERRED") || take("NORELY") || take("RELY")
      || take("MATCH", "FULL") || take("ON", "UPDATE", "NO", "ACTION") || take("ON", "DELETE", "NO", "ACTION")
    {}
  }

  private mutating func inParentheses() throws -> String {
    let text = try parenthesised()
    let inner = String(text.dropFirst().dropLast())
    guard !inner.allSatisfy(\.isWhitespace) else { throw expected("an expression") }
    return inner.trimmingWhitespace
  }

  private static let columnWords = ["COMMENT", "NOT", "GENERATED", "PRIMARY", "CONSTRAINT", "REFERENCES", "FOREIGN", "CHECK", "FIRST", "AFTER"]

  private mutating func parseColumn(_ definition: inout TableDefinition) throws {
    guard let column = token, column.isName else { throw PlatformError(.invalidArgument, "a column's name is expected") }
    position += 1
    var field = StructField(name: column.text, type: try columnType())
    field.characterLimit = takeCharacterLimit()
    var saysNotNull = false
    while let token, !token.isSymbol(","), !token.isSymbol(")") {
      if take("NOT", "NULL") {
        field.nullable = false
        saysNotNull = true
      } else if take("NULL") {
        field.nullable = true
      } else if take("COMMENT") {
        field.metadata["comment"] = .string(try text("a comment"))
      } else if take("DEFAULT") {
        field.metadata["CURRENT_DEFAULT"] = .string(try slice(until: Self.columnWords, orSymbols: [",", ")"]))
      } else if take("GENERATED") {
        field = try generated(field)
      } else if take("PRIMARY", "KEY") {
        definition.keys.append(.init(kind: .primary, name: nil, columns: [column.text], references: nil, referenced: []))
        field.nullable = false
        skipKeyOptions()
      } else if token.isWord("REFERENCES") {
        definition.keys.append(try references(nil, [column.text]))
      } else if try parseConstraint(&definition) == nil {
        throw PlatformError(.invalidArgument, "'\(token.text.prefix(60))' is not expected behind the column '\(column.text)'")
      }
    }
    if saysNotNull { field.nullable = false }
    guard !definition.fields.contains(where: { $0.name.lowercased() == field.name.lowercased() }) else {
      throw PlatformError(.invalidArgument, "the column '\(field.name)' is there twice")
    }
    definition.fields.append(field)
  }

  /// Behind GENERATED.
  private mutating func generated(_ given: StructField) throws -> StructField {
    var field = given
    let allowsExplicit = take("BY", "DEFAULT")
    guard allowsExplicit || take("ALWAYS") else { throw expected("ALWAYS or BY DEFAULT") }
    guard take("AS") else { throw expected("AS") }
    guard take("IDENTITY") else {
      guard !allowsExplicit else { throw expected("IDENTITY") }
      field.metadata["delta.generationExpression"] = .string(try inParentheses())
      return field
    }
    guard field.type == .primitive("long") else {
      throw PlatformError(.invalidArgument, "the identity column '\(field.name)' must be BIGINT")
    }
    var identity = IdentityColumn(name: field.name, allowsExplicitInsert: allowsExplicit)
    if takeSymbol("(") {
      while !takeSymbol(")") {
        if take("START") {
          _ = take("WITH")
          identity.start = try signedNumber()
        } else if take("INCREMENT") {
          _ = take("BY")
          identity.step = try signedNumber()
        } else if !takeSymbol(",") {
          throw expected("START WITH or INCREMENT BY")
        }
      }
    }
    let made = try identity.field()
    field.metadata.merge(made.metadata) { $1 }
    if !allowsExplicit { field.nullable = false }
    return field
  }

  private mutating func signedNumber() throws -> Int64 {
    let isNegative = takeSymbol("-")
    guard let token, token.kind == .number, let value = Int64((isNegative ? "-" : "") + token.text) else { throw expected("a whole number") }
    position += 1
    return value
  }

  // MARK: Properties

  /// `('a.b' = 'c', d.e = 1)`; the sign may be left out.
  mutating func propertyList() throws -> [String: String] {
    guard takeSymbol("(") else { throw expected("(") }
    var found: [String: String] = [:]
    repeat {
      let name = try propertyName()
      _ = takeSymbol("=")
      let sign = takeSymbol("-") ? "-" : ""
      guard let token, token.kind == .string || token.kind == .number || token.kind == .word else { throw expected("the value of '\(name)'") }
      position += 1
      guard found.updateValue(sign + (token.kind == .word ? token.text.lowercased() : token.text), forKey: name) == nil else {
        throw PlatformError(.invalidArgument, "the property '\(name)' is there twice")
      }
    } while takeSymbol(",")
    guard takeSymbol(")") else { throw expected(")") }
    return found
  }

  mutating func propertyName() throws -> String {
    if let token, token.kind == .string {
      position += 1
      return token.text
    }
    return try path(limit: 16).joined(separator: ".")
  }

  /// Names joined by dots.
  mutating func path(limit: Int) throws -> [String] {
    var parts: [String] = []
    repeat {
      guard let token, token.isName, parts.count < limit else { throw expected("a name") }
      parts.append(token.text)
      position += 1
    } while takeSymbol(".")
    return parts
  }

  // MARK: Versions

  /// `VERSION AS OF n`, `TIMESTAMP AS OF '..'`, or nothing.
  mutating func travel() throws -> TableVersion {
    if take("VERSION", "AS", "OF") {
      guard let token, token.kind == .number, let version = Int64(token.text) else {
        throw PlatformError(.invalidArgument, "VERSION AS OF needs a whole number")
      }
      position += 1
      return TableVersion(version: version)
    }
    guard take("TIMESTAMP", "AS", "OF") else { return TableVersion() }
    let time = try text("a time")
    let connection = try Database(settings: .init(threads: 1)).connect()
    try connection.execute("SET TimeZone='UTC'")
    return TableVersion(timestampMilliseconds: try connection.rows("SELECT epoch_ms(CAST(? AS TIMESTAMPTZ))", [.string(time)]).first?[0].intValue)
  }

  // MARK: Maintenance

  private mutating func parseOptimize() throws {
    try about()
    let isFull = take("FULL")
    let condition = take("WHERE") ? try slice(until: ["ZORDER"]) : nil
    let zOrder = take("ZORDER", "BY") ? try columnList() : []
    command = .optimize(condition: condition, zOrder: zOrder, isFull: isFull)
  }

  private mutating func parseVacuum() throws {
    try about()
    var hours: Double?
    if take("RETAIN") {
      guard let token, token.kind == .number, let value = Double(token.text), value <= 1_000_000 else { throw expected("a number of hours") }
      position += 1
      guard take("HOURS") || take("HOUR") else { throw expected("HOURS") }
      hours = value
    }
    command = .vacuum(hours: hours, isDryRun: take("DRY", "RUN"))
  }
}

extension String {
  /// Without white space at both ends.
  var trimmingWhitespace: String {
    var text = Substring(self)
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }
}
