// SPDX-License-Identifier: Apache-2.0

/// The readable text of an HTML page: title first, blocks on lines of their own, no scripts, styles or comments.
///
/// One pass over the bytes, for pages that browsers would accept as well as for broken ones; it builds no tree.
enum HTMLText {
  static func extract(_ html: [UInt8]) -> String {
    html.withUnsafeBufferPointer { buffer in
      var extractor = Extractor(bytes: buffer)
      extractor.run()
      return extractor.result()
    }
  }

  private static let blocks: Set<String> = [
    "p", "div", "br", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "header",
    "footer", "nav", "aside", "main", "pre", "blockquote", "dl", "dt", "dd", "hr", "form", "fieldset", "figure", "address",
    "body",
    "html", "head", "thead", "tbody", "caption", "option", "title",
  ]
  private static let paragraphs: Set<String> = [
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "blockquote", "table", "ul", "ol", "dl",
  ]
  private static let skipped: Set<String> = [
    "script", "style", "noscript", "template", "svg", "iframe", "object", "textarea", "select",
  ]

  private struct Extractor {
    let bytes: UnsafeBufferPointer<UInt8>
    var index = 0
    var title: [UInt8] = []
    var body: [UInt8] = []
    var inTitle = false
    var preformatted = 0
    /// No '>' is left in the page, so the rest has no tags.
    var tagsEnded = false

    init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    mutating func run() {
      while index < bytes.count {
        let byte = bytes[index]
        if byte == UInt8(ascii: "<"), !tagsEnded, markup() { continue }
        if byte == UInt8(ascii: "&"), let (scalar, next) = HTMLText.entity(bytes, index) {
          for unit in UTF8.encode(scalar)! { put(unit) }
          index = next
          continue
        }
        put(byte)
        index += 1
      }
    }

    mutating func put(_ byte: UInt8) {
      if inTitle {
        if title.count < 1000 { title.append(byte <= 0x20 ? 0x20 : byte) }
      } else if preformatted > 0 {
        body.append(byte)
      } else if byte <= 0x20 {
        if let last = body.last, last != 0x20, last != 0x0A { body.append(0x20) }
      } else {
        body.append(byte)
      }
    }

    mutating func breakLine(_ count: Int) {
      while body.last == 0x20 { body.removeLast() }
      guard !body.isEmpty else { return }
      var have = 0
      while have < min(2, body.count), body[body.count - 1 - have] == 0x0A { have += 1 }
      for _ in have..<max(have, count) { body.append(0x0A) }
    }

    /// Consumes what starts with '<' here; false when it is plain text.
    mutating func markup() -> Bool {
      guard index + 1 < bytes.count else { return false }
      let next = bytes[index + 1]
      if next == UInt8(ascii: "!") {
        if index + 3 < bytes.count, bytes[index + 2] == UInt8(ascii: "-"), bytes[index + 3] == UInt8(ascii: "-") {
          var place = index + 4
          while place + 2 < bytes.count, !(bytes[place] == 0x2D && bytes[place + 1] == 0x2D && bytes[place + 2] == 0x3E) {
            place += 1
          }
          index = min(place + 3, bytes.count)
        } else {
          index = tagEnd(index + 2)
        }
        return true
      }
      if next == UInt8(ascii: "?") {
        index = tagEnd(index + 2)
        return true
      }
      let closing = next == UInt8(ascii: "/")
      var place = index + (closing ? 2 : 1)
      var name = ""
      while place < bytes.count, name.utf8.count < 16, HTMLText.isNameByte(bytes[place]) {
        name.unicodeScalars.append(Unicode.Scalar(bytes[place] | 0x20 >= 0x61 ? bytes[place] | 0x20 : bytes[place]))
        place += 1
      }
      guard !name.isEmpty, let first = name.utf8.first, first >= 0x61 else { return false }
      let end = tagEnd(place)
      guard !tagsEnded else { return false }
      index = end
      if name == "title" { inTitle = !closing && body.isEmpty && title.isEmpty }
      if name == "pre" { preformatted = max(0, preformatted + (closing ? -1 : 1)) }
      if skipped.contains(name), !closing {
        if bytes[end - 2] != UInt8(ascii: "/") { skipElement(name) }
        return true
      }
      if blocks.contains(name) { breakLine(paragraphs.contains(name) ? 2 : 1) }
      if name == "td" || name == "th" { put(0x20) }
      if name == "li", !closing { body.append(contentsOf: [0x2D, 0x20]) }
      return true
    }

