// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The `BertNormalizer` of Hugging Face tokenizers: cleaning, spaces around ideographs, accent stripping, lower case.
///
/// One difference: marks that survive are not put into canonical order again, which matters only for runs of two or more
/// marks that Unicode 8 does not know.
struct BertNormalizer: Sendable, Equatable {
  var cleanText = true
  var handleIdeographs = true
  var stripAccents = true
  var lowercase = true

  /// Appends the normalised form of valid UTF-8. White space comes out as U+0020 when `cleanText`.
  func append(_ bytes: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) {
    guard let base = bytes.baseAddress else { return }
    let count = bytes.count
    out.reserveCapacity(out.count + count + 16)
    var index = 0
    let lowering: UInt8 = lowercase ? 0x20 : 0
    while index < count {
      let byte = base[index]
      if byte < 0x80 {
        index &+= 1
        if byte > 0x20 {
          if byte != 0x7F || !cleanText { out.append(byte >= 0x41 && byte <= 0x5A ? byte | lowering : byte) }
        } else if !cleanText {
          out.append(byte)
        } else if byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
          out.append(0x20)
        }
        continue
      }
      let (scalar, next) = ScalarTable.decode(base, index)
      index = next
      appendScalar(scalar, to: &out)
    }
  }

  private func appendScalar(_ scalar: UInt32, to out: inout [UInt8]) {
    let flags = ScalarTable.classOf(scalar)
    if cleanText {
      if flags & ScalarTable.control != 0 || scalar == 0xFFFD { return }
      if flags & ScalarTable.whitespace != 0 {
        out.append(0x20)
        return
      }
    }
    let isolated = handleIdeographs && flags & ScalarTable.ideograph != 0
    if isolated { out.append(0x20) }
    if stripAccents && lowercase {
      let place = BertFolding.place(scalar)
      if place >= 0 {
        BertFolding.shared.append(place, to: &out)
      } else {
        Self.fold(scalar, strip: true, lower: true) { Self.appendUTF8($0, to: &out) }
      }
    } else {
      Self.fold(scalar, strip: stripAccents, lower: lowercase) { Self.appendUTF8($0, to: &out) }
    }
    if isolated { out.append(0x20) }
  }

  /// Decomposes (canonical), drops non-spacing marks, lowers: the scalars that one scalar becomes.
  static func fold(_ value: UInt32, strip: Bool, lower: Bool, _ emit: (UInt32) -> Void) {
    func finish(_ scalar: UInt32) {
      if strip && ScalarTable.classOf(scalar) & ScalarTable.mark != 0 { return }
      guard lower, let properties = Unicode.Scalar(scalar)?.properties, properties.changesWhenLowercased else {
        return emit(scalar)
      }
      for lowered in properties.lowercaseMapping.unicodeScalars { emit(lowered.value) }
    }
    guard strip else { return finish(value) }
    switch value {
    case 0xAC00...0xD7A3:  // Hangul syllables decompose by arithmetic (Unicode 3.12).
      let offset = value - 0xAC00
      finish(0x1100 + offset / 588)
      finish(0x1161 + offset % 588 / 28)
      if offset % 28 != 0 { finish(0x11A7 + offset % 28) }
    case 0x3400...0x9FFF, 0x20000...0x2F7FF, 0x1F000...0x1FAFF: finish(value)
    default:
      guard let scalar = Unicode.Scalar(value), let age = scalar.properties.age, age.major <= 12 else {
        return finish(value)
      }
      for part in String(Character(scalar)).decomposedStringWithCanonicalMapping.unicodeScalars { finish(part.value) }
    }
  }

  static func appendUTF8(_ value: UInt32, to out: inout [UInt8]) {
    guard let scalar = Unicode.Scalar(value) else { return }
    out.append(contentsOf: UTF8.encode(scalar)!)
  }
}

/// What each common scalar becomes under decompose, strip and lower, computed once.
final class BertFolding: Sendable {
  static let shared = BertFolding()

  private let offsets: [UInt32]
  private let bytes: [UInt8]

  /// Position in the table of a scalar in U+0080..U+33FF, U+A000..U+ABFF or U+F900..U+FFFF, else -1.
  @inline(__always) static func place(_ scalar: UInt32) -> Int {
    if scalar < 0x3400 { return Int(scalar) &- 0x80 }
    if scalar >= 0xA000 && scalar < 0xAC00 { return Int(scalar) &- 0xA000 &+ 0x3380 }
    if scalar >= 0xF900 && scalar < 0x10000 { return Int(scalar) &- 0xF900 &+ 0x3F80 }
    return -1
  }

  private init() {
    var offsets: [UInt32] = [0]
    var bytes: [UInt8] = []
    for range in [0x80..<0x3400, 0xA000..<0xAC00, 0xF900..<0x10000] as [Range<UInt32>] {
      for scalar in range {
        BertNormalizer.fold(scalar, strip: true, lower: true) { BertNormalizer.appendUTF8($0, to: &bytes) }
        offsets.append(UInt32(bytes.count))
      }
    }
    self.offsets = offsets
    self.bytes = bytes
  }

  func append(_ place: Int, to out: inout [UInt8]) {
    out.append(contentsOf: bytes[Int(offsets[place])..<Int(offsets[place + 1])])
  }
}
