// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Foundation
import Workspace

/// A plan as text and as JSON.
enum PlanPrinter {
  static func mark(_ action: DeploymentPlan.Action) -> String {
    switch action {
    case .create: "+"
    case .update: "~"
    case .recreate: "±"
    case .delete: "-"
    case .unchanged: "="
    }
  }

  static func line(_ step: DeploymentPlan.Step) -> String {
    let mark = step.action == .recreate && !Report.unicode ? "!" : mark(step.action)
    var text = "  \(mark) \(step.kind.noun.padding(toLength: 8, withPad: " ", startingAt: 0)) \(step.name)"
    if step.key != step.name { text += "  (\(step.key))" }
    if !step.reason.isEmpty { text += "  \(step.reason)" }
    return text
  }

  static func show(_ plan: DeploymentPlan, _ write: (String) -> Void) {
    for step in plan.steps where step.action != .unchanged {
      write(line(step))
      for change in step.changes.prefix(20) {
        write("      \(change.field): \(value(change.old)) \(Report.unicode ? "→" : "->") \(value(change.new))")
      }
      if step.changes.count > 20 { write("      and \(step.changes.count - 20) more") }
    }
  }

  private static func value(_ value: JSONValue?) -> String {
    guard let value, value != .null else { return "nothing" }
    let text = value.stringValue ?? value.sortedText
    let flat = text.replacing("\n", with: " ")
    return flat.count > 60 ? flat.prefix(57) + "..." : flat
  }

  /// As in "1 to create, 2 to change".
  static func counts(_ plan: DeploymentPlan, _ words: [DeploymentPlan.Action: String]) -> String {
    let parts = DeploymentPlan.Action.allCases.compactMap { action -> String? in
      let count = plan.count(action)
      return count == 0 ? nil : "\(count) \(words[action] ?? action.rawValue)"
    }
    return parts.isEmpty ? "nothing" : parts.joined(separator: ", ")
  }

  static let ahead: [DeploymentPlan.Action: String] = [
    .create: "to create", .update: "to change", .recreate: "to make anew", .delete: "to delete", .unchanged: "unchanged",
  ]
  static let done: [DeploymentPlan.Action: String] = [
    .create: "created", .update: "changed", .recreate: "made anew", .delete: "deleted", .unchanged: "unchanged",
  ]

  static func json(_ plan: DeploymentPlan, _ identity: Project.Identity) throws -> JSONValue {
    [
      "bundle": .string(identity.name), "target": .string(identity.target), "root_path": .string(identity.rootPath),
      "changes": .bool(plan.changesAnything),
      "steps": .array(
        try plan.steps.map { step in
          [
            "action": .string(step.action.rawValue), "kind": .string(step.kind.rawValue), "key": .string(step.key), "name": .string(step.name),
            "id": step.id.map { .string($0) } ?? .null, "reason": .string(step.reason),
            "changes": .array(
              try step.changes.map { ["field": .string($0.field), "old": try JSONValue(encoding: $0.old), "new": try JSONValue(encoding: $0.new)] }),
          ]
        }),
    ]
  }

  /// All reasons why a plan cannot be carried out.
  /// - Throws: `ExitCode` 73 when there are some.
  static func refuse(_ plan: DeploymentPlan, _ local: LocalProject, _ output: OutputFormat) throws {
    guard !plan.errors.isEmpty else { return }
    for error in plan.errors {
      var error = error
      error.path = error.path.map(local.shown)
      Report.failure(error, json: output == .json)
    }
    throw ExitCode(ExitCodes.of(.conflict))
  }
}
