// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

/// Calls and answers that the commands of the catalog share.
private enum CatalogCalls {
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

  static func short(_ text: String, _ output: OutputFormat) -> String {
    let flat = text.replacingOccurrences(of: "\n", with: " ")
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

struct CatalogsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "catalogs", abstract: "Catalogs: the first part of every name.",
    discussion: """
      EXAMPLES
        platform catalogs create sales --comment "what we sold"
        platform catalogs list -o name
        platform catalogs delete sales --force
      """, subcommands: [List.self, Get.self, Create.self, Delete.self])

  static func show(_ one: CatalogInfo, _ output: OutputFormat) throws {
    if output.isStructured { return try Report.structured(one, output) }
    CatalogCalls.show([
      ("name", one.name), ("owner", one.owner), ("comment", one.comment), ("properties", CatalogCalls.pairs(one.properties)),
      ("created", CatalogCalls.time(one.createdAt)), ("updated", CatalogCalls.time(one.updatedAt)),
    ])
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All catalogs.")
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list = try await CatalogCalls.all(options.client(), "catalogs", as: CatalogInfo.self)
      try CatalogCalls.show(list, options.output, ["CATALOG", "OWNER", "CREATED", "COMMENT"], none: "No catalogs.") {
        [$0.name, $0.owner, CatalogCalls.time($0.createdAt), CatalogCalls.short($0.comment, options.output)]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One catalog.")
    @Argument var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try CatalogsCommand.show(await CatalogCalls.get(options.client(), "catalogs", name), options.output) }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a catalog.")
    @Argument var name: String
    @Option(help: "What it is for.") var comment: String?
    @Option(name: .customLong("property"), help: "KEY=VALUE; may be repeated.") var properties: [String] = []
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let made: CatalogInfo = try await options.client().post(
        CatalogCalls.base + "/catalogs",
        CatalogCreateRequest(name: name, comment: comment, properties: CatalogCalls.properties(properties)))
      if options.output.isStructured { return try Report.structured(made, options.output) }
      Report.note("\(Report.check) catalog \(made.name) created")
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove an empty catalog.")
    @Argument var name: String
    @Flag(help: "Also remove its schemas with their tables and volumes, and the files of managed ones.") var force = false
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      if force { try Confirmation.require(name, toDelete: "the catalog \(name) with everything in it", yes: yes) }
      try await CatalogCalls.delete(options.client(), "catalogs", name, force: force)
    }
  }
}

struct SchemasCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schemas", abstract: "Schemas: the second part of every name.",
    discussion: """
      EXAMPLES
        platform schemas list main
        platform schemas create main.sales
        platform schemas delete main.sales --force
      """, subcommands: [List.self, Get.self, Create.self, Delete.self])

  static func show(_ one: SchemaInfo, _ output: OutputFormat) throws {
    if output == .name { return Report.data(one.fullName) }
    if output.isStructured { return try Report.structured(one, output) }
    CatalogCalls.show([
      ("name", one.fullName), ("owner", one.owner), ("comment", one.comment), ("properties", CatalogCalls.pairs(one.properties)),
      ("created", CatalogCalls.time(one.createdAt)), ("updated", CatalogCalls.time(one.updatedAt)),
    ])
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The schemas of a catalog.")
    @Argument var catalog: String = "main"
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list = try await CatalogCalls.all(options.client(), "schemas", [("catalog_name", catalog)], as: SchemaInfo.self)
      try CatalogCalls.show(list, options.output, ["SCHEMA", "OWNER", "CREATED", "COMMENT"], none: "No schemas in \(catalog).") {
        [$0.fullName, $0.owner, CatalogCalls.time($0.createdAt), CatalogCalls.short($0.comment, options.output)]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One schema.")
    @Argument(help: "catalog.schema") var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try SchemasCommand.show(await CatalogCalls.get(options.client(), "schemas", name), options.output) }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a schema.")
    @Argument(help: "catalog.schema") var name: String
    @Option(help: "What it is for.") var comment: String?
    @Option(name: .customLong("property"), help: "KEY=VALUE; may be repeated.") var properties: [String] = []
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let parts = try CatalogCalls.split(name, 2, "catalog.schema")
      let made: SchemaInfo = try await options.client().post(
        CatalogCalls.base + "/schemas",
        CatalogCreateRequest(name: parts[1], catalogName: parts[0], comment: comment, properties: CatalogCalls.properties(properties)))
      if options.output == .name { return Report.data(made.fullName) }
      if options.output.isStructured { return try Report.structured(made, options.output) }
      Report.note("\(Report.check) schema \(made.fullName) created")
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove an empty schema.")
    @Argument(help: "catalog.schema") var name: String
    @Flag(help: "Also remove its tables and volumes, and the files of managed ones.") var force = false
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      if force { try Confirmation.require(name, toDelete: "the schema \(name) with everything in it", yes: yes) }
      try await CatalogCalls.delete(options.client(), "schemas", name, force: force)
    }
  }
}

