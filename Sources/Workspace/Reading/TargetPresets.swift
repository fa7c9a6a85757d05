// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

/// What is done to all resources of a target, as Databricks' command line does it (`apply_presets.go`): in development names get a prefix, jobs
/// a tag, schedules rest.
struct TargetPresets {
  var prefix: String
  var tags: [(name: String, value: YAMLTree)]
  var maxConcurrentRuns: String?
  var pauseStatus: String?

  /// - Parameter given: the `presets` of the project, filled in.
  init(_ given: YAMLTree?, _ mode: Project.Mode?, shortUser: String) {
    let isDevelopment = mode == .development
    prefix = given?["name_prefix"]?.scalar ?? (isDevelopment ? "[dev \(shortUser)] " : "")
    tags = (given?["tags"]?.members ?? []).filter { !$0.value.isNull }.map { ($0.key, $0.value) }
    if isDevelopment, !tags.contains(where: { $0.name == "dev" }) { tags.append(("dev", YAMLTree.text(shortUser, at: 1))) }
    maxConcurrentRuns = given?["jobs_max_concurrent_runs"]?.scalar ?? (isDevelopment ? "4" : nil)
    pauseStatus = given?["trigger_pause_status"]?.scalar ?? (isDevelopment ? "PAUSED" : nil)
  }

  /// The prefix for names of the catalog: `[dev jane] ` is `dev_jane_`.
  var catalogPrefix: String {
    let text = prefix.replacing("[", with: "")
    let isClosed = text.trimmed.hasSuffix("]")
    return ProjectContext.normalized(text) + (isClosed ? "_" : "")
  }

  func apply(to resources: YAMLTree?) -> YAMLTree {
    guard var result = resources else { return YAMLTree(.map([]), at: 1) }
    for (kind, prefix) in [("schemas", catalogPrefix), ("registered_models", catalogPrefix)] where !prefix.isEmpty {
      result = each(kind, of: result) { _, one in
        guard let name = one["name"], let text = name.scalar else { return one }
        return one.setting("name", YAMLTree.text(prefix + text, at: name.line))
      }
    }
    return each("jobs", of: result, job)
  }

  private func each(_ kind: String, of resources: YAMLTree, _ change: (String, YAMLTree) -> YAMLTree) -> YAMLTree {
    guard let all = resources[kind], let members = all.members else { return resources }
    let changed = members.map { member in
      member.value.members == nil ? member : YAMLTree.Member(key: member.key, line: member.line, value: change(member.key, member.value))
    }
    return resources.setting(kind, YAMLTree(.map(changed), at: all.line))
  }

  private func job(_ key: String, _ job: YAMLTree) -> YAMLTree {
    var result = job
    let line = job.line
    if job["name"] == nil || job["name"]?.scalar != nil {
      result = result.setting("name", YAMLTree.text(prefix + (job["name"]?.scalar ?? key), at: job["name"]?.line ?? line))
    }
    if !tags.isEmpty, job["tags"] == nil || job["tags"]?.members != nil {
      var own = job["tags"] ?? YAMLTree(.map([]), at: line)
      for tag in tags where own[tag.name] == nil { own = own.setting(tag.name, YAMLTree(tag.value.content, at: own.line)) }
      result = result.setting("tags", own)
    }
    if let maxConcurrentRuns, job["max_concurrent_runs"] == nil {
      result = result.setting("max_concurrent_runs", YAMLTree.plain(maxConcurrentRuns, at: line))
    }
    // As Databricks' command line does: runs of deployed jobs wait for each other.
    if job["queue"] == nil { result = result.setting("queue", YAMLTree(.map([]), at: line).setting("enabled", YAMLTree.plain("true", at: line))) }
    if let pauseStatus {
      for starter in ["schedule", "trigger", "continuous"] {
        guard let own = job[starter], own.members != nil, own["pause_status"] == nil else { continue }
        result = result.setting(starter, own.setting("pause_status", YAMLTree.text(pauseStatus, at: own.line)))
      }
    }
    return result
  }
}

extension String {
  fileprivate var trimmed: String {
    var text = self[...]
    while text.first?.isWhitespace == true { text = text.dropFirst() }
    while text.last?.isWhitespace == true { text = text.dropLast() }
    return String(text)
  }
}
