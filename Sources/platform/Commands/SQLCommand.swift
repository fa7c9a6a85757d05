// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation
import Glibc

struct SQLCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sql", abstract: "Run SQL over the catalog's tables: one statement, a file, or a conversation.",
    discussion: """
      EXAMPLES
        platform sql                                  a conversation; \\? shows its commands
        platform sql "select split, count(*) n from main.demo.chunks group by 1"
        platform sql "select * from main.demo.documents version as of 0 limit 3" -o json
        platform sql -f report.sql                    every statement of a file, until one fails
        echo "select 1" | platform sql --markdown
      """)
  @Argument(help: "The statement.") var statement: String?
  @Option(name: [.customShort("e"), .customShort("c"), .customLong("execute")], help: "The statement; may be repeated.") var execute: [String] = []
  @Option(name: .shortAndLong, help: "Read statements from this file.") var file: String?
  @Option(help: "Catalog of names with fewer than three parts.") var catalog: String?
  @Option(help: "Schema of names with one part.") var schema: String?
  @Option(help: "At most this many rows.") var limit: Int = 1000
  @Option(help: "End a statement after so many seconds.") var statementTimeout: Int?
  @Option(name: [.customShort("p"), .customLong("param")], help: "A value for :NAME, as NAME=VALUE or NAME:TYPE=VALUE; may be repeated.")
  var parameters: [String] = []
  @Flag(help: "Rows as a Markdown table.") var markdown = false
  @Flag(name: [.customShort("x"), .long], help: "One line a column.") var expanded = false
  @OptionGroup var options: ClientOptions

  func run() async throws {
    guard limit > 0 else { throw PlatformError(.invalidArgument, "--limit must be at least 1") }
    guard [statement != nil, !execute.isEmpty, file != nil].filter({ $0 }).count <= 1 else {
      throw PlatformError(.invalidArgument, "give one statement, or -e, or a file with -f", hint: "platform sql \"select 1\"")
    }
    let isTyped = statement == nil && execute.isEmpty && file == nil
    let isInteractive = isTyped && isatty(STDIN_FILENO) == 1
    let session = SQLSession(
      client: try options.client(), catalog: catalog ?? "main", schema: schema ?? "default", rowLimit: limit, isInteractive: isInteractive)
    session.timeLimit = statementTimeout
    session.parameters = try parameters.map(Self.parameter)
    session.text.isExpanded = expanded
    session.text.format = markdown ? .markdown : options.output == .wide ? .wide : options.output == .csv ? .csv : .table
    if isInteractive { return await converse(session) }
    let statements: [String]
    if let statement {
      statements = [statement]
    } else if let file {
      statements = file == "-" ? Self.read() : try SQLSession.statements(inFile: file)
    } else {
      statements = execute.isEmpty ? Self.read() : execute.flatMap { SQLSession.statements(in: $0) }
    }
    guard !statements.isEmpty else {
      throw PlatformError(.invalidArgument, "there is no statement", hint: "platform sql \"select 1\"")
    }
    for statement in statements {
      session.onlyMentioned = statements.count > 1
      if options.output.isStructured && !markdown {
        var request = StatementRequest(statement: statement, catalog: catalog, schema: schema, rowLimit: limit)
        request.statementTimeout = statementTimeout
        request.warehouseID = "platform"
        request.parameters = session.given(to: statement)
        try Report.structured(try await InterruptibleStatement.run(session.client, request), options.output)
      } else {
        try await session.run(statement)
      }
    }
  }

  private static func parameter(_ text: String) throws -> StatementParameter {
    guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
      throw PlatformError(.invalidArgument, "'\(text)' is not NAME=VALUE", hint: "platform sql \"select :day\" --param day:DATE=2026-01-31")
    }
    let head = text[..<equals].split(separator: ":", maxSplits: 1).map(String.init)
    return StatementParameter(
      name: head.first ?? "", value: .string(String(text[text.index(after: equals)...])), type: head.count == 2 ? head[1] : nil)
  }

  /// Statements of standard input.
  private static func read() -> [String] {
    SQLSession.statements(in: String(decoding: FileHandle.standardInput.readDataToEndOfFile(), as: UTF8.self))
  }

  // MARK: the conversation

  private func converse(_ session: SQLSession) async {
    let folder = ProcessInfo.processInfo.environment["XDG_STATE_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? NSHomeDirectory() + "/.local/state"
    // Without the folder there is no history file.
    try? FileManager.default.createDirectory(atPath: folder + "/platform", withIntermediateDirectories: true)
    let editor = LineEditor(historyPath: folder + "/platform/sql_history")
    editor.complete = { session.completions($0) }
    Report.note("\(session.client.host)   \\? shows the commands, \\q leaves")
    var splitter = SQLTextSplitter()
    while true {
      switch editor.read(session.prompt + (splitter.isEmpty ? "=> " : "-> ")) {
      case .end: return
      case .interrupted: splitter.reset()
      case .line(let line):
        do {
          var input = line + "\n"
          let bare = line.trimmingSpace()
          if ["exit", "quit", "exit;", "quit;"].contains(bare.lowercased()) && splitter.isEmpty { return }
          if bare.hasPrefix("\\") {
            editor.remember(bare)
            switch try await session.command(bare, buffer: splitter.rest) {
            case .quit: return
            case .goOn: continue
            case .run(let text):
              splitter.reset()
              input = text
            }
          }
          for statement in splitter.feed(input) {
            editor.remember(statement + ";")
            try await session.run(statement)
          }
        } catch {
          splitter.reset()
          Report.failure(PlatformError.from(error), json: false)
        }
      }
    }
  }
}
