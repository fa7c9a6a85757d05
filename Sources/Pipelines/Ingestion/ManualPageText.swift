// SPDX-License-Identifier: Apache-2.0

/// The text of a manual page in roff (`man` and the common part of `mdoc`).
///
/// A reader, not a formatter: sections, paragraphs, lists and the fonts' words come out in order; macros that a page
/// defines itself, conditions and drawing are left out.
enum ManualPageText {
  static func extract(_ source: String) -> String {
    var page = Page()
    var skippingUntil: String?
    for line in source.split(separator: "\n", omittingEmptySubsequences: false) {
      if let end = skippingUntil {
        if line.hasPrefix(end) || (end == "\\}" && line.contains("\\}")) { skippingUntil = nil }
        continue
      }
      guard let first = line.utf8.first, first == UInt8(ascii: ".") || first == UInt8(ascii: "'") else {
        page.text(unescape(line))
        continue
      }
      let request = line.dropFirst().drop { $0 == " " || $0 == "\t" }
      let name = String(request.prefix { $0 != " " && $0 != "\t" && $0 != "\\" })
      let rest = request.dropFirst(name.count)
      switch name {
      case "": continue
      case "de", "de1", "am", "ig": skippingUntil = ".."
      case "if", "ie", "el", "while": if line.contains("\\{"), !line.contains("\\}") { skippingUntil = "\\}" }
      default: page.request(name, arguments(rest))
      }
    }
    return page.finish()
  }

  private struct Page {
    var out = ""
    var line = ""
    var filled = true
    var name = ""

    mutating func text(_ piece: String) {
      if piece.allSatisfy(\.isWhitespace) { return paragraph() }
      if !filled {
        flush()
        out += piece + "\n"
      } else {
        if !line.isEmpty { line += " " }
        line += piece
      }
    }

    mutating func flush() {
      if !line.isEmpty { out += line + "\n" }
      line = ""
    }

    mutating func paragraph() {
      flush()
      if !out.isEmpty, !out.hasSuffix("\n\n") { out += "\n" }
    }

    mutating func request(_ macro: String, _ words: [String]) {
      switch macro {
      case "TH", "Dt":
        paragraph()
        if let title = words.first { out += title + (words.count > 1 ? "(\(words[1]))" : "") + "\n" }
      case "SH", "SS", "Sh", "Ss":
        paragraph()
        out += words.joined(separator: " ") + "\n"
      case "PP", "P", "LP", "Pp", "sp", "HP", "RS", "RE", "Bl", "El", "Bd", "Ed": paragraph()
      case "TP", "br", "TQ": flush()
      case "IP", "It":
        flush()
        if let mark = words.first { line = macro == "IP" ? mark : flags(words) }
      case "nf", "EX":
        flush()
        filled = false
      case "fi", "EE":
        flush()
        filled = true
      case "B", "I", "SM", "SB", "R": if !words.isEmpty { text(words.joined(separator: " ")) }
      case "BR", "RB", "IR", "RI", "BI", "IB": if !words.isEmpty { text(words.joined()) }
      case "UR", "URL", "MT": if let address = words.first { text(address) }
      case "Nm":
        if name.isEmpty, let first = words.first { name = first }
        text(([name] + (words.isEmpty ? [] : words.dropFirst(words.first == name ? 1 : 0))).joined(separator: " "))
      case "Nd": text("- " + words.joined(separator: " "))
      case "Xr": if let page = words.first { text(page + (words.count > 1 ? "(\(words[1]))" : "")) }
      case "Fl", "Op": text(flags([macro] + words))
      case "Ar", "Cm", "Ic", "Em", "Sy", "Pa", "Ev", "Dq", "Sq", "Ql", "Li", "Va", "Vt", "Fn", "Ft", "An", "Dv", "Er", "Pq",
        "Qq", "Lk", "Tn",
        "Ux", "Bx", "No":
        if !words.isEmpty { text(flags(words)) }
      default: break  // settings of the formatter, and macros that this reader does not know
      }
    }

    /// mdoc words with `Fl x` as `-x` and the other inline macro names removed.
    func flags(_ words: [String]) -> String {
      var out: [String] = []
      var isFlag = false
      for word in words {
        switch word {
        case "Fl": isFlag = true
        case "Ar", "Op", "Cm", "Ic", "Em", "Sy", "Pa", "Ev", "Dq", "Sq", "Ql", "Li", "Va", "Ns", "Xo", "Xc", "No", "Pq":
          continue
        default:
          out.append(isFlag ? "-" + word : word)
          isFlag = false
        }
      }
      return out.joined(separator: " ")
    }

    mutating func finish() -> String {
      flush()
      while out.hasSuffix("\n\n") { out.removeLast() }
      return out
    }
  }

