// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// An executed notebook as a page. Everything in it is text or a picture: nothing that a notebook has put out runs in who reads it.
public enum NotebookPage {
  public static func html(_ notebook: JSONValue, title: String, state: String) -> String {
    var body = ""
    for cell in notebook["cells"]?.arrayValue ?? [] {
      let isCode = cell["cell_type"]?.stringValue == "code"
      body += "<pre class=\"\(isCode ? "in" : "md")\">\(escape(text(cell["source"])))</pre>\n"
      for output in cell["outputs"]?.arrayValue ?? [] { body += html(output) }
    }
    return """
      <!doctype html><html lang="en"><head><meta charset="utf-8"><title>\(escape(title))</title><style>
      body { font: 15px sans-serif; max-width: 60em; margin: 2em auto; } pre { white-space: pre-wrap; margin: .4em 0; padding: .4em .8em; }
      .in { background: #f3f4f6; } .md { font-family: sans-serif; padding-left: 0; } .error { background: #fdecea; } img { max-width: 100%; }
      </style></head>
      <body><h1>\(escape(title))</h1><p>\(escape(state))</p>
      \(body)</body></html>
      """
  }

  private static func html(_ output: JSONValue) -> String {
    switch output["output_type"]?.stringValue {
    case "stream": return "<pre>\(escape(text(output["text"])))</pre>\n"
    case "error":
      let trace = (output["traceback"]?.arrayValue ?? []).compactMap(\.stringValue).joined(separator: "\n")
      return "<pre class=\"error\">\(escape(withoutColors(trace)))</pre>\n"
    default:
      for kind in ["image/png", "image/jpeg"] {
        let data = text(output["data"]?[kind]).filter { !$0.isWhitespace }
        guard !data.isEmpty, data.utf8.allSatisfy({ (43...122).contains($0) && $0 != 60 && $0 != 62 }) else { continue }
        return "<p><img alt=\"\" src=\"data:\(kind);base64,\(data)\"></p>\n"
      }
      return "<pre>\(escape(text(output["data"]?["text/plain"])))</pre>\n"
    }
  }

  /// A text, or the lines of one.
  private static func text(_ value: JSONValue?) -> String {
    value?.stringValue ?? (value?.arrayValue ?? []).compactMap(\.stringValue).joined()
  }

  static func withoutColors(_ text: String) -> String { text.replacing(/\u{1B}\[[0-9;]*m/, with: "") }

  private static func escape(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;").replacing("\"", with: "&quot;")
  }
}
