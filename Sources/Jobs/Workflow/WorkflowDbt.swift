// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling

/// `dbt_task`.
extension WorkflowChecker {
  /// Folders that tasks name begin with this among the files of a run.
  static let folderPrefix = "folder:"

  /// The project's files take the place of its folder. Each command becomes words before references are filled in, so that what they stand for is
  /// never read as several words, or as shell.
  mutating func dbt(_ body: JSONValue, _ tree: YAMLTree, _ place: String) -> JSONValue {
    checkSource(tree["source"], place)
    var members = body.objectValue ?? [:]
    var commands: [JSONValue] = []
    for (index, item) in (tree["commands"]?.items ?? []).enumerated() {
      let here = "\(place).commands[\(index)]"
      guard case .scalar(let raw, _) = item.content else { continue }
      guard let words = CommandWords.split(raw) else {
        fail("PLT-1203", item.line, here, "a quote is not closed")
        continue
      }
      guard words.first == "dbt", words.count > 1 else {
        fail("PLT-1203", item.line, here, "'\(Self.short(raw))' is no command of dbt", hint: "For example dbt run --select orders.")
        continue
      }
      commands.append(.array(words.compactMap { value(YAMLTree(.scalar($0, plain: false), at: item.line), .anyText, here) }))
    }
    if let list = tree["commands"], list.items?.isEmpty == true { fail("PLT-1202", list.line, place + ".commands", "is empty", hint: "commands: [ dbt run ]") }
    members["commands"] = .array(commands)
    members["source"] = nil
    let given = body["project_directory"]?.stringValue ?? ""
    let line = tree["project_directory"]?.line ?? tree.line
    guard let name = located(given.isEmpty ? "." : given, body["source"]?.stringValue, line, place + ".project_directory") else { return .object(members) }
    // Braces of the project are its own.
    if let files = folder(name, line, place + ".project_directory") { members["project"] = .string(Template.escape(files)) }
    return .object(members)
  }

  /// The files of a folder that a task names, as one text: read from a volume, a git folder or a repository when the run starts.
  private mutating func folder(_ path: String, _ line: Int, _ place: String) -> String? {
    let key = Self.folderPrefix + path
    if let text = attachments[key] { return text }
    let plain = path.hasPrefix("dbfs:") ? String(path.dropFirst("dbfs:".count)) : path
    if plain.hasPrefix("/Volumes/") || path.hasPrefix(GitSource.prefix) || WorkspacePath.isOne(path) {
      if !missingFiles.contains(key) { missingFiles.append(key) }
      if purpose == .definition { return "" }
    }
    fail(
      "PLT-4472", line, place, "'\(Self.short(path))' is no folder of a volume, of a git folder or of the job's repository",
      hint: "Give git_source, or a path that begins with /Volumes/ or /Workspace/: folders do not travel with a file.")
    return nil
  }
}
