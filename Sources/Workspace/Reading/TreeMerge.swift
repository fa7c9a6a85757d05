// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

/// How parts of a project become one: Databricks' rules (`libs/dyn/merge` of its command line). Mappings are merged, lists are put one behind
/// the other, single values are replaced; null changes nothing. Afterwards named parts of a job's lists with the same name become one.
enum TreeMerge {
  /// - Throws: `invalidFile` PLT-4275 where two values are of different kinds.
  static func merge(_ old: YAMLTree, _ new: YAMLTree, _ place: String) throws(PlatformError) -> YAMLTree {
    if old.isNull { return new }
    if new.isNull { return old }
    switch (old.content, new.content) {
    case (.map(let known), .map(let given)):
      var members = known
      var positions = Dictionary(known.enumerated().map { ($0.element.key, $0.offset) }, uniquingKeysWith: { $1 })
      for member in given {
        if let position = positions[member.key] {
          members[position].value = try merge(members[position].value, member.value, place.isEmpty ? member.key : "\(place).\(member.key)")
          if members[position].value.line == member.value.line { members[position].line = member.line }
        } else {
          positions[member.key] = members.count
          members.append(member)
        }
      }
      return YAMLTree(.map(members), at: old.line)
    case (.list(let known), .list(let given)): return YAMLTree(.list(known + given), at: old.line)
    case (.scalar, .scalar): return new
    // A reference may stand for anything.
    case (.scalar(let text, _), _) where References.isWhole(text): return new
    case (_, .scalar(let text, _)) where References.isWhole(text): return new
    default:
      throw PlatformError(
        .invalidFile, "\(place): \(kind(new)) cannot take the place of \(kind(old))", hint: "Give \(kind(old)).", number: "PLT-4275", line: new.line)
    }
  }

  private static func kind(_ tree: YAMLTree) -> String {
    switch tree.content {
    case .map: "a mapping"
    case .list: "a list"
    case .scalar: "a single value"
    }
  }

  /// What names the parts of a job's lists.
  static let keys = ["tasks": "task_key", "job_clusters": "job_cluster_key", "parameters": "name", "environments": "environment_key"]

  /// A job with parts of the same name merged, in the order of their first mention.
  static func mergeParts(_ job: YAMLTree, _ place: String) throws(PlatformError) -> YAMLTree {
    guard let members = job.members else { return job }
    var merged: [YAMLTree.Member] = []
    for member in members {
      var member = member
      if let name = keys[member.key], let items = member.value.items {
        var parts: [YAMLTree] = []
        var positions: [String: Int] = [:]
        for item in items {
          guard let key = item[name]?.scalar else {
            parts.append(item)
            continue
          }
          if let position = positions[key] {
            parts[position] = try merge(parts[position], item, "\(place).\(member.key)[\(key)]")
          } else {
            positions[key] = parts.count
            parts.append(item)
          }
        }
        member.value = YAMLTree(.list(parts), at: member.value.line)
      }
      merged.append(member)
    }
    return YAMLTree(.map(merged), at: job.line)
  }
}
