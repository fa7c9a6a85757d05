// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct ImportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Load files, or a table of a Postgres, into a table.",
    discussion: """
      Files and folders of this machine go through the volume 'imports' of the table's schema, and are removed from it afterwards. The table is
      made when it is not there, with the columns that the files have; records that cannot be read go to TABLE_quarantine. A file of which nothing
      can be read ends the import, as does a row that breaks a rule of the table: with --quarantine they are put there, too.
      The password of a Postgres is read from PGPASSWORD, unless it is in the URL.

      EXAMPLES
        platform import orders.csv main.shop.orders
        platform import exports/2026 main.shop.orders --format csv --set delimiter=';'
        platform import /Volumes/main/shop/in main.shop.orders
        platform import postgres://reader@db.lan/shop main.shop.orders --from public.orders
      """)
  @Argument(help: "A file or folder, a path below /Volumes, or postgres://USER@HOST/DATABASE.") var source: String
  @Argument(help: "catalog.schema.table") var table: String
  @Option(help: "csv, tsv, json, parquet, avro, text or binaryFile; otherwise as the files' names tell.") var format: String?
  @Option(name: .customLong("set"), help: "Option of the format: KEY=VALUE. May be repeated.") var settings: [String] = []
  @Flag(help: "Put files that cannot be read, and rows that break a rule of the table, into TABLE_quarantine.") var quarantine = false
  @Option(name: .customLong("from"), help: "Postgres: which table.") var from: String?
  @Option(help: "Postgres: which rows, as a query.") var query: String?
  @Flag(help: "Postgres: replace the rows of a table that is there.") var overwrite = false
  @OptionGroup var options: ClientOptions

  func run() async throws {
    let parts = table.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 3, parts.allSatisfy({ !$0.isEmpty }) else {
      throw PlatformError(.invalidArgument, "'\(table)' is not a table's name", hint: "Write catalog.schema.table.", number: "PLT-3001")
    }
    let client = try options.client()
    if source.hasPrefix("postgres://") || source.hasPrefix("postgresql://") { return try await importPostgres(client) }
    guard from == nil, query == nil, !overwrite else {
      throw PlatformError(.invalidArgument, "--from, --query and --overwrite are for postgres://", number: "PLT-3130")
    }
    guard !source.contains("://") else {
      throw PlatformError(
        .invalidArgument, "'\(source.prefix(100))' cannot be imported", hint: "Give a file, a folder, a path below /Volumes, or postgres://..",
        number: "PLT-3130")
    }
    if source.hasPrefix("/Volumes/") { return try await load(client, source) }
    let folder = "/Volumes/\(parts[0])/\(parts[1])/imports/\(UUID().uuidString.lowercased())"
    try await makeVolume(client, parts)
    let copier = FileCopier(client: client, overwrite: false, recursive: true)
    let outcome: Result<Void, any Error>
    do {
      try await copier.upload(source, to: folder, intoFolder: true)
      try await load(client, folder)
      outcome = .success(())
    } catch { outcome = .failure(error) }
    do { try await remove(client, folder) } catch { Report.note("! copies of the files are left in \(folder)") }
    try outcome.get()
  }

  // MARK: files

  private func makeVolume(_ client: PlatformClient, _ parts: [String]) async throws {
    do {
      let _: JSONValue = try await client.post(
        CatalogCalls.base + "/volumes",
        ["catalog_name": .string(parts[0]), "schema_name": .string(parts[1]), "name": "imports", "volume_type": "MANAGED"] as JSONValue)
    } catch let error as PlatformError where error.code == .alreadyExists {
      // It is there.
    }
  }

  private func remove(_ client: PlatformClient, _ folder: String) async throws {
    for entry in try await client.files(in: folder) {
      if entry.isDirectory { try await remove(client, entry.path) } else { try await client.remove(entry.path, isDirectory: false) }
    }
    try await client.remove(folder, isDirectory: true)
  }

  private func load(_ client: PlatformClient, _ path: String) async throws {
    var from: [String: JSONValue] = ["path": .string(path)]
    if let format { from["format"] = .string(format) }
    let values = try Workflows.parameters(settings)
    if !values.isEmpty { from["options"] = .object(values.mapValues { .string($0) }) }
    var body: [String: JSONValue] = [
      "source": .object(from), "target": .string(table), "trigger": "available_now", "schema_evolution": "addNewColumns",
    ]
    if quarantine { body["bad_rows"] = "quarantine" }
    try await finish(client, "ingest_task", body)
  }

  // MARK: Postgres

  private func importPostgres(_ client: PlatformClient) async throws {
    func wrong(_ message: String, _ hint: String) -> PlatformError { PlatformError(.invalidArgument, message, hint: hint, number: "PLT-3130") }
    guard (from == nil) != (query == nil) else { throw wrong("which rows are wanted is not said", "Give --from SCHEMA.TABLE or --query.") }
    guard format == nil, settings.isEmpty, !quarantine else { throw wrong("--format, --set and --quarantine are for files", "Leave them out.") }
    guard let url = URLComponents(string: source), let host = url.host, !host.isEmpty, url.path.count > 1, url.path.dropFirst().allSatisfy({ $0 != "/" }) else {
      throw wrong("the URL of the Postgres cannot be read", "Write postgres://USER@HOST:PORT/DATABASE.")
    }
    var settings = ["host": host, "database": String(url.path.dropFirst())]
    if let port = url.port { settings["port"] = String(port) }
    if let user = url.user { settings["user"] = user }
    if let password = url.password ?? ProcessInfo.processInfo.environment["PGPASSWORD"], !password.isEmpty { settings["password"] = password }
    for item in url.queryItems ?? [] {
      guard item.name == "sslmode", let value = item.value else { throw wrong("the URL's parameter '\(item.name)' is not known", "Known is sslmode.") }
      settings["sslmode"] = value
    }
    let exists: JSONValue = try await client.get("\(CatalogCalls.base)/tables/\(segment(table))/exists")
    guard exists["table_exists"]?.boolValue != true || overwrite else {
      throw PlatformError(.alreadyExists, "table '\(table)' is there already", hint: "--overwrite replaces its rows.", number: "PLT-3003")
    }
    // The password is sealed by the coordinator, and gone when this is done.
    let name = "import_" + UUID().uuidString.lowercased().filter { $0 != "-" }.prefix(12)
    let _: ConnectionInfo = try await client.post(
      CatalogCalls.base + "/connections", CreateConnectionRequest(name: name, connectionType: "POSTGRESQL", options: settings, comment: "platform import"))
    var body: [String: JSONValue] = ["connection": .string(name), "target": .string(table), "mode": "snapshot"]
    if let from { body["table"] = .string(from) }
    if let query { body["query"] = .string(query) }
    let outcome: Result<Void, any Error>
    do {
      try await finish(client, "postgres_task", body)
      outcome = .success(())
    } catch { outcome = .failure(error) }
    do { _ = try await client.send("DELETE", "\(CatalogCalls.base)/connections/\(name)", body: nil) } catch { Report.note("! the connection \(name) is left") }
    try outcome.get()
  }

  // MARK: the run

  private func finish(_ client: PlatformClient, _ task: String, _ body: [String: JSONValue]) async throws {
    let job: JSONValue = [
      "name": .string("import \(table)"), "tasks": [.object(["task_key": "import", task: .object(body)])],
    ]
    // JSON is YAML.
    let file: JSONValue = ["resources": ["jobs": ["import": job]]]
    let submitted: SubmitFileResponse = try await client.post(
      "/api/2.2/jobs/runs/submit-file", SubmitFileRequest(file: "import.yml", text: file.sortedText, job: nil, parameters: [:], idempotencyKey: nil))
    if options.output == .text || options.output == .wide {
      try await RunWatcher(client: client, output: options.output).watch(submitted.runID)
    }
    var run: RunInfo
    repeat {
      run = try await client.get("/api/2.0/runs/get?run_id=\(segment(submitted.runID))")
      if !run.isFinished { try await Task.sleep(for: .milliseconds(300)) }
    } while !run.isFinished
    guard run.state == "SUCCEEDED", let task = run.tasks.first else {
      throw run.tasks.first?.error ?? PlatformError(.internalError, "the import ended as \(run.state)")
    }
    if options.output.isStructured { return try Report.structured(task.values, options.output) }
    let quarantined = task.values["quarantined"]?.intValue ?? 0
    let unreadable = task.values["unreadable_files"]?.intValue ?? 0
    Report.note(
      "\(Report.check) \(table): \(task.values["rows_out"]?.intValue ?? 0) rows\(quarantined > 0 ? ", \(quarantined) bad records in \(table)_quarantine" : "")"
        + (unreadable > 0 ? ", \(unreadable) file\(unreadable == 1 ? "" : "s") of which nothing could be read" : ""))
  }
}