    /// The index after the '>' that ends a tag; quoted values may contain '>' within 4 KiB.
    mutating func tagEnd(_ from: Int) -> Int {
      var place = from
      var quote: UInt8 = 0
      let near = min(bytes.count, from + 4096)
      while place < near {
        let byte = bytes[place]
        if quote != 0 {
          if byte == quote { quote = 0 }
        } else if byte == 0x22 || byte == 0x27 {
          quote = byte
        } else if byte == 0x3E {
          return place + 1
        }
        place += 1
      }
      place = from
      while place < bytes.count, bytes[place] != 0x3E { place += 1 }
      if place == bytes.count {
        tagsEnded = true
        return bytes.count
      }
      return place + 1
    }

    /// Moves behind the end tag of an element whose content is no text; to the end of the page when it has none.
    mutating func skipElement(_ name: String) {
      let wanted = Array(name.utf8)
      while index < bytes.count {
        if bytes[index] == UInt8(ascii: "<"), index + 1 + wanted.count < bytes.count, bytes[index + 1] == UInt8(ascii: "/"),
          wanted.indices.allSatisfy({ bytes[index + 2 + $0 < bytes.count ? index + 2 + $0 : index] | 0x20 == wanted[$0] })
        {
          index = tagEnd(index + 2)
          return
        }
        index += 1
      }
    }

    func result() -> String {
      let head = String(decoding: title, as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(separator: " ")
      let text = String(decoding: body, as: UTF8.self)
      return head.isEmpty ? text : head + "\n\n" + text
    }
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte | 0x20 {
    case 0x61...0x7A: true
    default: byte >= 0x30 && byte <= 0x39
    }
  }

  /// The character that the entity at `index` stands for, and the index after it.
  private static func entity(_ bytes: UnsafeBufferPointer<UInt8>, _ index: Int) -> (Unicode.Scalar, Int)? {
    var end = index + 1
    while end < bytes.count, end - index < 12, bytes[end] != 0x3B, isNameByte(bytes[end]) || bytes[end] == 0x23 { end += 1 }
    guard end < bytes.count, bytes[end] == 0x3B, end > index + 1 else { return nil }
    let name = String(decoding: bytes[(index + 1)..<end], as: UTF8.self)
    if name.hasPrefix("#") {
      let digits = name.dropFirst()
      let value = digits.first == "x" || digits.first == "X" ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
      guard let value, value > 0 else { return nil }
      return (Unicode.Scalar(value) ?? "\u{FFFD}", end + 1)
    }
    return entities[name].map { ($0, end + 1) }
  }

  private static let entities: [String: Unicode.Scalar] = [
    "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "nbsp": " ", "copy": "©", "reg": "®", "trade": "™",
    "hellip": "…",
    "mdash": "—", "ndash": "–", "lsquo": "‘", "rsquo": "’", "ldquo": "“", "rdquo": "”", "laquo": "«", "raquo": "»",
    "bull": "•",
    "middot": "·", "times": "×", "divide": "÷", "plusmn": "±", "deg": "°", "micro": "µ", "para": "¶", "sect": "§",
    "euro": "€",
    "pound": "£", "yen": "¥", "cent": "¢", "szlig": "ß", "auml": "ä", "ouml": "ö", "uuml": "ü", "Auml": "Ä", "Ouml": "Ö",
    "Uuml": "Ü",
    "eacute": "é", "egrave": "è", "agrave": "à", "ccedil": "ç", "ntilde": "ñ", "aring": "å", "oslash": "ø", "aelig": "æ",
    "rarr": "→",
    "larr": "←", "le": "≤", "ge": "≥", "ne": "≠", "infin": "∞", "shy": "\u{AD}", "zwnj": "\u{200C}", "zwj": "\u{200D}",
  ]
}
