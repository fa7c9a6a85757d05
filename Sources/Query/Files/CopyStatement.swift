// SPDX-License-Identifier: Apache-2.0

import Core

/// `COPY INTO t FROM 'path' FILEFORMAT = CSV [FILES = ('a', ..) | PATTERN = 'glob'] [FORMAT_OPTIONS ('k' = 'v', ..)]
/// [COPY_OPTIONS ('mergeSchema' = 'true', 'force' = 'true')]`, as Databricks writes it, with an option of our own: 'quarantineBadRows'.
public struct CopyStatement: Sendable, Hashable {
  public var path: String
  public var format: FileRead.Format
  public var options: FileOptions
  /// Names below `path`; empty: all.
  public var files: [String] = []
  /// A glob below `path`.
  public var pattern: String?
  /// Whether columns that the table has not are added to it.
  public var mergesSchema = false
  /// Whether rows that break a rule of the table are put aside, and do not end the load.
  public var quarantinesRows = false
  /// Whether files that were loaded before are loaded again.
  public var force = false
}

extension StatementPlan {
  /// Takes the rest of a `COPY INTO`.
  /// - Throws: `invalidArgument` PLT-3119.
  mutating func parseCopyInto() throws {
    func wrong(_ what: String) -> PlatformError {
      PlatformError(
        .invalidArgument, "COPY INTO: \(what)",
        hint: "For example COPY INTO main.demo.t FROM '/Volumes/main/demo/in' FILEFORMAT = CSV FORMAT_OPTIONS ('header' = 'true').", number: "PLT-3119")
    }
    kind = .copyInto
    target = qualified(try name())
    guard take("FROM"), let path = token, path.kind == .string else { throw wrong("FROM and a path in quotes are expected") }
    position += 1
    guard take("FILEFORMAT"), takeSymbol("="), let word = token, word.isName || word.kind == .string else { throw wrong("FILEFORMAT = name is expected") }
    position += 1
    var statement = CopyStatement(
      path: path.text, format: try FileRead.Format(named: word.text), options: try FileOptions([:], format: .csv))
    var arguments: [String: String] = [:]
    while token != nil {
      if take("FILES"), takeSymbol("="), takeSymbol("(") {
        repeat {
          guard let file = token, file.kind == .string else { throw wrong("FILES is a list of names in quotes") }
          statement.files.append(file.text)
          position += 1
        } while takeSymbol(",")
        guard takeSymbol(")"), statement.files.count <= 1000 else { throw wrong("FILES is a list of at most 1000 names") }
      } else if take("PATTERN"), takeSymbol("="), let text = token, text.kind == .string {
        statement.pattern = text.text
        position += 1
      } else if take("FORMAT_OPTIONS") {
        arguments = try copyOptions { wrong($0) }
      } else if take("COPY_OPTIONS") {
        for (key, value) in try copyOptions({ wrong($0) }) {
          guard ["true", "false"].contains(value.lowercased()) else { throw wrong("'\(key)' is true or false") }
          switch key.lowercased() {
          case "mergeschema": statement.mergesSchema = value.lowercased() == "true"
          case "quarantinebadrows": statement.quarantinesRows = value.lowercased() == "true"
          case "force": statement.force = value.lowercased() == "true"
          default: throw wrong("COPY_OPTIONS are mergeSchema, force and quarantineBadRows, not '\(key)'")
          }
        }
      } else {
        throw wrong("'\(token?.text.prefix(40) ?? "")' is not expected here")
      }
    }
    statement.options = try FileOptions(arguments, format: statement.format, isTabs: word.text.lowercased() == "tsv")
    guard statement.files.isEmpty || statement.pattern == nil else { throw wrong("FILES and PATTERN exclude each other") }
    copy = statement
  }

  private mutating func copyOptions(_ wrong: (String) -> PlatformError) throws -> [String: String] {
    guard takeSymbol("(") else { throw wrong("options stand in parentheses") }
    var options: [String: String] = [:]
    repeat {
      guard let key = token, key.kind == .string || key.isName else { throw wrong("an option is 'name' = 'value'") }
      position += 1
      guard takeSymbol("="), let value = token, value.kind != .symbol else { throw wrong("an option is 'name' = 'value'") }
      position += 1
      options[key.text] = value.text
    } while takeSymbol(",")
    guard takeSymbol(")") else { throw wrong("options end with ')'") }
    return options
  }
}
