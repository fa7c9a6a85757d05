// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Files that tasks name are read in rounds: a notebook names further ones only when its text is there.
public enum NotebookRounds {
  public static let limit = NotebookSource.depthLimit
}

/// A notebook as a person wrote it, in either form: `.ipynb`, or Databricks' source format (`# Databricks notebook source`, cells between
/// `# COMMAND ----------`, other languages behind `# MAGIC`). It becomes a notebook of Jupyter's, and what its cells ask pip for.
struct NotebookSource {
  struct Problem: Error {
    var message: String
    var hint = ""
  }

  private enum Cell {
    case code(String)
    case text(String)
  }

  static let header = "# Databricks notebook source"
  /// What the environment of every notebook gets.
  static let kernelPackages = ["ipykernel", "nbclient", "nbformat"]
  private static let separator = "# COMMAND ----------"
  private static let magic = "# MAGIC"

  /// In version 4.5 of Jupyter's format.
  private(set) var notebook: JSONValue
  /// Lines for pip, from cells that begin with `%pip install`.
  private(set) var requirements: [String] = []

  /// Notebooks that run each other with `%run`: at most so many in each other, so that none runs itself for ever.
  static let depthLimit = 5

  /// - Parameters:
  ///   - place: the notebook's path, which those of `%run` are relative to.
  ///   - read: the text of a notebook that `%run` names; nil when it cannot be had now.
  init(_ text: String, at place: String = "", reading read: (String) throws(Problem) -> String? = Self.refuse) throws(Problem) {
    notebook = .null
    var cells: [Cell] = []
    try collect(text, at: place, depth: 1, read, into: &cells)
    var made: [JSONValue] = []
    for (index, cell) in cells.enumerated() {
      var members: [String: JSONValue] = ["id": .string("cell-\(index + 1)"), "metadata": [:]]
      switch cell {
      case .text(let source):
        members["cell_type"] = "markdown"
        members["source"] = .string(source)
      case .code(let source):
        members["cell_type"] = "code"
        members["source"] = .string(source)
        members["outputs"] = []
        members["execution_count"] = .null
      }
      made.append(.object(members))
    }
    notebook = [
      "cells": .array(made), "nbformat": 4, "nbformat_minor": 5,
      "metadata": ["kernelspec": ["name": "python3", "display_name": "Python 3", "language": "python"], "language_info": ["name": "python"]],
    ]
  }

  static func refuse(_ path: String) throws(Problem) -> String? {
    throw Problem(message: "runs '\(path.prefix(200))', which is not there")
  }

  /// The cells of a notebook as Jupyter's Python runs them, with those of the notebooks that it runs in their places.
  private mutating func collect(
    _ text: String, at place: String, depth: Int, _ read: (String) throws(Problem) -> String?, into cells: inout [Cell]
  ) throws(Problem) {
    let own = text.drop { $0.isWhitespace || $0 == "\u{FEFF}" }.first == "{" ? try Self.cells(ofJupyter: text) : try Self.cells(ofSource: text)
    for (index, cell) in own.enumerated() {
      guard case .code(let source) = cell else {
        cells.append(cell)
        continue
      }
      guard let path = try Self.target(of: source, from: place, cell: index + 1) else {
        cells.append(.code(try code(source, cell: index + 1)))
        continue
      }
      guard depth < Self.depthLimit else {
        throw Problem(message: "cell \(index + 1) runs notebooks \(Self.depthLimit) levels deep, the limit", hint: "Look whether one runs itself.")
      }
      guard let other = try read(path) else { continue }
      do {
        try collect(other, at: path, depth: depth + 1, read, into: &cells)
      } catch {
        throw Problem(message: "cell \(index + 1) runs '\(path.prefix(200))', which \(error.message)", hint: error.hint)
      }
    }
  }

  /// The path of the notebook that a cell runs, from where paths begin; nil for other cells.
  private static func target(of source: String, from place: String, cell: Int) throws(Problem) -> String? {
    let trimmed = source.trimmingCharacters(in: .whitespacesAndNewlines)
    guard trimmed.hasPrefix("%run"), trimmed.dropFirst(4).first?.isWhitespace ?? true else { return nil }
    guard let words = CommandWords.split(String(trimmed.dropFirst(4))), let path = words.first, !trimmed.contains(where: \.isNewline) else {
      throw Problem(message: "cell \(cell): %run names one notebook, and is alone in its cell", hint: "For example %run ./helpers.")
    }
    guard words.count == 1 else {
      throw Problem(message: "cell \(cell): %run takes no arguments here", hint: "Set a variable in the cell before; the notebook sees it.")
    }
    if path.hasPrefix("/") { return path }
    var parts = place.split(separator: "/", omittingEmptySubsequences: false).dropLast().map(String.init)
    for part in path.split(separator: "/") where part != "." {
      if part == ".." {
        guard let last = parts.popLast(), !last.isEmpty else { throw Problem(message: "cell \(cell): '\(path.prefix(200))' leads out of its folder") }
      } else {
        parts.append(String(part))
      }
    }
    return parts.joined(separator: "/")
  }

