// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Jobs

/// Programs and statements in files: their texts travel with the job that names them, under their paths in the project.
extension ProjectReader {
  /// Where tasks name files: body, and the keys down to the path.
  private static let places: [(body: String, path: [String])] = [
    ("sql_task", ["file", "path"]), ("spark_python_task", ["python_file"]), ("notebook_task", ["notebook_path"]),
  ]

  /// A job whose paths are those from the project's folder.
  mutating func attaching(_ job: YAMLTree, _ place: String, _ attachments: inout [String: String]) -> YAMLTree {
    var job = job
    if let environments = job["environments"], let items = environments.items {
      let changed = items.enumerated().map { index, item in
        guard let spec = item["spec"], let dependencies = spec["dependencies"], dependencies.items != nil else { return item }
        let here = "\(place).environments[\(index)].spec.dependencies"
        return item.setting("spec", spec.setting("dependencies", attachingLines(dependencies, here, &attachments)))
      }
      job = job.setting("environments", YAMLTree(.list(changed), at: environments.line))
    }
    guard let tasks = job["tasks"], let items = tasks.items else { return job }
    let changed = items.enumerated().map { attachingTask($0.element, "\(place).tasks[\($0.offset)]", &attachments) }
    return job.setting("tasks", YAMLTree(.list(changed), at: tasks.line))
  }

  private mutating func attachingTask(_ task: YAMLTree, _ place: String, _ attachments: inout [String: String]) -> YAMLTree {
    var result = task
    for (body, path) in Self.places {
      guard let own = task[body], own.at(path)?.scalar != nil, !Self.isElsewhere(own) else { continue }
      result = result.setting(body, attachingFile(own, path, "\(place).\(body)", &attachments))
    }
    if let libraries = task["libraries"], libraries.items != nil {
      result = result.setting("libraries", attachingLibraries(libraries, "\(place).libraries", &attachments))
    }
    if let loop = task["for_each_task"], let inner = loop["task"], inner.members != nil {
      result = result.setting("for_each_task", loop.setting("task", attachingTask(inner, "\(place).for_each_task.task", &attachments)))
    }
    return result
  }

  // MARK: Packages

  /// Wheels and lists of requirements of a task; a pattern becomes the wheels that it fits.
  private mutating func attachingLibraries(_ libraries: YAMLTree, _ place: String, _ attachments: inout [String: String]) -> YAMLTree {
    var items: [YAMLTree] = []
    for (index, item) in (libraries.items ?? []).enumerated() {
      let key = ["whl", "requirements"].first { item.members != nil && item[$0]?.scalar != nil }
      guard let key, let value = item[key], let text = value.scalar, Self.isHere(text) else {
        items.append(item)
        continue
      }
      for path in packageFiles(text, value.line, "\(place)[\(index)].\(key)", &attachments) {
        items.append(item.setting(key, YAMLTree.text(path, at: value.line)))
      }
    }
    return YAMLTree(.list(items), at: libraries.line)
  }

  /// Lines for pip: of those some are wheels, and some name a file of further lines.
  private mutating func attachingLines(_ lines: YAMLTree, _ place: String, _ attachments: inout [String: String]) -> YAMLTree {
    var items: [YAMLTree] = []
    for (index, item) in (lines.items ?? []).enumerated() {
      let here = "\(place)[\(index)]"
      guard let text = item.scalar else {
        items.append(item)
        continue
      }
      let option = ["-r ", "--requirement "].first(where: text.hasPrefix) ?? ""
      let path = String(text.dropFirst(option.count).drop { $0 == " " })
      let isWheel = option.isEmpty && text.hasSuffix(".whl") && !text.contains("://") && !text.contains(" ")
      guard !option.isEmpty || isWheel, Self.isHere(path) else {
        items.append(item)
        continue
      }
      for found in packageFiles(path, item.line, here, &attachments) { items.append(YAMLTree.text(option + found, at: item.line)) }
    }
    return YAMLTree(.list(items), at: lines.line)
  }

