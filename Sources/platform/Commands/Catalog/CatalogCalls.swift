// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

/// Calls and answers that the commands of the catalog share.
enum CatalogCalls {
  static let base = "/api/2.1/unity-catalog"

  /// All entries of a listing, page by page.
  static func all<Entry: Codable & Sendable>(
    _ client: PlatformClient, _ kind: String, _ filters: [(String, String)] = [], as type: Entry.Type = Entry.self
  ) async throws -> CatalogList<Entry> {
    var whole = CatalogList<Entry>(kind == "models" ? "registered_models" : kind.hasSuffix("versions") ? "model_versions" : kind, [], nextPageToken: nil)
    var token: String?
    repeat {
      let query = (filters + [("max_results", "1000")] + (token.map { [("page_token", $0)] } ?? []))
        .map { "\($0)=\(segment($1))" }.joined(separator: "&")
      let page: CatalogList<Entry> = try await client.get("\(base)/\(kind)?\(query)")
      whole.entries += page.entries
      token = page.nextPageToken
    } while token != nil
    return whole
  }

  static func get<Info: Decodable>(_ client: PlatformClient, _ kind: String, _ name: String) async throws -> Info {
    try await client.get("\(base)/\(kind)/\(segment(name))")
  }

  static func delete(_ client: PlatformClient, _ kind: String, _ name: String, force: Bool = false) async throws {
    _ = try await client.send("DELETE", "\(base)/\(kind)/\(segment(name))" + (force ? "?force=true" : ""), body: nil)
    Report.note("\(Report.check) \(name) deleted")
  }

  /// Brings back what was dropped under this name.
  static func undrop(_ client: PlatformClient, _ kind: String, _ name: String, id: String?) async throws {
    let _: EmptyAnswer = try await client.post("\(base)/\(kind)/\(segment(name))/undrop" + (id.map { "?id=\(segment($0))" } ?? ""), EmptyAnswer())
    Report.note("\(Report.check) \(name) is back")
  }

  /// What was dropped and can be brought back.
  static func showDropped(_ options: ClientOptions, _ filters: [(String, String)], kind: String) async throws {
    var list = try await all(options.client(), "dropped", filters, as: DroppedInfo.self)
    list.entries.removeAll { $0.kind != kind }
    try show(list, options.output, ["NAME", "DROPPED", "BY", "KEPT UNTIL", "ID"], none: "Nothing can be brought back.") {
      [$0.fullName, time($0.droppedAt), $0.droppedBy, time($0.purgedAfter), $0.id]
    }
  }

  static func facts<Own>(_ one: CatalogObject<Own>) -> [(String, String)] {
    [
      ("name", one.facts.fullName), ("owner", one.facts.owner), ("comment", one.facts.comment ?? ""), ("properties", pairs(one.facts.properties)),
      ("created", "\(time(one.facts.createdAt)) by \(one.facts.createdBy)"), ("updated", "\(time(one.facts.updatedAt)) by \(one.facts.updatedBy)"),
    ]
  }

  /// Answers with what was made or changed: as data for programs, as a line for people.
  static func report<Own>(_ one: CatalogObject<Own>, _ what: String, _ output: OutputFormat) throws {
    if output == .name { return Report.data(one.facts.fullName) }
    if output.isStructured { return try Report.structured(one, output) }
    Report.note("\(Report.check) \(what)")
  }

  /// - Throws: `invalidArgument` when the name has another number of parts.
  static func split(_ name: String, _ count: Int, _ form: String) throws -> [String] {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == count, parts.allSatisfy({ !$0.isEmpty }) else {
      throw PlatformError(.invalidArgument, "'\(name)' is not a name of the form \(form)", number: "PLT-3001")
    }
    return parts
  }

  static func inSchema(_ name: String) throws -> [(String, String)] {
    let parts = try split(name, 2, "catalog.schema")
    return [("catalog_name", parts[0]), ("schema_name", parts[1])]
  }

  static func show<Entry: Encodable>(
    _ list: CatalogList<Entry>, _ output: OutputFormat, _ header: [String], none: String, _ row: (Entry) -> [String]
  ) throws {
    if output == .name { return list.entries.forEach { Report.data(row($0)[0]) } }
    if output.isStructured { return try Report.structured(list, output) }
    guard !list.entries.isEmpty else { return Report.note(none) }
    Report.table(header, list.entries.map(row))
  }

  static func show(_ facts: [(String, String)]) {
    let width = facts.map(\.0.count).max() ?? 0
    for (name, value) in facts where !value.isEmpty {
      Report.data(name + String(repeating: " ", count: width - name.count + 2) + value)
    }
  }

  static func time(_ milliseconds: Int64) -> String { Date(timeIntervalSince1970: Double(milliseconds) / 1000).formatted(.iso8601) }

  static func short(_ text: String?, _ output: OutputFormat) -> String {
    let flat = (text ?? "").replacingOccurrences(of: "\n", with: " ")
    return flat.count > 60 && output != .wide ? flat.prefix(59) + (Report.unicode ? "…" : "~") : flat
  }

  static func path(_ location: String) -> String {
    location.hasPrefix("file://") ? String(location.dropFirst(7)).removingPercentEncoding ?? location : location
  }

  static func pairs(_ properties: [String: String]?) -> String {
    (properties ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
  }

  static func properties(_ words: [String]) throws -> [String: String]? {
    if words.isEmpty { return nil }
    return try Dictionary(
      words.map { word in
        guard let at = word.firstIndex(of: "="), at != word.startIndex else {
          throw PlatformError(.invalidArgument, "'\(word)' is not KEY=VALUE")
        }
        return (String(word[..<at]), String(word[word.index(after: at)...]))
      }, uniquingKeysWith: { $1 })
  }
}

/// What `update` may change of every object.
struct ChangeOptions: ParsableArguments {
  @Option(help: "Another comment.") var comment: String?
  @Option(help: "Another owner.") var owner: String?
  @Option(help: "Another name.") var newName: String?

  /// - Throws: `invalidArgument` when nothing is to be changed.
  func request(properties: [String] = []) throws -> CatalogChangeRequest {
    let properties = try CatalogCalls.properties(properties)
    guard comment != nil || owner != nil || newName != nil || properties != nil else {
      throw PlatformError(.invalidArgument, "nothing is to be changed", hint: "Give --comment, --owner or --new-name.")
    }
    return CatalogChangeRequest(comment: comment, owner: owner, properties: properties, newName: newName)
  }
}
