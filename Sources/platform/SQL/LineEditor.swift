// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

/// Reads lines from a terminal with the usual keys, a history file and completion.
///
/// Blocks the calling thread. The terminal is in raw mode only while a line is being typed.
final class LineEditor {
  enum Input: Equatable {
    case line(String)
    /// Ctrl-C: what was typed is dropped.
    case interrupted
    /// Ctrl-D on an empty line.
    case end
  }

  /// Completions of the word before the cursor.
  var complete: (_ word: String) -> [String] = { _ in [] }
  private(set) var history: [String]
  private let historyPath: String?
  private static let historyLimit = 2000

  private var text: [Character] = []
  private var cursor = 0
  private var prompt = ""

  init(historyPath: String?) {
    self.historyPath = historyPath
    // No file yet: an empty history.
    let stored = historyPath.flatMap { FileManager.default.contents(atPath: $0) } ?? Data()
    history = String(decoding: stored, as: UTF8.self).split(separator: "\n").suffix(Self.historyLimit).map(String.init)
  }

  /// Adds a line to the history and its file.
  func remember(_ line: String) {
    let flat = line.split(whereSeparator: \.isNewline).joined(separator: " ").trimmingSpace()
    guard !flat.isEmpty, history.last != flat else { return }
    history.append(flat)
    if history.count > Self.historyLimit { history.removeFirst(history.count - Self.historyLimit) }
    guard let historyPath else { return }
    let descriptor = open(historyPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return }  // a history that cannot be kept is no reason to stop
    let data = Array((history.joined(separator: "\n") + "\n").utf8)
    _ = write(descriptor, data, data.count)
    close(descriptor)
  }

  func read(_ prompt: String) -> Input {
    var saved = termios()
    guard tcgetattr(STDIN_FILENO, &saved) == 0 else { return Self.plain(prompt) }
    var raw = saved
    raw.c_lflag &= ~tcflag_t(ECHO | ICANON | ISIG | IEXTEN)
    raw.c_iflag &= ~tcflag_t(IXON | ICRNL)
    guard tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0 else { return Self.plain(prompt) }
    defer { tcsetattr(STDIN_FILENO, TCSADRAIN, &saved) }
    self.prompt = prompt
    text = []
    cursor = 0
    var place = history.count
    var typed = ""
    draw()
    while true {
      guard let key = nextKey() else { return .end }
      switch key {
      case .enter:
        put("\r\n")
        return .line(String(text))
      case .control("c"):
        put("^C\r\n")
        return .interrupted
      case .control("d"):
        if text.isEmpty {
          put("\r\n")
          return .end
        }
        if cursor < text.count { text.remove(at: cursor) }
      case .control("a"), .home: cursor = 0
      case .control("e"), .end: cursor = text.count
      case .control("b"), .left: cursor = max(0, cursor - 1)
      case .control("f"), .right: cursor = min(text.count, cursor + 1)
      case .control("k"): text.removeSubrange(cursor...)
      case .control("u"):
        text.removeSubrange(..<cursor)
        cursor = 0
      case .control("w"):
        var start = cursor
        while start > 0 && text[start - 1].isWhitespace { start -= 1 }
        while start > 0 && !text[start - 1].isWhitespace { start -= 1 }
        text.removeSubrange(start..<cursor)
        cursor = start
      case .control("l"): put("\u{1B}[H\u{1B}[2J")
      case .control("p"), .up, .control("n"), .down:
        if place == history.count { typed = String(text) }
        let back = key == .up || key == .control("p")
        place = max(0, min(history.count, place + (back ? -1 : 1)))
        text = Array(place == history.count ? typed : history[place])
        cursor = text.count
      case .backspace:
        if cursor > 0 {
          cursor -= 1
          text.remove(at: cursor)
        }
      case .delete: if cursor < text.count { text.remove(at: cursor) }
      case .tab: completeWord()
      case .text(let characters):
        text.insert(contentsOf: characters, at: cursor)
        cursor += characters.count
      case .control, .unknown: break
      }
      draw()
    }
  }

  /// A terminal without line editing.
  private static func plain(_ prompt: String) -> Input {
    StandardStreams.error(prompt)
    return readLine().map { .line($0) } ?? .end
  }

  private func completeWord() {
    var start = cursor
    while start > 0, text[start - 1].isLetter || text[start - 1].isNumber || "_.\\".contains(text[start - 1]) { start -= 1 }
    let word = String(text[start..<cursor])
    let found = complete(word)
    guard let first = found.first else { return }
    var common = first
    for other in found.dropFirst() { while !other.hasPrefix(common) { common.removeLast() } }
    if common.count > word.count || found.count == 1 {
      let full = found.count == 1 && !common.hasSuffix(".") ? common + " " : common
      text.replaceSubrange(start..<cursor, with: Array(full))
      cursor = start + full.count
    } else {
      put("\r\n" + found.prefix(60).joined(separator: "  ") + (found.count > 60 ? "  .." : "") + "\r\n")
    }
  }

  private func put(_ text: String) {
    let bytes = Array(text.utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
  }

  /// One row of the terminal; a longer line scrolls sideways.
  private func draw() {
    var size = winsize()
    let columns = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20 ? Int(size.ws_col) : 80
    let room = max(10, columns - TextWidth.of(prompt) - 1)
    var first = 0
    while text[first..<cursor].reduce(0, { $0 + TextWidth.of($1) }) > room { first += 1 }
    var shown = ""
    var width = 0
    for character in text[first...] {
      let next = TextWidth.of(character)
      if width + next > room { break }
      width += next
      shown.append(character)
    }
    let back = width - text[first..<cursor].reduce(0) { $0 + TextWidth.of($1) }
    put("\r\(prompt)\(shown)\u{1B}[K" + (back > 0 ? "\u{1B}[\(back)D" : ""))
  }

  // MARK: keys

  private enum Key: Equatable {
    case text([Character])
    case control(Character)
    case enter, tab, backspace, delete, up, down, left, right, home, end, unknown
  }

  private func nextByte() -> UInt8? {
    var byte: UInt8 = 0
    while true {
      let count = Glibc.read(STDIN_FILENO, &byte, 1)
      if count == 1 { return byte }
      if count == 0 || errno != EINTR { return nil }
    }
  }

  private func nextKey() -> Key? {
    guard let byte = nextByte() else { return nil }
    switch byte {
    case 13, 10: return .enter
    case 9: return .tab
    case 8, 127: return .backspace
    case 27: return escape()
    case 0..<32: return .control(Character(UnicodeScalar(byte + 96)))
    default:
      // The rest of a UTF-8 sequence follows at once.
      let length = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4
      var bytes = [byte]
      while bytes.count < length, let next = nextByte() { bytes.append(next) }
      return .text(Array(String(decoding: bytes, as: UTF8.self)))
    }
  }

  private func escape() -> Key? {
    guard let first = nextByte() else { return nil }
    guard first == UInt8(ascii: "[") || first == UInt8(ascii: "O") else { return .unknown }
    var number = ""
    while let byte = nextByte() {
      let character = Character(UnicodeScalar(byte))
      if character.isNumber || character == ";" {
        number.append(character)
        continue
      }
      switch (character, number) {
      case ("A", _): return .up
      case ("B", _): return .down
      case ("C", _): return .right
      case ("D", _): return .left
      case ("H", _), ("~", "1"), ("~", "7"): return .home
      case ("F", _), ("~", "4"), ("~", "8"): return .end
      case ("~", "3"): return .delete
      default: return .unknown
      }
    }
    return nil
  }
}
