// SPDX-License-Identifier: Apache-2.0

import Core

/// `catalog.schema.object`, as people write it; parts may be quoted with backticks or double quotes.
public struct ThreePartName: Sendable, Hashable, Codable, CustomStringConvertible {
  public var catalog: String
  public var schema: String
  public var name: String

  public init(catalog: String, schema: String, name: String) {
    self.catalog = catalog
    self.schema = schema
    self.name = name
  }

  /// - Parameter defaults: what missing leading parts mean; without it all three parts must be there.
  /// - Throws: `invalidArgument` PLT-3001 naming what is wrong.
  public init(_ text: String, defaults: (catalog: String, schema: String)? = nil) throws {
    let parts = try Self.split(text)
    switch (parts.count, defaults) {
    case (3, _): self.init(catalog: parts[0], schema: parts[1], name: parts[2])
    case (2, let defaults?): self.init(catalog: defaults.catalog, schema: parts[0], name: parts[1])
    case (1, let defaults?): self.init(catalog: defaults.catalog, schema: defaults.schema, name: parts[0])
    default:
      throw PlatformError(
        .invalidArgument, "'\(text)' is not a name of the form catalog.schema.object", hint: "For example main.demo.documents.",
        number: "PLT-3001")
    }
  }

  public var description: String { [catalog, schema, name].map(Self.quote).joined(separator: ".") }

  /// Letters of any script, digits, `_` and `-`, at most 128 bytes: what is also safe in a path.
  static func isPlain(_ part: String) -> Bool {
    !part.isEmpty && part.utf8.count <= 128
      && part.unicodeScalars.allSatisfy { $0 == "_" || $0 == "-" || $0.properties.isAlphabetic || $0.properties.numericType != nil }
  }

  private static func quote(_ part: String) -> String { isPlain(part) ? part : "`" + part.replacing("`", with: "``") + "`" }

  private static func split(_ text: String) throws -> [String] {
    var parts: [String] = []
    var current = ""
    var quote: Character?
    var characters = Array(text)[...]
    while let next = characters.popFirst() {
      if let open = quote {
        if next == open {
          if characters.first == open {
            current.append(open)
            characters.removeFirst()
          } else {
            quote = nil
          }
        } else {
          current.append(next)
        }
      } else if (next == "`" || next == "\"") && current.isEmpty {
        quote = next
      } else if next == "." {
        parts.append(current)
        current = ""
      } else {
        current.append(next)
      }
    }
    parts.append(current)
    guard quote == nil, parts.allSatisfy(isPlain) else {
      throw PlatformError(
        .invalidArgument, "'\(text)' is not a usable name",
        hint: "Parts are letters, digits, '_' and '-', at most 128 bytes each.", number: "PLT-3001")
    }
    return parts
  }
}