  /// Arguments of a macro: separated by blanks, or in double quotes with "" for a quote.
  private static func arguments(_ rest: some StringProtocol) -> [String] {
    var words: [String] = []
    var word = ""
    var quoted = false
    var started = false
    var previousWasQuote = false
    var escaped = false
    for character in rest.unicodeScalars {
      if escaped {
        if character == "\"" { break }  // a comment to the end of the line
        word.unicodeScalars.append("\\")
        word.unicodeScalars.append(character)
        escaped = false
        continue
      }
      if previousWasQuote {
        previousWasQuote = false
        if character == "\"" {
          word.unicodeScalars.append("\"")
          continue
        }
        quoted = false
      }
      switch character {
      case "\\":
        escaped = true
        started = true
      case "\"" where quoted: previousWasQuote = true
      case "\"" where !started:
        quoted = true
        started = true
      case " ", "\t":
        if quoted {
          word.unicodeScalars.append(character)
        } else if started {
          words.append(unescape(word))
          word = ""
          started = false
        }
      default:
        word.unicodeScalars.append(character)
        started = true
      }
    }
    if started { words.append(unescape(word)) }
    return words
  }

  /// Replaces roff escapes by the characters that they print.
  static func unescape(_ text: some StringProtocol) -> String {
    guard text.utf8.contains(UInt8(ascii: "\\")) else { return String(text) }
    let scalars = Array(text.unicodeScalars)
    var out = String.UnicodeScalarView()
    var index = 0
    /// The name after an escape letter: `(xx`, `[name]` or one character.
    func name() -> String {
      guard index < scalars.count else { return "" }
      var result = ""
      if scalars[index] == "(" {
        for scalar in scalars[min(index + 1, scalars.count)..<min(index + 3, scalars.count)] {
          result.unicodeScalars.append(scalar)
        }
        index = min(index + 3, scalars.count)
      } else if scalars[index] == "[" {
        index += 1
        while index < scalars.count, scalars[index] != "]" {
          result.unicodeScalars.append(scalars[index])
          index += 1
        }
        index = min(index + 1, scalars.count)
      } else {
        result.unicodeScalars.append(scalars[index])
        index += 1
      }
      return result
    }
    while index < scalars.count {
      let scalar = scalars[index]
      index += 1
      guard scalar == "\\", index < scalars.count else {
        if scalar != "\\" { out.append(scalar) }
        continue
      }
      let letter = scalars[index]
      switch letter {
      case "(", "[":
        let found = name()
        if let character = characters[found] {
          out.append(character)
        } else if found.hasPrefix("u"), let value = UInt32(found.dropFirst(), radix: 16),
          let character = Unicode.Scalar(value)
        {
          out.append(character)
        }
      case "f", "F", "m", "M", "n", "k", "g", "Y", "V":
        index += 1
        _ = name()
      case "*":
        index += 1
        let found = name()
        if let character = characters[found] { out.append(character) }
      case "s":
        index += 1
        if index < scalars.count, scalars[index] == "+" || scalars[index] == "-" { index += 1 }
        if index < scalars.count, scalars[index] == "(" || scalars[index] == "[" {
          _ = name()
        } else if index < scalars.count, scalars[index].properties.numericType != nil {
          index += 1
        }
      case "h", "v", "w", "o", "l", "L", "D", "b", "x", "X", "z", "N", "A", "B", "R", "Z":
        index += 1
        guard letter != "z", index < scalars.count else { continue }
        let quote = scalars[index]
        index += 1
        while index < scalars.count, scalars[index] != quote { index += 1 }
        index = min(index + 1, scalars.count)
      case "\"", "#": return String(out)
      case "e", "\\":
        out.append("\\")
        index += 1
      case "-", "'", "`", ".":
        out.append(letter)
        index += 1
      case " ", "~", "0", "t":
        out.append(" ")
        index += 1
      default: index += 1  // hyphenation and spacing marks print nothing
      }
    }
    return String(out)
  }

  private static let characters: [String: Unicode.Scalar] = [
    "aq": "'", "dq": "\"", "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "em": "—", "en": "–", "bu": "•", "co": "©", "rg": "®",
    "tm": "™",
    "hy": "-", "ti": "~", "ha": "^", "rs": "\\", "la": "<", "ra": ">", "ga": "`", "sh": "#", "Do": "$", "at": "@", "lB": "[",
    "rB": "]",
    "lC": "{", "rC": "}", "ba": "|", "sl": "/", "mu": "×", "+-": "±", "<=": "≤", ">=": "≥", "->": "→", "<-": "←", "de": "°",
    "ss": "ß",
    "Fo": "«", "Fc": "»", "e'": "é", "'e": "é", "`e": "è", "`a": "à", ":a": "ä", ":o": "ö", ":u": "ü", ":A": "Ä", ":O": "Ö",
    ":U": "Ü",
    "Lq": "“", "Rq": "”", "Tm": "™", "R": "®", "mi": "-", "pl": "+", "eq": "=", "*a": "α", "*b": "β", "*m": "μ", "12": "½",
  ]
}
