// SPDX-License-Identifier: Apache-2.0

public import Core

/// How `jobs/update` changes settings: fields are replaced as a whole, lists of named parts part by part.
public enum JobChange {
  /// What names the parts of a list.
  private static let keys = ["tasks": "task_key", "job_clusters": "job_cluster_key", "parameters": "name", "environments": "environment_key"]

  /// - Parameter removing: names of fields, or `tasks/a` for one part of a list.
  /// - Throws: `invalidArgument` PLT-4214 for a path that cannot be removed.
  public static func apply(_ new: JSONValue, removing: [String], to old: JSONValue) throws(PlatformError) -> JSONValue {
    var settings = old.objectValue ?? [:]
    for path in removing {
      let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
      if parts.count == 1, !parts[0].isEmpty {
        settings[parts[0]] = nil
      } else if parts.count == 2, let key = keys[parts[0]] {
        let left = (settings[parts[0]]?.arrayValue ?? []).filter { $0[key]?.stringValue != parts[1] }
        settings[parts[0]] = .array(left)
      } else {
        throw PlatformError(
          .invalidArgument, "'\(path.prefix(100))' in fields_to_remove cannot be removed",
          hint: "Name a field of the settings, or tasks/TASK_KEY.", number: "PLT-4214")
      }
    }
    for (name, value) in new.objectValue ?? [:] {
      guard let key = keys[name], let given = value.arrayValue, let known = settings[name]?.arrayValue else {
        settings[name] = value
        continue
      }
      var merged = known
      for part in given {
        let position = merged.firstIndex { $0[key] == part[key] && part[key] != nil }
        if let position { merged[position] = part } else { merged.append(part) }
      }
      settings[name] = .array(merged)
    }
    return .object(settings)
  }
}
