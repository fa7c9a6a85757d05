// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Reading statements about catalogs, schemas, volumes, views and functions.
extension StatementPlan {
  private typealias Kind = CatalogCommand.Kind
  private typealias ObjectName = CatalogCommand.ObjectName

  /// Takes the statement when it is one of these.
  /// - Returns: false, and nothing taken, for any other.
  mutating func parseCatalog() throws -> Bool {
    let start = position
    guard let command = try readCommand() else {
      position = start
      return false
    }
    if token != nil { throw unexpected() }
    kind = .catalog
    catalogCommand = command
    return true
  }

  private func unexpected() -> PlatformError {
    PlatformError(.invalidArgument, token.map { "'\($0.text)' is not expected in the statement" } ?? "the statement ends too early")
  }

  private mutating func readCommand() throws -> CatalogCommand? {
    if take("CREATE") {
      let replaces = take("OR", "REPLACE")
      let temporary = take("TEMPORARY") || take("TEMP")
      if take("VIEW") { return .createView(try createView(replaces: replaces, temporary: temporary)) }
      if temporary { throw PlatformError(.invalidArgument, "only views can be temporary here") }
      if take("FUNCTION") { return .createFunction(try createFunction(replaces: replaces)) }
      guard !replaces else { return nil }
      if take("EXTERNAL", "VOLUME") { return try createVolume(isExternal: true) }
      if take("VOLUME") { return try createVolume(isExternal: false) }
      if take("CATALOG") { return try createContainer(.catalog) }
      if take("SCHEMA") || take("DATABASE") { return try createContainer(.schema) }
      return nil
    }
    if take("DROP") {
      guard let kind = takeKind(), kind != .table else { return nil }
      let ifExists = take("IF", "EXISTS")
      let name = try objectName(kind)
      let cascade = take("CASCADE")
      if !cascade { _ = take("RESTRICT") }
      return .drop(name, ifExists: ifExists, cascade: cascade)
    }
    if take("UNDROP") {
      if take("MODEL") {
        let model = qualified(try name())
        return .undropModel(model, id: take("WITH", "ID") ? try string("the id") : nil)
      }
      guard let kind = takeKind() else { return nil }
      let name = try objectName(kind)
      let id = take("WITH", "ID") ? try string("the id") : nil
      return .undrop(name, id: id)
    }
    if take("COMMENT", "ON") {
      guard let kind = takeKind(), kind != .table else { return nil }
      let name = try objectName(kind)
      guard take("IS") else { throw expected("IS") }
      return .comment(name, take("NULL") ? nil : try string("the comment"))
    }
    if take("ALTER") {
      guard let kind = takeKind(), kind != .table else { return nil }
      let name = try objectName(kind)
      return .alter(name, try change(name))
    }
    if take("SHOW") { return try show() }
    if take("DESCRIBE") || take("DESC") {
      var kind = takeKind()
      if kind == .table || kind == .view {
        kind = nil
      }
      guard let kind else { return nil }
      let extended = take("EXTENDED")
      return .describe(try objectName(kind), extended: extended)
    }
    if take("USE") {
      if take("CATALOG") { return .use(catalog: try onePart(), schema: nil) }
      if take("SCHEMA") || take("DATABASE") {}
      let parts = try name()
      guard parts.count <= 2 else { throw PlatformError(.invalidArgument, "a schema's name has one or two parts") }
      return .use(catalog: parts.count == 2 ? parts[0] : nil, schema: parts[parts.count - 1])
    }
    return nil
  }

  private mutating func takeKind() -> Kind? {
    if take("CATALOG") { return .catalog }
    if take("SCHEMA") || take("DATABASE") { return .schema }
    if take("VOLUME") { return .volume }
    if take("VIEW") { return .view }
    if take("FUNCTION") { return .function }
    if take("TABLE") { return .table }
    return nil
  }

  private mutating func onePart() throws -> String {
    if let token, token.kind == .string {
      position += 1
      return token.text
    }
    let parts = try name()
    guard parts.count == 1 else { throw PlatformError(.invalidArgument, "a catalog's name has one part, not '\(parts.joined(separator: "."))'") }
    return parts[0]
  }

  private mutating func objectName(_ kind: Kind) throws -> ObjectName {
    switch kind {
    case .catalog: return ObjectName(kind: kind, catalog: try onePart(), schema: "", name: "")
    case .schema:
      let parts = try name()
      guard parts.count <= 2 else { throw PlatformError(.invalidArgument, "a schema's name has one or two parts") }
      return ObjectName(
        kind: kind, catalog: parts.count == 2 ? parts[0] : defaults.catalog, schema: parts[parts.count - 1], name: "", isPlain: parts.count == 1)
    default:
      let parts = try name()
      let full = qualified(parts)
      return ObjectName(kind: kind, catalog: full.catalog, schema: full.schema, name: full.name, isPlain: parts.count == 1)
    }
  }

