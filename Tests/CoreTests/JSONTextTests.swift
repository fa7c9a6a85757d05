// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Core

/// The own reader and writer of JSON against Foundation's.
@Suite struct JSONTextTests {
  private static func foundation(_ text: String) -> JSONValue? { try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8)) }

  @Test(arguments: [
    "0", "-0", "1", "-1", "01", "-", "1.", ".5", "1.0", "-0.0", "1e3", "1E+3", "1e-3", "1e400", "1e", "1.5e2", "123456789012345678", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551616", "0.1", "1e308", "5e-324", "1e-400", "true", "tru",
    "truee", "null", "nul", "false", "\"\"", "\"a", "\"\\u00e9\"", "\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\\x\"",
    "\"\\u12\"", "\"\u{1}\"", "\"\t\"", "\"\\/\\b\\f\\n\\r\\t\\\"\\\\\"", "[]", "[1,]", "[1 2]", "[1,2", "{}", "{\"a\":1,}", "{\"a\" 1}", "{a:1}",
    "{\"a\":1,\"a\":2}", " { \"a\" : [ 1 , { } ] } ", "1 2", "", " ", "NaN", "Infinity", "\"NaN\"", "[null,true,\"x\"]", "\u{FEFF}1", "/**/1",
    "{\"e\u{301}\":1,\"\u{E9}\":2}", "\"\u{2028}\u{7F}\u{80}\"", "3.0e0", "1e19", "-1e19", "123456789012345678901234567890", "1.7976931348623157e309",
  ])
  func textsAreReadAsFoundationReadsThem(_ text: String) {
    #expect((try? JSONValue(parsing: text)) == Self.foundation(text))
    if let own = JSONReader.read(Data(text.utf8)) { #expect(own == Self.foundation(text), "\(text)") }
  }

  @Test func depthAndDamageAreFoundationsToRefuse() {
    for depth in [10, 63, 64, 65, 500, 600] {
      let text = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
      #expect((try? JSONValue(parsing: text)) == Self.foundation(text))
    }
    let texts: [[UInt8]] = [
      [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x31, 0x00], [0x00, 0x31], [0xFF, 0xFE, 0x31, 0x00],
    ]
    for bytes in texts {
      #expect((try? JSONValue(parsing: Data(bytes))) == (try? JSONDecoder().decode(JSONValue.self, from: Data(bytes))))
    }
  }

  private static func random(_ generator: inout SplitMix64, depth: Int = 0) -> JSONValue {
    switch generator.next() % (depth < 4 ? 8 : 6) {
    case 0: .null
    case 1: .bool(generator.next() % 2 == 0)
    case 2: .integer(Int64(bitPattern: generator.next()) >> Int64(generator.next() % 64))
    case 3: .number(Double(bitPattern: generator.next()))
    case 4: .number(Double(Int64(bitPattern: generator.next()) >> Int64(generator.next() % 64)) / 1000)
    case 5: .string(randomText(&generator))
    case 6: .array((0..<generator.next() % 5).map { _ in random(&generator, depth: depth + 1) })
    default:
      .object(
        Dictionary((0..<generator.next() % 5).map { _ in (randomText(&generator), random(&generator, depth: depth + 1)) }, uniquingKeysWith: { $1 }))
    }
  }

  private static func randomText(_ generator: inout SplitMix64) -> String {
    var text = ""
    for _ in 0..<generator.next() % 8 {
      let limit: UInt64 = [0x30, 0x80, 0x800, 0x110000][Int(generator.next() % 4)]
      if let scalar = Unicode.Scalar(UInt32(generator.next() % limit)) { text.unicodeScalars.append(scalar) }
    }
    return text
  }

  @Test func valuesAreWrittenAsFoundationWritesThemAndReadAgain() throws {
    var generator = SplitMix64(seed: 7)
    var taken = 0
    for _ in 0..<3000 {
      let value = Self.random(&generator)
      let expected = try JSONEncoder.platform.encode(value)
      #expect(value.sortedData == expected)
      if let own = JSONReader.read(expected) {
        taken += 1
        #expect(own == (try JSONDecoder().decode(JSONValue.self, from: expected)), "\(String(decoding: expected, as: UTF8.self))")
      }
      // Damaged texts are taken by both or by neither.
      var damaged = Array(expected)
      damaged[Int(generator.next() % UInt64(damaged.count))] = UInt8(generator.next() % 256)
      #expect((try? JSONValue(parsing: Data(damaged))) == (try? JSONDecoder().decode(JSONValue.self, from: Data(damaged))))
    }
    #expect(taken > 2700)
  }
}
