// SPDX-License-Identifier: Apache-2.0

/// A key of a project file: what it may hold, what is done with it, and what people are told of it. One table for checking, the JSON Schema,
/// the published lists and `explain`.
public struct ProjectKey: Sendable {
  public indirect enum Shape: Sendable {
    case text, wholeNumber(ClosedRange<Int64>), number(ClosedRange<Double>), flag
    case choice([String])
    case texts
    /// Names with texts.
    case mapping
    case any
    /// Text of a certain form, in words.
    case form(String)
    case keys([ProjectKey])
    /// Names that people choose, each with these keys.
    case named([ProjectKey])
    case list([ProjectKey])
  }

  public enum Treatment: Sendable, Equatable {
    case honoured
    /// Accepted with a warning.
    case ignored(String)
    /// An error; what to do instead.
    case refused(String)
  }

  public var name: String
  public var shape: Shape
  public var treatment = Treatment.honoured
  public var isRequired = false
  /// The platform's own, unknown to Databricks.
  public var isOwn = false
  public var summary: String
  public var fallback = ""
  public var example = ""

  static func key(
    _ name: String, _ shape: Shape, _ summary: String, required: Bool = false, own: Bool = false, fallback: String = "", example: String = ""
  ) -> ProjectKey {
    ProjectKey(name: name, shape: shape, isRequired: required, isOwn: own, summary: summary, fallback: fallback, example: example)
  }

  static func all(_ parts: [ProjectKey]...) -> [ProjectKey] { Array(parts.joined()) }

  static func ignored(_ names: [String], _ why: String) -> [ProjectKey] {
    names.map { ProjectKey(name: $0, shape: .any, treatment: .ignored(why), summary: "Accepted and ignored: \(why).") }
  }

  static func refused(_ names: [String], _ instead: String) -> [ProjectKey] {
    names.map { ProjectKey(name: $0, shape: .any, treatment: .refused(instead), summary: "Refused. \(instead)") }
  }

  /// The keys inside of it.
  public var inside: [ProjectKey] {
    switch shape {
    case .keys(let keys), .named(let keys), .list(let keys): keys
    default: []
    }
  }

  /// What it may hold, in words.
  public var type: String {
    switch shape {
    case .text: "text"
    case .wholeNumber(let range): "whole number, \(range.lowerBound) to \(range.upperBound)"
    case .number(let range): "number, \(range.lowerBound) to \(range.upperBound)"
    case .flag: "true or false"
    case .choice(let words): words.joined(separator: " or ")
    case .texts: "list of texts"
    case .mapping: "names with texts"
    case .any: "any value"
    case .form(let words): "text: \(words)"
    case .keys: "mapping"
    case .named: "names, each with a mapping"
    case .list: "list of mappings"
    }
  }
}
