// SPDX-License-Identifier: Apache-2.0

public import Core

extension StatementPlan {
  /// What the history says of an UPDATE, DELETE or MERGE beside its name, under the names of the reference implementation: conditions as they
  /// were written, without the values of parameters.
  public var historyParameters: [String: JSONValue] {
    guard let change else { return [:] }
    guard let source = change.source else {
      return change.clauses.first?.condition.map { ["predicate": .string(ResultNames.shown($0))] } ?? [:]
    }
    var parameters: [String: JSONValue] = ["predicate": .string(ResultNames.shown(source.condition))]
    for (name, occasion) in [
      ("matchedPredicates", ChangeStatement.Occasion.matched), ("notMatchedPredicates", .notMatched), ("notMatchedBySourcePredicates", .notMatchedBySource),
    ] {
      let clauses = change.clauses.filter { $0.occasion == occasion }.map { clause -> JSONValue in
        var members: [String: JSONValue] = ["actionType": .string(clause.action.historyName)]
        if let condition = clause.condition { members["predicate"] = .string(ResultNames.shown(condition)) }
        return .object(members)
      }
      if !clauses.isEmpty { parameters[name] = .string(JSONValue.array(clauses).sortedText) }
    }
    return parameters
  }
}

extension StatementPlan {
  /// `REPLACE WHERE condition` as it was written, without the values of parameters.
  public var replacedPredicate: String? { insert.replaceCondition.map(ResultNames.shown) }
}

extension ChangeStatement.Action {
  fileprivate var historyName: String {
    switch self {
    case .delete: "delete"
    case .update, .updateAll: "update"
    case .insert, .insertAll: "insert"
    }
  }
}