  // MARK: forms

  private static func cells(ofJupyter text: String) throws(Problem) -> [Cell] {
    // Not JSON: said below.
    guard let value = try? JSONValue(parsing: text), let cells = value["cells"]?.arrayValue else {
      throw Problem(message: "is no notebook of Jupyter's", hint: "It needs nbformat 4.")
    }
    if let language = value["metadata"]?["language_info"]?["name"]?.stringValue ?? value["metadata"]?["kernelspec"]?["language"]?.stringValue,
      language.lowercased() != "python"
    {
      throw Problem(message: "is a notebook in \(language.prefix(40))", hint: "Notebooks are in Python.")
    }
    var found: [Cell] = []
    for cell in cells {
      let source = cell["source"]?.stringValue ?? (cell["source"]?.arrayValue ?? []).compactMap(\.stringValue).joined()
      found.append(cell["cell_type"]?.stringValue == "code" ? .code(source) : .text(source))
    }
    return found
  }

  private static func cells(ofSource text: String) throws(Problem) -> [Cell] {
    var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map(String.init)
    guard let first = lines.first, first.trimmingPrefix("\u{FEFF}").hasPrefix(header) else {
      throw Problem(message: "does not begin with '\(header)'", hint: "Other Python files are run by spark_python_task.")
    }
    lines.removeFirst()
    var found: [Cell] = []
    for part in lines.split(omittingEmptySubsequences: false, whereSeparator: { $0.trimmingCharacters(in: .whitespaces) == separator }) {
      let body = part.drop { $0.allSatisfy(\.isWhitespace) || $0.hasPrefix("# DBTITLE") }
      guard !body.isEmpty else { continue }
      guard body.contains(where: { $0.hasPrefix(magic) }) else {
        found.append(.code(body.joined(separator: "\n").trimmingCharacters(in: .newlines)))
        continue
      }
      let source = body.map { $0.hasPrefix(magic) ? String($0.dropFirst(magic.count).trimmingPrefix(" ")) : $0 }
        .joined(separator: "\n").trimmingCharacters(in: .newlines)
      if source.hasPrefix("%md") {
        found.append(.text(source.drop { !$0.isWhitespace }.trimmingCharacters(in: .whitespacesAndNewlines)))
      } else {
        found.append(.code(source))
      }
    }
    return found
  }

  // MARK: cells

  /// What Jupyter's Python runs for a cell of Databricks'.
  private mutating func code(_ source: String, cell: Int) throws(Problem) -> String {
    let trimmed = source.trimmingCharacters(in: .whitespacesAndNewlines)
    guard trimmed.hasPrefix("%"), !trimmed.hasPrefix("%%") else { return source }
    let word = String(trimmed.dropFirst().prefix { !$0.isWhitespace })
    let rest = String(trimmed.dropFirst(word.count + 1))
    switch word {
    case "pip":
      var left: [String] = []
      for line in trimmed.split(whereSeparator: \.isNewline).map({ $0.trimmingCharacters(in: .whitespaces) }) {
        let words = line.split(separator: " ").map(String.init)
        guard words.count >= 2, words[0] == "%pip" else {
          left.append(line)
          continue
        }
        guard words[1] == "install" else { throw Problem(message: "cell \(cell): '%pip \(words[1].prefix(40))' is not possible", hint: "Use %pip install.") }
        requirements += Self.requirements(Array(words.dropFirst(2)))
      }
      return (["# installed before the notebook began"] + trimmed.split(whereSeparator: \.isNewline).map { "# \($0)" } + left.filter { !$0.isEmpty })
        .joined(separator: "\n")
    case "python": return String(rest.trimmingPrefix { $0.isWhitespace })
    case "sh": return "%%sh\n" + rest.trimmingPrefix { $0.isWhitespace }
    case "md", "md-sandbox": return ""
    case "sql", "scala", "r", "fs":
      throw Problem(
        message: "cell \(cell) begins with %\(word), which notebooks here do not know",
        hint: word == "sql" ? "Put statements into a sql_task, and hand their values over." : "Cells are Python, %run, %sh, %md and %pip install.")
    default: return source
    }
  }

  /// Words of a command as lines: an option stays with its value.
  private static func requirements(_ words: [String]) -> [String] {
    var lines: [String] = []
    var isOpen = false
    for word in words.map({ $0.trimmingCharacters(in: CharacterSet(charactersIn: "\"'")) }) {
      if ["-q", "--quiet", "-U", "--upgrade"].contains(word) { continue }
      if isOpen, let last = lines.popLast() {
        lines.append("\(last) \(word)")
        isOpen = false
      } else {
        lines.append(word)
        isOpen = ["-r", "--requirement", "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "--only-binary", "--no-binary"]
          .contains(word)
      }
    }
    return lines
  }
}