struct TablesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tables", abstract: "Tables of the catalog.",
    discussion: """
      EXAMPLES
        platform tables list main.demo
        platform tables get main.demo.documents
        platform tables delete main.demo.documents
      """, subcommands: [List.self, Get.self, Delete.self])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The tables of a schema.")
    @Argument(help: "catalog.schema") var schema: String = "main.default"
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list = try await CatalogCalls.all(options.client(), "tables", CatalogCalls.inSchema(schema), as: TableInfo.self)
      try CatalogCalls.show(list, options.output, ["TABLE", "TYPE", "COLUMNS", "OWNER", "UPDATED", "COMMENT"], none: "No tables in \(schema).") {
        [
          $0.fullName, $0.tableType, "\($0.columns?.count ?? 0)", $0.owner, CatalogCalls.time($0.updatedAt),
          CatalogCalls.short($0.comment, options.output),
        ]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One table with its columns.")
    @Argument(help: "catalog.schema.table") var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let one: TableInfo = try await CatalogCalls.get(options.client(), "tables", name)
      if options.output == .name { return Report.data(one.fullName) }
      if options.output.isStructured { return try Report.structured(one, options.output) }
      CatalogCalls.show([
        ("name", one.fullName), ("type", "\(one.tableType) \(one.dataSourceFormat)"), ("owner", one.owner), ("comment", one.comment),
        ("location", CatalogCalls.path(one.storageLocation)), ("properties", CatalogCalls.pairs(one.properties)),
        ("created", CatalogCalls.time(one.createdAt)), ("updated", CatalogCalls.time(one.updatedAt)),
      ])
      Report.data("")
      Report.table(
        ["COLUMN", "TYPE", "NULLABLE", "PARTITION"],
        (one.columns ?? []).map { [$0.name, $0.typeText, $0.nullable ? "yes" : "no", $0.partitionIndex.map { "\($0)" } ?? ""] })
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove a table; of a managed one also its files.")
    @Argument(help: "catalog.schema.table") var name: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      try Confirmation.require(name, toDelete: "the table \(name), with its files when it is a managed one", yes: yes)
      try await CatalogCalls.delete(options.client(), "tables", name)
    }
  }
}

struct VolumesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "volumes", abstract: "Volumes: folders of files with a name in the catalog.",
    discussion: """
      EXAMPLES
        platform volumes create main.demo.raw
        platform volumes list main.demo
        platform volumes get main.demo.raw
      """, subcommands: [List.self, Get.self, Create.self, Delete.self])

  static func show(_ one: VolumeInfo, _ output: OutputFormat) throws {
    if output == .name { return Report.data(one.fullName) }
    if output.isStructured { return try Report.structured(one, output) }
    CatalogCalls.show([
      ("name", one.fullName), ("type", one.volumeType), ("location", CatalogCalls.path(one.storageLocation)), ("owner", one.owner),
      ("comment", one.comment), ("created", CatalogCalls.time(one.createdAt)), ("updated", CatalogCalls.time(one.updatedAt)),
    ])
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The volumes of a schema.")
    @Argument(help: "catalog.schema") var schema: String = "main.default"
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list = try await CatalogCalls.all(options.client(), "volumes", CatalogCalls.inSchema(schema), as: VolumeInfo.self)
      try CatalogCalls.show(list, options.output, ["VOLUME", "TYPE", "OWNER", "CREATED", "LOCATION"], none: "No volumes in \(schema).") {
        [$0.fullName, $0.volumeType, $0.owner, CatalogCalls.time($0.createdAt), CatalogCalls.path($0.storageLocation)]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One volume.")
    @Argument(help: "catalog.schema.volume") var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try VolumesCommand.show(await CatalogCalls.get(options.client(), "volumes", name), options.output) }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a volume.")
    @Argument(help: "catalog.schema.volume") var name: String
    @Option(help: "What it is for.") var comment: String?
    @Option(help: "An existing folder on the coordinator's machine, below one that PLATFORM_EXTERNAL_LOCATIONS names there.") var location: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let parts = try CatalogCalls.split(name, 3, "catalog.schema.volume")
      let made: VolumeInfo = try await options.client().post(
        CatalogCalls.base + "/volumes",
        CatalogCreateRequest(
          name: parts[2], catalogName: parts[0], schemaName: parts[1], comment: comment, volumeType: location == nil ? "MANAGED" : "EXTERNAL",
          storageLocation: location))
      if options.output == .name { return Report.data(made.fullName) }
      if options.output.isStructured { return try Report.structured(made, options.output) }
      Report.note("\(Report.check) volume \(made.fullName) created")
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove a volume; of a managed one also its files.")
    @Argument(help: "catalog.schema.volume") var name: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      try Confirmation.require(name, toDelete: "the volume \(name), with its files when it is a managed one", yes: yes)
      try await CatalogCalls.delete(options.client(), "volumes", name)
    }
  }
}

