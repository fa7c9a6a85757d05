// SPDX-License-Identifier: Apache-2.0

/// Text operations on Unicode scalars, as Python's `str` has them. Swift's `Character` would join `\r\n` or a letter and its accent.
enum ScalarText {
  typealias Scalars = [Unicode.Scalar]

  static func string(_ scalars: some Sequence<Unicode.Scalar>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  /// What `str.isspace` and `str.strip` take for white space.
  static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
    default: false
    }
  }

  /// - Parameter part: not empty.
  static func find(_ part: Scalars, in text: Scalars, from start: Int) -> Int? {
    guard part.count <= text.count else { return nil }
    var index = start
    while index + part.count <= text.count {
      if text[index] == part[0], text[index..<index + part.count].elementsEqual(part) { return index }
      index += 1
    }
    return nil
  }

  static func strip(_ text: String, _ characters: String?, left: Bool = true, right: Bool = true) -> String {
    let set = characters.map { Set($0.unicodeScalars) }
    func drops(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? isSpace(scalar) }
    var rest = Array(text.unicodeScalars)[...]
    if left { rest = rest.drop(while: drops) }
    if right { while let last = rest.last, drops(last) { rest.removeLast() } }
    return string(rest)
  }

  static func replace(_ text: String, _ old: String, _ new: String, limit: Int = -1) -> String {
    let scalars = Array(text.unicodeScalars)
    let part = Array(old.unicodeScalars)
    let replacement = Array(new.unicodeScalars)
    var left = limit < 0 ? Int.max : limit
    var out: Scalars = []
    if part.isEmpty {
      for scalar in scalars {
        if left > 0 {
          out += replacement
          left -= 1
        }
        out.append(scalar)
      }
      return string(left > 0 ? out + replacement : out)
    }
    var index = 0
    while left > 0, let place = find(part, in: scalars, from: index) {
      out += scalars[index..<place] + replacement
      index = place + part.count
      left -= 1
    }
    return string(out + scalars[index...])
  }

  /// `str.split` with a separator.
  static func split(_ text: String, by separator: String, limit: Int) -> [String] {
    let scalars = Array(text.unicodeScalars)
    let part = Array(separator.unicodeScalars)
    var out: [String] = []
    var index = 0
    while limit < 0 || out.count < limit, let place = find(part, in: scalars, from: index) {
      out.append(string(scalars[index..<place]))
      index = place + part.count
    }
    return out + [string(scalars[index...])]
  }

  /// `str.rsplit` with a separator.
  static func splitFromRight(_ text: String, by separator: String, limit: Int) -> [String] {
    let reversed = split(string(text.unicodeScalars.reversed()), by: string(separator.unicodeScalars.reversed()), limit: limit)
    return reversed.reversed().map { string($0.unicodeScalars.reversed()) }
  }

  /// `str.split` without a separator.
  static func words(_ text: String, limit: Int) -> [String] {
    var out: [String] = []
    var rest = Array(text.unicodeScalars)[...].drop(while: isSpace)
    while !rest.isEmpty {
      if limit >= 0, out.count == limit {
        while let last = rest.last, isSpace(last) { rest.removeLast() }
        return out + [string(rest)]
      }
      let word = rest.prefix { !isSpace($0) }
      out.append(string(word))
      rest = rest.dropFirst(word.count).drop(while: isSpace)
    }
    return out
  }

  /// `str.splitlines`.
  static func lines(_ text: String, keepEnds: Bool = false) -> [String] {
    var out: [String] = []
    var line: Scalars = []
    let scalars = Array(text.unicodeScalars)
    var index = 0
    while index < scalars.count {
      let scalar = scalars[index]
      var end = [scalar]
      index += 1
      switch scalar.value {
      case 0x0A, 0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029: break
      case 0x0D:
        if index < scalars.count, scalars[index] == "\n" {
          end.append("\n")
          index += 1
        }
      default:
        line.append(scalar)
        continue
      }
      out.append(string(keepEnds ? line + end : line))
      line = []
    }
    return line.isEmpty ? out : out + [string(line)]
  }

  static func capitalised(_ text: some Sequence<Unicode.Scalar>) -> String {
    let scalars = Array(text)
    guard let first = scalars.first else { return "" }
    return first.properties.titlecaseMapping + string(scalars.dropFirst()).lowercased()
  }

  /// `str.title`.
  static func titled(_ text: String) -> String {
    var out = ""
    var insideWord = false
    for scalar in text.unicodeScalars {
      let isCased = scalar.properties.isCased
      out += isCased ? (insideWord ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping) : String(scalar)
      insideWord = isCased
    }
    return out
  }
}
