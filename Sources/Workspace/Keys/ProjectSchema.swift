// SPDX-License-Identifier: Apache-2.0

public import Core

/// The JSON Schema of project files, which editors complete and check them with.
public enum ProjectSchema {
  public static let document: JSONValue = {
    // Tasks hold tasks: what has a name of its own stands once.
    guard case .object(var members) = object(ProjectKeys.top, "") else { return .null }
    members["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    members["title"] = "platform.yml"
    members["description"] = "A project of the platform; databricks.yml is read too."
    members["$defs"] = ["task": object(ProjectKeys.task, "task")]
    return .object(members)
  }()

  private static func object(_ keys: [ProjectKey], _ place: String) -> JSONValue {
    var properties: [String: JSONValue] = [:]
    for key in keys { properties[key.name] = property(key, place) }
    var result: [String: JSONValue] = ["type": "object", "properties": .object(properties), "additionalProperties": false]
    let required = keys.filter(\.isRequired).map(\.name)
    if !required.isEmpty { result["required"] = .array(required.map { .string($0) }) }
    return .object(result)
  }

  private static func property(_ key: ProjectKey, _ place: String) -> JSONValue {
    var result: [String: JSONValue] = [:]
    var text = key.summary
    switch key.treatment {
    case .honoured:
      result = shape(key, place)
      if key.isOwn { text += " (not in Databricks' files)" }
      if !key.fallback.isEmpty { text += " Default: \(key.fallback)." }
    case .ignored: result["deprecated"] = true
    case .refused: return ["not": [:], "description": .string(text)]
    }
    if !text.isEmpty { result["description"] = .string(text) }
    return .object(result)
  }

  /// Everything may be a reference instead.
  private static let reference: JSONValue = ["type": "string", "pattern": "\\$\\{"]
  private static let scalar: JSONValue = ["type": ["string", "number", "boolean"]]

  private static func shape(_ key: ProjectKey, _ place: String) -> [String: JSONValue] {
    func orReference(_ value: JSONValue) -> [String: JSONValue] { ["anyOf": [value, reference]] }
    switch key.shape {
    case .any: return [:]
    case .text, .form: return scalar.objectValue ?? [:]
    case .wholeNumber(let range):
      return orReference(["type": "integer", "minimum": .integer(range.lowerBound), "maximum": .integer(range.upperBound)])
    case .number(let range): return orReference(["type": "number", "minimum": .number(range.lowerBound), "maximum": .number(range.upperBound)])
    case .flag: return orReference(["type": "boolean"])
    case .choice(let words): return orReference(["enum": .array(words.map { .string($0) })])
    case .texts: return orReference(["type": "array", "items": scalar])
    case .mapping: return orReference(["type": "object", "additionalProperties": scalar])
    case .keys(let keys):
      if key.name == "task" { return orReference(["$ref": "#/$defs/task"]) }
      return orReference(object(keys, key.name))
    case .named(let keys): return orReference(["type": "object", "additionalProperties": .object(["anyOf": [object(keys, key.name), ["type": "null"]]])])
    case .list(let keys):
      return orReference(["type": "array", "items": key.name == "tasks" ? ["$ref": "#/$defs/task"] : object(keys, key.name)])
    }
  }
}