struct ModelsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "models", abstract: "Registered models, their versions and aliases.",
    discussion: """
      EXAMPLES
        platform models list
        platform models get main.demo.doc_lm
        platform models alias main.demo.doc_lm champion 3
        platform models alias main.demo.doc_lm champion --remove
      """, subcommands: [List.self, Get.self, Alias.self])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All models, or those of a schema.")
    @Argument(help: "catalog.schema") var schema: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list = try await CatalogCalls.all(
        options.client(), "models", schema.map { try CatalogCalls.inSchema($0) } ?? [], as: RegisteredModelInfo.self)
      try CatalogCalls.show(list, options.output, ["MODEL", "NEWEST", "OWNER", "UPDATED", "COMMENT"], none: "No models.") {
        [
          $0.fullName, $0.newestVersion.map { "\($0)" } ?? "", $0.owner, CatalogCalls.time($0.updatedAt),
          CatalogCalls.short($0.comment, options.output),
        ]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One model with its versions.")
    @Argument(help: "catalog.schema.model") var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      let one: RegisteredModelInfo = try await CatalogCalls.get(client, "models", name)
      if options.output == .name { return Report.data(one.fullName) }
      if options.output.isStructured { return try Report.structured(one, options.output) }
      CatalogCalls.show([
        ("name", one.fullName), ("owner", one.owner), ("comment", one.comment), ("created", CatalogCalls.time(one.createdAt)),
        ("aliases", (one.aliases ?? []).map { "\($0.aliasName)=\($0.versionNum)" }.joined(separator: " ")),
      ])
      let versions = try await CatalogCalls.all(client, "models/\(segment(name))/versions", as: ModelVersionInfo.self)
      guard !versions.entries.isEmpty else { return }
      Report.data("")
      Report.table(
        ["VERSION", "STATUS", "CREATED", "RUN", "ALIASES", "LOCATION"],
        versions.entries.map {
          [
            "\($0.version)", $0.status, CatalogCalls.time($0.createdAt), $0.runID ?? "", $0.aliases.map(\.aliasName).joined(separator: " "),
            CatalogCalls.path($0.storageLocation),
          ]
        })
    }
  }

  struct Alias: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show what an alias means, move it to a version, or remove it.")
    @Argument(help: "catalog.schema.model") var name: String
    @Argument(help: "The alias.") var alias: String
    @Argument(help: "The version it shall mean.") var version: Int?
    @Flag(help: "Remove the alias.") var remove = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      guard !(remove && version != nil) else { throw PlatformError(.invalidArgument, "give a version or --remove, not both") }
      let client = try options.client()
      let path = "\(CatalogCalls.base)/models/\(segment(name))/aliases/\(segment(alias))"
      if remove {
        _ = try await client.send("DELETE", path, body: nil)
        return Report.note("\(Report.check) \(name)@\(alias) removed")
      }
      guard let version else {
        let meant: ModelVersionInfo = try await client.get(path)
        if options.output.isStructured { return try Report.structured(meant, options.output) }
        return Report.data("\(meant.version)")
      }
      let made: ModelAliasInfo = try await client.put(path, ModelAliasRequest(versionNum: version))
      if options.output.isStructured { return try Report.structured(made, options.output) }
      Report.note("\(Report.check) \(name)@\(made.aliasName) is version \(made.versionNum)")
    }
  }
}
