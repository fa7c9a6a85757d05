// SPDX-License-Identifier: Apache-2.0

public import Core

/// What there is to say of one key of project files.
public struct KeyExplanation: Sendable, Codable, Equatable {
  /// From the top of the file, `*` for a name that people choose.
  public var path: String
  public var type: String
  /// `honoured`, `ignored` or `refused`.
  public var treatment: String
  public var summary: String
  public var fallback: String
  public var example: String
  public var isRequired: Bool
  /// Not in Databricks' files.
  public var isOwn: Bool
  /// Keys inside of it.
  public var keys: [String]

  /// Looks a path up: from the top (`resources.jobs.tasks.sql_task`), from a kind of resource (`job.tasks`), or any end of one that is the only one
  /// (`sql_task.file`). Numbers in brackets and names that people choose may stand in it.
  /// - Throws: `notFound` PLT-4280 with what is close.
  public static func of(_ path: String) throws(PlatformError) -> KeyExplanation {
    let words = path.split(separator: ".").map { String($0.prefix { $0 != "[" }) }.filter { !$0.isEmpty }
    let starts: [String: [String]] = [
      "job": ["resources", "jobs"], "schema": ["resources", "schemas"], "volume": ["resources", "volumes"], "catalog": ["resources", "catalogs"],
      "registered_model": ["resources", "registered_models"], "model": ["resources", "registered_models"], "target": ["targets"], "variable": ["variables"],
      "task": ["resources", "jobs", "tasks"],
    ]
    guard let first = words.first else { throw unknown(path, among: ProjectKeys.top.map(\.name)) }
    if let found = find(words) { return found }
    if let start = starts[first], let found = find(start + words.dropFirst()) { return found }
    for start in [["resources", "jobs", "tasks"], ["resources", "jobs"], ["resources"], ["targets"], ["bundle"], ["workspace"]] {
      // Not as a name that somebody chose.
      if let found = find(start + words), found.path.split(separator: ".").contains(first[...]) { return found }
    }
    let last = words.last ?? ""
    let names = Set(everyKey().map { $0.split(separator: ".").last.map(String.init) ?? "" }).sorted()
    throw unknown(path, among: names.filter { $0 != last })
  }

  private static func unknown(_ path: String, among names: [String]) -> PlatformError {
    let word = path.split(separator: ".").last.map(String.init) ?? ""
    let close = Spelling.suggestion(for: word, among: names)
    return PlatformError(
      .notFound, "there is no key '\(path.prefix(100))' in project files",
      hint: close.map { "Did you mean '\($0)'?" } ?? "Begin with one of \(ProjectKeys.top.map(\.name).sorted().joined(separator: ", ")), job, task or target.",
      number: "PLT-4280")
  }

  private static func find(_ words: [String]) -> KeyExplanation? {
    var keys = ProjectKeys.top
    var path: [String] = []
    var found: ProjectKey?
    for word in words {
      if let next = keys.first(where: { $0.name == word }) {
        if let found, case .named = found.shape { path.append("*") }
        path.append(word)
        keys = next.inside
        found = next
      } else if let last = found, case .named = last.shape, path.last == last.name {
        // A name that somebody chose.
        path.append("*")
        found = ProjectKey(name: word, shape: .keys(last.inside), summary: last.summary)
      } else {
        return nil
      }
    }
    return found.map { KeyExplanation($0, path.joined(separator: ".")) }
  }

  private init(_ key: ProjectKey, _ path: String) {
    self.path = path
    type = key.type
    summary = key.summary
    fallback = key.fallback
    example = key.example
    isRequired = key.isRequired
    isOwn = key.isOwn
    keys = key.inside.filter { $0.treatment == .honoured }.map(\.name).sorted()
    switch key.treatment {
    case .honoured: treatment = "honoured"
    case .ignored: treatment = "ignored"
    case .refused: treatment = "refused"
    }
  }

  private static func everyKey() -> [String] { KeyLists.all.flatMap { [$0.honoured, $0.ignored, $0.refused].flatMap { $0 } } }
}

/// The three published lists: what is honoured, what is ignored with a warning, what is refused.
public struct KeyLists: Sendable, Codable, Equatable {
  /// The keys' common beginning; empty for the top of the file.
  public var place: String
  public var honoured: [String]
  public var ignored: [String]
  public var refused: [String]

  /// By place, from the top; what a loop repeats is a task again and is left out.
  public static let all: [KeyLists] = {
    var lists: [KeyLists] = []
    func note(_ keys: [ProjectKey], _ place: String) {
      func names(_ fits: (ProjectKey.Treatment) -> Bool) -> [String] { keys.filter { fits($0.treatment) }.map(\.name).sorted() }
      lists.append(
        KeyLists(
          place: place, honoured: names { $0 == .honoured },
          ignored: names { if case .ignored = $0 { true } else { false } }, refused: names { if case .refused = $0 { true } else { false } }))
      for key in keys where key.treatment == .honoured && !key.inside.isEmpty && !place.hasSuffix("for_each_task.task") {
        let here = place.isEmpty ? key.name : "\(place).\(key.name)"
        if case .named = key.shape { note(key.inside, here + ".*") } else if !here.hasSuffix("for_each_task.task") { note(key.inside, here) }
      }
    }
    note(ProjectKeys.top, "")
    return lists
  }()

  /// As a table for the documentation.
  public static func markdown(_ lists: [KeyLists]) -> String {
    func cell(_ names: [String]) -> String { names.isEmpty ? "" : names.map { "`\($0)`" }.joined(separator: " ") }
    return "| Where | Honoured | Ignored, with a warning | Refused |\n|---|---|---|---|\n"
      + lists.map { "| \($0.place.isEmpty ? "top" : "`\($0.place)`") | \(cell($0.honoured)) | \(cell($0.ignored)) | \(cell($0.refused)) |\n" }.joined()
  }
}
