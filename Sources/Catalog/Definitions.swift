// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation

/// What a view shows: a query, and what its short names meant when the view was made.
public struct ViewDefinition: Codable, Sendable, Equatable {
  public var query: String
  public var catalog: String
  public var schema: String
  /// What the query calls the view's columns, in their order.
  public var sources: [String]
  public init(query: String, catalog: String, schema: String, sources: [String]) {
    self.query = query
    self.catalog = catalog
    self.schema = schema
    self.sources = sources
  }
}

/// A function that is written in SQL.
public struct FunctionDefinition: Codable, Sendable, Equatable {
  public struct Parameter: Codable, Sendable, Equatable {
    public var name: String
    /// SQL type text.
    public var type: String
    /// An expression.
    public var defaultValue: String?
    public var comment: String?
    public init(name: String, type: String, defaultValue: String? = nil, comment: String? = nil) {
      self.name = name
      self.type = type
      self.defaultValue = defaultValue
      self.comment = comment
    }
  }

  public var parameters: [Parameter]
  /// SQL type text of a scalar function; nil for one that gives a table.
  public var returns: String?
  /// Of a function that gives a table.
  public var columns: [ColumnEntry]
  /// An expression or a query.
  public var body: String
  public var isDeterministic: Bool?
  /// Whether it reads tables or views, as far as its own body shows; nil of functions that were never checked.
  public var readsData: Bool?
  /// What short names in the body mean.
  public var catalog: String
  public var schema: String

  public init(
    parameters: [Parameter], returns: String?, columns: [ColumnEntry] = [], body: String, isDeterministic: Bool? = nil, catalog: String,
    schema: String
  ) {
    self.parameters = parameters
    self.returns = returns
    self.columns = columns
    self.body = body
    self.isDeterministic = isDeterministic
    self.catalog = catalog
    self.schema = schema
  }

  /// `(a integer, b varchar)`.
  public var signature: String { "(" + parameters.map { "\($0.name) \($0.type.lowercased())" }.joined(separator: ", ") + ")" }
}

public struct FunctionEntry: Sendable, Equatable {
  public var id: UUID
  public var name: ThreePartName
  public var definition: FunctionDefinition
  public var comment: String
  public var owner: String
  public var properties: [String: String]
  public var createdAt: Date
  public var createdBy: String
  public var updatedAt: Date
  public var updatedBy: String
}
