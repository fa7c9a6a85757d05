// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// The XML that S3 answers with, as a tree. Bounded in depth, elements and text; document types, and with them entities of
/// one's own, are refused; attributes and comments are skipped.
struct S3XML: Sendable {
  final class Element: Sendable {
    let name: String
    let text: String
    let children: [Element]

    init(name: String, text: String, children: [Element]) {
      self.name = name
      self.text = text
      self.children = children
    }

    /// The first child of that name.
    subscript(_ name: String) -> Element? { children.first { $0.name == name } }
    func all(_ name: String) -> [Element] { children.filter { $0.name == name } }
  }

  static let depthLimit = 16
  static let elementLimit = 100_000

  private var bytes: [UInt8]
  private var position = 0
  private var elements = 0

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The document's root.
  /// - Throws: `invalidFile` with the byte.
  static func parse(_ bytes: some Sequence<UInt8>) throws -> Element {
    var parser = S3XML(Array(bytes))
    if parser.bytes.starts(with: [0xEF, 0xBB, 0xBF]) { parser.position = 3 }
    try parser.skipAside()
    let root = try parser.element(depth: 0)
    try parser.skipAside()
    guard parser.position == parser.bytes.count else { throw parser.fault("text behind the document") }
    return root
  }

  private func fault(_ what: String) -> PlatformError { PlatformError(.invalidFile, "damaged XML: \(what) at byte \(position)") }

  private func isNext(_ text: StaticString) -> Bool {
    guard position + text.utf8CodeUnitCount <= bytes.count else { return false }
    return text.withUTF8Buffer { $0.elementsEqual(bytes[position..<position + $0.count]) }
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 10 || byte == 13 }

  private mutating func skip(past end: StaticString) throws {
    while position < bytes.count {
      if isNext(end) {
        position += end.utf8CodeUnitCount
        return
      }
      position += 1
    }
    throw fault("no end")
  }

  /// Blanks, comments and processing instructions between elements.
  private mutating func skipAside() throws {
    while position < bytes.count {
      if Self.isSpace(bytes[position]) {
        position += 1
      } else if isNext("<?") {
        try skip(past: "?>")
      } else if isNext("<!--") {
        try skip(past: "-->")
      } else {
        return
      }
    }
  }

  private mutating func name() throws -> String {
    let start = position
    while position < bytes.count, !Self.isSpace(bytes[position]), !"<>/=\"'&!?".utf8.contains(bytes[position]) { position += 1 }
    guard position > start, position - start <= 200 else { throw fault("no name") }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    return text.split(separator: ":").last.map(String.init) ?? text
  }

  private mutating func element(depth: Int) throws -> Element {
    guard depth < Self.depthLimit else { throw fault("too deep") }
    elements += 1
    guard elements <= Self.elementLimit else { throw fault("too many elements") }
    guard isNext("<"), !isNext("<!") else { throw fault("no element") }
    position += 1
    let name = try name()
    // Attributes.
    while true {
      guard position < bytes.count else { throw fault("no end") }
      let byte = bytes[position]
      if byte == UInt8(ascii: ">") {
        position += 1
        break
      }
      if isNext("/>") {
        position += 2
        return Element(name: name, text: "", children: [])
      }
      if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
        position += 1
        while position < bytes.count, bytes[position] != byte { position += 1 }
      }
      position += 1
    }
    var text: [UInt8] = []
    var children: [Element] = []
    while true {
      guard position < bytes.count else { throw fault("no end") }
      if isNext("</") {
        position += 2
        guard try self.name() == name else { throw fault("another element ends") }
        while position < bytes.count, Self.isSpace(bytes[position]) { position += 1 }
        guard isNext(">") else { throw fault("no end") }
        position += 1
        return Element(name: name, text: String(decoding: text, as: UTF8.self), children: children)
      } else if isNext("<!--") {
        try skip(past: "-->")
      } else if isNext("<![CDATA[") {
        position += 9
        let start = position
        try skip(past: "]]>")
        text += bytes[start..<position - 3]
      } else if isNext("<") {
        children.append(try element(depth: depth + 1))
      } else if isNext("&") {
        try reference(into: &text)
      } else {
        let end = bytes[position...].firstIndex { $0 == UInt8(ascii: "<") || $0 == UInt8(ascii: "&") } ?? bytes.count
        text += bytes[position..<end]
        position = end
      }
    }
  }

  /// The five named references and numbers.
  private mutating func reference(into text: inout [UInt8]) throws {
    let end = bytes[position...].prefix(12).firstIndex(of: UInt8(ascii: ";"))
    guard let end else { throw fault("a reference without end") }
    let body = String(decoding: bytes[position + 1..<end], as: UTF8.self)
    switch body {
    case "amp": text.append(UInt8(ascii: "&"))
    case "lt": text.append(UInt8(ascii: "<"))
    case "gt": text.append(UInt8(ascii: ">"))
    case "quot": text.append(UInt8(ascii: "\""))
    case "apos": text.append(UInt8(ascii: "'"))
    default:
      let isHexadecimal = body.hasPrefix("#x")
      guard body.hasPrefix("#"), let number = UInt32(body.dropFirst(isHexadecimal ? 2 : 1), radix: isHexadecimal ? 16 : 10),
        let scalar = UnicodeScalar(number)
      else { throw fault("an unknown reference") }
      text += Array(String(Character(scalar)).utf8)
    }
    position = end + 1
  }

  /// `text` for the inside of an element.
  static func escape(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;").replacingOccurrences(of: ">", with: "&gt;")
      .replacingOccurrences(of: "\"", with: "&quot;")
  }
}
