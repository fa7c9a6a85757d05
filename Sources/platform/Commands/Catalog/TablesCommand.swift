// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct TablesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tables", abstract: "Tables of the catalog.",
    discussion: """
      EXAMPLES
        platform tables list main.demo
        platform tables get main.demo.documents
        platform tables sample main.demo.documents -n 5
        platform tables append main.demo.events events.ndjson
        platform tables update main.demo.documents --new-name main.archive.documents
        platform tables delete main.demo.documents
        platform tables undrop main.demo.documents
      """, subcommands: [List.self, Get.self, Update.self, Delete.self, Undrop.self, History.self, Describe.self, Sample.self, Append.self])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The tables of a schema.")
    @Argument(help: "catalog.schema") var schema: String = "main.default"
    @Flag(help: "Those that were dropped and can be brought back.") var dropped = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      if dropped { return try await CatalogCalls.showDropped(options, CatalogCalls.inSchema(schema), kind: "table") }
      let list = try await CatalogCalls.all(options.client(), "tables", CatalogCalls.inSchema(schema), as: TableInfo.self)
      try CatalogCalls.show(list, options.output, ["TABLE", "TYPE", "COLUMNS", "OWNER", "UPDATED", "COMMENT"], none: "No tables in \(schema).") {
        [
          $0.facts.fullName, $0.own.tableType, "\($0.own.columns?.count ?? 0)", $0.facts.owner, CatalogCalls.time($0.facts.updatedAt),
          CatalogCalls.short($0.facts.comment, options.output),
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
      if options.output == .name { return Report.data(one.facts.fullName) }
      if options.output.isStructured { return try Report.structured(one, options.output) }
      let constraints = (one.own.tableConstraints ?? []).map { CatalogCalls.text($0) }.joined(separator: "; ")
      CatalogCalls.show(
        CatalogCalls.facts(one) + [
          ("type", "\(one.own.tableType) \(one.own.dataSourceFormat ?? "")"), ("location", one.own.storageLocation.map(CatalogCalls.path) ?? ""),
          ("constraints", constraints), ("query", one.own.viewDefinition ?? ""),
        ])
      Report.data("")
      Report.table(
        ["COLUMN", "TYPE", "NULLABLE", "PARTITION", "COMMENT"],
        (one.own.columns ?? []).map {
          [
            $0.name, $0.typeText, $0.nullable ? "yes" : "no", $0.partitionIndex.map { "\($0)" } ?? "", CatalogCalls.short($0.comment, options.output),
          ]
        })
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Drop a table; for seven days it can be brought back.")
    @Argument(help: "catalog.schema.table") var name: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      try Confirmation.require(name, toDelete: "the table \(name)", yes: yes)
      try await CatalogCalls.delete(options.client(), "tables", name)
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change, rename or move it; its files stay where they are.")
    @Argument(help: "catalog.schema.table") var name: String
    @OptionGroup var change: ChangeOptions
    @Option(name: .customLong("property"), help: "KEY=VALUE; together they take the place of all that are there.") var properties: [String] = []
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let request = try change.request(properties: properties)
      let one: TableInfo = try await options.client().patch("\(CatalogCalls.base)/tables/\(segment(name))", request)
      try CatalogCalls.report(one, "\(one.facts.fullName) changed", options.output)
    }
  }

  struct Undrop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Bring back what was dropped in the last seven days.")
    @Argument(help: "catalog.schema.table") var name: String
    @Option(help: "Which one, when several of the name were dropped.") var id: String?
    @OptionGroup var options: ClientOptions
    func run() async throws { try await CatalogCalls.undrop(options.client(), "tables", name, id: id) }
  }

  struct History: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The versions of a table, newest first.")
    @Argument(help: "catalog.schema.table") var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try await CatalogCalls.statement("DESCRIBE HISTORY \(CatalogCalls.quoted(name))", options) }
  }

  struct Describe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Where a table is and how large: files, bytes, versions.")
    @Argument(help: "catalog.schema.table") var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try await CatalogCalls.statement("DESCRIBE DETAIL \(CatalogCalls.quoted(name))", options) }
  }

  struct Sample: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Some rows of a table.", aliases: ["preview"])
    @Argument(help: "catalog.schema.table") var name: String
    @Option(name: [.customShort("n"), .customLong("rows")], help: "How many.") var rows: Int = 10
    @OptionGroup var options: ClientOptions
    func run() async throws {
      guard (1...10_000).contains(rows) else { throw PlatformError(.invalidArgument, "-n must be 1 to 10000") }
      try await CatalogCalls.statement("SELECT * FROM \(CatalogCalls.quoted(name)) LIMIT \(rows)", options)
    }
  }
}

extension CatalogCalls {
  /// The name for a statement, each part quoted.
  /// - Throws: `invalidArgument` when it has not three parts.
  static func quoted(_ name: String) throws -> String {
    try split(name, 3, "catalog.schema.table").map { "\"" + $0.replacing("\"", with: "\"\"") + "\"" }.joined(separator: ".")
  }

  /// Runs a statement and shows its answer as `platform sql` does.
  static func statement(_ text: String, _ options: ClientOptions) async throws {
    var arguments = [text, "--output", options.output.rawValue, "--timeout", "\(options.timeout)", "--limit", "10000"]
    if let host = options.host { arguments += ["--host", host] }
    if let folder = options.data.dataDir { arguments += ["--data-dir", folder] }
    try await SQLCommand.parse(arguments).run()
  }

  static func text(_ constraint: TableConstraint) -> String {
    if let key = constraint.primaryKey { return "\(key.name): primary key (\(key.childColumns.joined(separator: ", ")))" }
    if let key = constraint.foreignKey {
      return "\(key.name): (\(key.childColumns.joined(separator: ", "))) of \(key.parentTable) (\((key.parentColumns ?? []).joined(separator: ", ")))"
    }
    return constraint.named?.name ?? ""
  }
}