  private mutating func string(_ what: String) throws -> String {
    guard let token, token.kind == .string, source.bytes[token.range.lowerBound] != UInt8(ascii: "$") else {
      throw expected("\(what) in single quotes")
    }
    position += 1
    return token.text
  }

  /// `('a' = 'b', c.d = 'e')`.
  mutating func pairs() throws -> [String: String] {
    guard takeSymbol("(") else { throw expected("(") }
    var found: [String: String] = [:]
    repeat {
      let key = try pairKey()
      if !takeSymbol("=") { throw expected("=") }
      guard let value = token, value.kind == .string || value.kind == .number || value.kind == .word else { throw expected("a value") }
      position += 1
      found[key] = value.text
    } while takeSymbol(",")
    guard takeSymbol(")") else { throw expected(")") }
    return found
  }

  private mutating func pairKey() throws -> String {
    if let token, token.kind == .string {
      position += 1
      return token.text
    }
    var parts: [String] = []
    repeat {
      guard let token, token.isName else { throw expected("a key") }
      parts.append(token.text)
      position += 1
    } while takeSymbol(".")
    return parts.joined(separator: ".")
  }

  mutating func keys() throws -> [String] {
    guard takeSymbol("(") else { throw expected("(") }
    var found: [String] = []
    repeat { found.append(try pairKey()) } while takeSymbol(",")
    guard takeSymbol(")") else { throw expected(")") }
    return found
  }

  // MARK: containers

  private mutating func createContainer(_ kind: Kind) throws -> CatalogCommand {
    var options = CatalogCommand.Options()
    options.isConditional = take("IF", "NOT", "EXISTS")
    let name = try objectName(kind)
    while token != nil {
      if take("COMMENT") {
        options.comment = try string("the comment")
      } else if take("MANAGED", "LOCATION") || take("LOCATION") {
        options.location = try string("the location")
      } else if take("WITH", "DBPROPERTIES") || take("DBPROPERTIES") || (kind == .catalog && take("OPTIONS")) {
        options.properties = try pairs()
      } else {
        throw unexpected()
      }
    }
    return kind == .catalog ? .createCatalog(name, options) : .createSchema(name, options)
  }

  private mutating func createVolume(isExternal: Bool) throws -> CatalogCommand {
    var options = CatalogCommand.Options()
    options.isConditional = take("IF", "NOT", "EXISTS")
    let name = try objectName(.volume)
    while token != nil {
      if take("COMMENT") {
        options.comment = try string("the comment")
      } else if take("LOCATION") {
        options.location = try string("the location")
      } else {
        throw unexpected()
      }
    }
    guard isExternal == (options.location != nil) else {
      throw PlatformError(
        .invalidArgument, isExternal ? "an external volume needs a LOCATION" : "a managed volume takes no LOCATION",
        hint: "CREATE EXTERNAL VOLUME v LOCATION '/path'")
    }
    return .createVolume(name, options, isExternal: isExternal)
  }

  private mutating func change(_ name: ObjectName) throws -> CatalogCommand.Change {
    if take("SET", "OWNER", "TO") || take("OWNER", "TO") {
      guard let token, token.isName || token.kind == .string else { throw expected("the new owner") }
      position += 1
      return .owner(token.text)
    }
    if take("RENAME", "TO") { return .rename(try objectName(name.kind)) }
    if take("SET", "TAGS") { return .setTags(try pairs()) }
    if take("UNSET", "TAGS") { return .unsetTags(try keys()) }
    if take("SET", "TBLPROPERTIES") || take("SET", "DBPROPERTIES") || take("SET", "PROPERTIES") { return .setProperties(try pairs()) }
    if take("UNSET", "TBLPROPERTIES") || take("UNSET", "DBPROPERTIES") || take("UNSET", "PROPERTIES") {
      let ifExists = take("IF", "EXISTS")
      return .unsetProperties(try keys(), ifExists: ifExists)
    }
    if name.kind == .view, take("AS") { return .query(try rest()) }
    throw unexpected()
  }

  // MARK: SHOW

  private mutating func show() throws -> CatalogCommand? {
    let kind: Kind
    if take("CATALOGS") {
      kind = .catalog
    } else if take("SCHEMAS") || take("DATABASES") {
      kind = .schema
    } else if take("VIEWS") {
      kind = .view
    } else if take("VOLUMES") {
      kind = .volume
    } else if take("USER", "FUNCTIONS") || take("FUNCTIONS") {
      kind = .function
    } else if take("TABLES", "DROPPED") {
      return .showDropped(place: take("IN") || take("FROM") ? try objectName(.schema) : nil)
    } else if take("TABLES") {
      kind = .table
    } else if take("CREATE", "VIEW") {
      return .showCreate(try objectName(.view))
    } else if take("CREATE", "FUNCTION") {
      return .showCreate(try objectName(.function))
    } else {
      return nil
    }
    var place: ObjectName?
    if kind != .catalog, take("IN") || take("FROM") { place = try objectName(kind == .schema ? .catalog : .schema) }
    var pattern: String?
    if take("LIKE") || token?.kind == .string { pattern = try string("the pattern") }
    return .show(kind, place: place, pattern: pattern)
  }