  private static func isHere(_ path: String) -> Bool {
    !path.hasPrefix("/") && !path.hasPrefix("dbfs:") && !path.contains("{{") && !path.contains("${") && !path.contains("://")
  }

  /// Paths from the project's folder of what a path or pattern names; the files are attached.
  private mutating func packageFiles(_ text: String, _ line: Int, _ place: String, _ attachments: inout [String: String]) -> [String] {
    guard let inside = ProjectFiles.inside(text, from: ProjectFiles.folder(of: sources.path(line))), let pattern = IncludePattern(inside) else {
      fail("PLT-1211", line, place, "'\(text.prefix(80))' leads out of the project", hint: "Paths are relative to the file that they stand in.")
      return []
    }
    let paths = pattern.hasWildcards ? pattern.matches(in: files) : [inside]
    if paths.isEmpty { fail("PLT-1211", line, place, "no file fits '\(inside)'", hint: "Build it first.") }
    for path in paths where attachments[path] == nil {
      attachments[path] = path.hasSuffix(".whl") ? wheel(path, line, place) : program(path, line, place)
    }
    return paths.filter { attachments[$0] != nil }
  }

  private mutating func wheel(_ path: String, _ line: Int, _ place: String) -> String? {
    do {
      if let data = try files.bytes(path) { return "base64:" + data.base64EncodedString() }
      fail("PLT-1211", line, place, "there is no file '\(path)'", hint: "Build it first; paths are relative to the file that they stand in.")
    } catch {
      fail("PLT-1211", line, place, PlatformError.from(error).message, hint: PlatformError.from(error).hint)
    }
    return nil
  }

  private static func isElsewhere(_ body: YAMLTree) -> Bool { (body["source"] ?? body["file"]?["source"])?.scalar == "GIT" }

  private mutating func attachingFile(_ tree: YAMLTree, _ path: [String], _ place: String, _ attachments: inout [String: String]) -> YAMLTree {
    guard let key = path.first, let inner = tree[key] else { return tree }
    if path.count > 1 { return tree.setting(key, attachingFile(inner, Array(path.dropFirst()), "\(place).\(key)", &attachments)) }
    guard let text = inner.scalar, !text.hasPrefix("/"), !text.hasPrefix("dbfs:"), !text.contains("{{"), !text.contains("${") else { return tree }
    let here = "\(place).\(key)"
    let folder = ProjectFiles.folder(of: sources.path(inner.line))
    guard let inside = ProjectFiles.inside(text, from: folder) else {
      fail("PLT-1211", inner.line, here, "'\(text.prefix(80))' leads out of the project", hint: "Paths are relative to the file that they stand in.")
      attachments[text] = ""
      return tree
    }
    // Of a file that cannot be sent an error is enough.
    if attachments[inside] == nil { attachments[inside] = program(inside, inner.line, here) ?? "" }
    return tree.setting(key, YAMLTree(.scalar(inside, plain: false), at: inner.line))
  }

  private mutating func program(_ path: String, _ line: Int, _ place: String) -> String? {
    do {
      guard let text = try files.text(path) else {
        let names = files.entries(ProjectFiles.folder(of: path)).filter { !$0.isFolder }.map(\.name).sorted()
        let close = Spelling.suggestion(for: PathText.components(path).last ?? "", among: names)
        fail(
          "PLT-1211", line, place, "there is no file '\(path)'",
          hint: close.map { "Did you mean '\($0)'?" } ?? "Paths are relative to the file that they stand in; a path in a volume begins with /Volumes/.")
        return nil
      }
      guard text.utf8.count <= ProjectFiles.programLimit, !text.contains("\0") else {
        fail("PLT-1211", line, place, "'\(path)' is no text of at most 1 MB", hint: "Put it into a volume.")
        return nil
      }
      return text
    } catch {
      fail("PLT-1211", line, place, PlatformError.from(error).message, hint: PlatformError.from(error).hint)
      return nil
    }
  }
}
