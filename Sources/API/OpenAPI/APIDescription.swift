// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// A parameter behind the question mark.
struct QueryField: Sendable {
  var name: String
  var schema: JSONValue
  var isRequired = false

  static func text(_ name: String, required: Bool = false) -> QueryField { QueryField(name: name, schema: ["type": "string"], isRequired: required) }
  static func flag(_ name: String) -> QueryField { QueryField(name: name, schema: ["type": "boolean"]) }
  static let page: [QueryField] = [
    QueryField(name: "max_results", schema: ["type": "integer", "format": "int32", "minimum": 0, "maximum": 1000]), .text("page_token"),
  ]
}

/// One route: what it takes and what it gives.
struct APIOperation: Sendable {
  enum Answer: Sendable {
    case object(any (Encodable & Sendable).Type)
    /// Pages: the member that holds the entries, and what they are.
    case list(String, any (Encodable & Sendable).Type)
    /// A stream of bytes of one of these media types.
    case bytes([String])
    /// No body: 204.
    case nothing
  }
  var method: String
  var path: String
  var tag: String
  var summary: String
  var query: [QueryField]
  var body: (any (Decodable & Sendable).Type)?
  /// Media types of a body that is a stream of bytes.
  var stream: [String] = []
  var answer: Answer
}

/// The operations that were registered, as an OpenAPI 3.1 document.
final class APIDescription: Sendable {
  private let operations = Mutex<[APIOperation]>([])

  func add(_ operation: APIOperation) { operations.withLock { $0.append(operation) } }

  var all: [APIOperation] { operations.withLock { $0 } }

  func document(version: String) -> JSONValue {
    let builder = SchemaBuilder()
    var paths: [String: [String: JSONValue]] = [:]
    var names: Set<String> = []
    let failure = builder.schema(of: ErrorShape.self)
    for operation in all {
      var entry: [String: JSONValue] = [
        "tags": [.string(operation.tag)], "summary": .string(operation.summary), "operationId": .string(Self.identifier(operation, &names)),
      ]
      let inPath = operation.path.split(separator: "{").dropFirst().map { String($0.prefix { $0 != "}" }) }
      let parameters =
        inPath.map { name -> JSONValue in ["name": .string(name), "in": "path", "required": true, "schema": ["type": "string"]] }
        + operation.query.map { field -> JSONValue in
          ["name": .string(field.name), "in": "query", "required": .bool(field.isRequired), "schema": field.schema]
        }
      if !parameters.isEmpty { entry["parameters"] = .array(parameters) }
      if let body = operation.body {
        entry["requestBody"] = ["required": true, "content": ["application/json": ["schema": builder.schema(of: body)]]]
      }
      if !operation.stream.isEmpty { entry["requestBody"] = ["required": true, "content": Self.binary(operation.stream)] }
      let answer: JSONValue? =
        switch operation.answer {
        case .object(let type): builder.schema(of: type)
        case .list(let key, let type):
          [
            "type": "object",
            "properties": .object([key: ["type": "array", "items": builder.schema(of: type)], "next_page_token": ["type": "string"]]),
          ]
        case .bytes, .nothing: nil
        }
      let done: (String, JSONValue) =
        if let answer {
          ("200", ["description": "Done.", "content": ["application/json": ["schema": answer]]])
        } else if case .bytes(let types) = operation.answer {
          ("200", ["description": "The bytes.", "content": Self.binary(types)])
        } else {
          ("204", ["description": "Done."])
        }
      entry["responses"] = [
        done.0: done.1,
        "default": ["description": "What failed, and how to mend it.", "content": ["application/json": ["schema": failure]]],
      ]
      paths[operation.path, default: [:]][operation.method.lowercased()] = .object(entry)
    }
    return [
      "openapi": "3.1.0", "info": ["title": "Platform", "version": .string(version)], "paths": .object(paths.mapValues { .object($0) }),
      "security": [["token": []]],
      "components": [
        "schemas": .object(builder.components), "securitySchemes": ["token": ["type": "http", "scheme": "bearer"]],
      ],
    ]
  }

  private static func binary(_ types: [String]) -> JSONValue {
    .object(Dictionary(types.map { ($0, ["schema": ["type": "string", "format": "binary"]] as JSONValue) }) { first, _ in first })
  }

  /// `getCatalogsByName` and the like; a second one of the same name gets a number.
  private static func identifier(_ operation: APIOperation, _ names: inout Set<String>) -> String {
    let words = operation.path.split(separator: "/").drop { ["api", "2.0", "2.1", "unity-catalog"].contains($0) }.map { part -> String in
      let word = part.split { !$0.isLetter && !$0.isNumber }.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
      return part.hasPrefix("{") ? "By" + word : word
    }
    let base = operation.method.lowercased() + words.joined()
    var name = base
    var number = 2
    while !names.insert(name).inserted {
      name = "\(base)\(number)"
      number += 1
    }
    return name
  }
}

/// The members of an error that clients may rely on.
private struct ErrorShape: Codable {
  var errorCode: String
  var code: String
  var message: String
  var hint: String
  var path: String?
  var requestID: String
  enum CodingKeys: String, CodingKey {
    case code, message, hint, path
    case errorCode = "error_code"
    case requestID = "request_id"
  }
}