  /// What stands between CREATE .. and the name.
  private mutating func creationOptions(replaces: Bool) throws -> CatalogCommand.Options {
    var options = CatalogCommand.Options()
    options.replaces = replaces
    options.isConditional = take("IF", "NOT", "EXISTS")
    guard !(replaces && options.isConditional) else {
      throw PlatformError(.invalidArgument, "OR REPLACE and IF NOT EXISTS do not go together")
    }
    return options
  }

  // MARK: views

  private mutating func createView(replaces: Bool, temporary: Bool) throws -> CatalogCommand.View {
    let options = try creationOptions(replaces: replaces)
    let name = try objectName(.view)
    guard !temporary || name.isPlain else { throw PlatformError(.invalidArgument, "a temporary view's name has one part") }
    var view = CatalogCommand.View(name: name, isTemporary: temporary, options: options)
    if takeSymbol("(") {
      repeat {
        guard let column = token, column.isName else { throw expected("a column's name") }
        position += 1
        view.columns.append((column.text, take("COMMENT") ? try string("the comment") : nil))
      } while takeSymbol(",")
      guard takeSymbol(")") else { throw expected(")") }
    }
    while token != nil, token?.isWord("AS") != true {
      if take("COMMENT") {
        view.options.comment = try string("the comment")
      } else if take("TBLPROPERTIES") {
        view.options.properties = try pairs()
      } else {
        throw unexpected()
      }
    }
    guard take("AS") else { throw expected("AS and a query") }
    view.query = try rest()
    return view
  }

  /// Everything that is left, as text.
  private mutating func rest() throws -> String {
    guard let start = token?.range.lowerBound, let end = source.tokens.last?.range.upperBound else { throw expected("a query") }
    position = source.tokens.count
    return source.text(start..<end)
  }

  // MARK: functions

  private mutating func createFunction(replaces: Bool) throws -> CatalogCommand.Function {
    let options = try creationOptions(replaces: replaces)
    let name = try objectName(.function)
    var function = CatalogCommand.Function(name: name, options: options, returns: .scalar(""))
    guard takeSymbol("(") else { throw expected("the list of parameters") }
    if !takeSymbol(")") { function.parameters = try fields() }
    while token != nil, token?.isWord("RETURN") != true {
      if take("RETURNS", "TABLE") {
        guard takeSymbol("(") else { throw expected("the columns of the result") }
        function.returns = .table(try fields())
      } else if take("RETURNS") {
        function.returns = .scalar(try type(before: ["LANGUAGE", "DETERMINISTIC", "NOT", "COMMENT", "CONTAINS", "READS", "RETURN"]))
      } else if take("LANGUAGE") {
        guard take("SQL") else {
          throw PlatformError(.invalidArgument, "functions are written in SQL here, not in \(token?.text ?? "nothing")")
        }
      } else if take("NOT", "DETERMINISTIC") {
        function.isDeterministic = false
      } else if take("DETERMINISTIC") {
        function.isDeterministic = true
      } else if take("COMMENT") {
        function.options.comment = try string("the comment")
      } else if take("CONTAINS", "SQL") || take("READS", "SQL", "DATA") {
        continue
      } else {
        throw unexpected()
      }
    }
    guard take("RETURN") else { throw expected("RETURN and an expression or a query") }
    if case .scalar("") = function.returns { throw expected("RETURNS with a type, or RETURNS TABLE (..),") }
    function.body = try rest()
    return function
  }

  /// `a INT DEFAULT 1 COMMENT 'x', ..)` behind the open parenthesis.
  private mutating func fields() throws -> [CatalogCommand.Field] {
    var found: [CatalogCommand.Field] = []
    repeat {
      guard let name = token, name.isName else { throw expected("a name") }
      position += 1
      var field = CatalogCommand.Field(name: name.text, type: try type(before: ["DEFAULT", "COMMENT", "NOT"]))
      while token?.isSymbol(",") != true, token?.isSymbol(")") != true {
        if take("DEFAULT") {
          field.defaultValue = try slice(until: ["COMMENT"], orSymbols: [",", ")"])
        } else if take("COMMENT") {
          field.comment = try string("the comment")
        } else {
          throw unexpected()
        }
      }
      guard !found.contains(where: { $0.name.lowercased() == field.name.lowercased() }) else {
        throw PlatformError(.invalidArgument, "the name '\(field.name)' is given twice")
      }
      found.append(field)
    } while takeSymbol(",")
    guard takeSymbol(")") else { throw expected(")") }
    return found
  }

  /// A type's text in the engine's spelling.
  private mutating func type(before words: [String]) throws -> String {
    try SQLTypeText.engine(slice(until: words, orSymbols: [",", ")"]))
  }
}
