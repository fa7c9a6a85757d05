// SPDX-License-Identifier: Apache-2.0

/// A statement about the catalog's objects, taken apart. Names are as written: what is missing was filled in from the defaults.
public enum CatalogCommand: Sendable, Equatable {
  /// Objects that statements name by their kind.
  public enum Kind: String, Sendable, Codable {
    case catalog, schema, table, view, volume, function
  }

  /// One, two or three parts, as many as the kind has.
  public struct ObjectName: Sendable, Equatable, CustomStringConvertible {
    public var kind: Kind
    public var catalog: String
    /// Empty for a catalog.
    public var schema: String
    /// Empty for a catalog and a schema.
    public var name: String
    /// The statement gave the last part alone.
    public var isPlain = false

    public init(kind: Kind, catalog: String, schema: String, name: String, isPlain: Bool = false) {
      self.kind = kind
      self.catalog = catalog
      self.schema = schema
      self.name = name
      self.isPlain = isPlain
    }

    public var qualified: QualifiedName { QualifiedName(catalog: catalog, schema: schema, name: name) }
    public var description: String { [catalog, schema, name].filter { !$0.isEmpty }.joined(separator: ".") }
  }

  /// What CREATE says beside the name.
  public struct Options: Sendable, Equatable {
    public var comment = ""
    public var properties: [String: String] = [:]
    /// `MANAGED LOCATION` of a catalog or schema, `LOCATION` of a volume.
    public var location: String?
    /// IF NOT EXISTS.
    public var isConditional = false
    /// OR REPLACE.
    public var replaces = false
  }

  /// A view's text and what it says of its columns.
  public struct View: Sendable, Equatable {
    public var name: ObjectName
    public var isTemporary = false
    public var options = Options()
    /// Names and comments, when the statement lists them.
    public var columns: [(name: String, comment: String?)] = []
    public var query = ""

    public static func == (left: View, right: View) -> Bool {
      left.name == right.name && left.isTemporary == right.isTemporary && left.options == right.options && left.query == right.query
        && left.columns.map(\.name) == right.columns.map(\.name) && left.columns.map(\.comment) == right.columns.map(\.comment)
    }
  }

  /// A parameter or result column of a function.
  public struct Field: Sendable, Equatable {
    public var name: String
    /// A type of the engine's.
    public var type: String
    public var defaultValue: String?
    public var comment: String?
  }

  public enum Returns: Sendable, Equatable {
    case scalar(String)
    case table([Field])
  }

  public struct Function: Sendable, Equatable {
    public var name: ObjectName
    public var options = Options()
    public var parameters: [Field] = []
    public var returns: Returns
    /// nil: not said.
    public var isDeterministic: Bool?
    public var body = ""
  }

  public enum Change: Sendable, Equatable {
    case owner(String)
    case rename(ObjectName)
    case setProperties([String: String])
    case unsetProperties([String], ifExists: Bool)
    case setTags([String: String])
    case unsetTags([String])
    /// ALTER VIEW .. AS query.
    case query(String)
  }

  case createCatalog(ObjectName, Options)
  case createSchema(ObjectName, Options)
  case createVolume(ObjectName, Options, isExternal: Bool)
  case createView(View)
  case createFunction(Function)
  case drop(ObjectName, ifExists: Bool, cascade: Bool)
  case comment(ObjectName, String?)
  case alter(ObjectName, Change)
  /// `pattern`: `*` stands for anything, `|` between alternatives, in any case of letters. `place` is a catalog or a schema.
  case show(Kind, place: ObjectName?, pattern: String?)
  case describe(ObjectName, extended: Bool)
  case showCreate(ObjectName)
  /// Brings back what was dropped; `id` tells which, when there are several of the name.
  case undrop(ObjectName, id: String?)
  case undropModel(QualifiedName, id: String?)
  /// What can be brought back: tables and views of a schema.
  case showDropped(place: ObjectName?)
  /// USE CATALOG c, USE s, USE c.s.
  case use(catalog: String?, schema: String?)

  /// Whether `name` fits a pattern of SHOW .. LIKE.
  public static func matches(_ name: String, _ pattern: String?) -> Bool {
    guard let pattern else { return true }
    return pattern.split(separator: "|", omittingEmptySubsequences: false).contains { matches(Array(name.lowercased()), Array($0.lowercased())) }
  }

  /// Takes time linear in the name for each star: what follows the last star is tried again, earlier ones never.
  private static func matches(_ name: [Character], _ pattern: [Character]) -> Bool {
    var (at, from) = (0, 0)
    var retry: (at: Int, from: Int)?
    while at < name.count {
      if from < pattern.count, pattern[from] == "*" || pattern[from] == "%" {
        retry = (at, from)
        from += 1
      } else if from < pattern.count, pattern[from] == name[at] {
        at += 1
        from += 1
      } else if let last = retry {
        retry = (last.at + 1, last.from)
        (at, from) = (last.at + 1, last.from + 1)
      } else {
        return false
      }
    }
    return pattern[from...].allSatisfy { $0 == "*" || $0 == "%" }
  }
}
