// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import FuzzTargets
import Testing

/// A short round of what `make fuzz` does for long, always with the same bytes. `FUZZ_COUNT` changed samples a target (150), from `FUZZ_SEED` (1).
@Suite struct FuzzTests {
  static let count = ProcessInfo.processInfo.environment["FUZZ_COUNT"].flatMap(Int.init) ?? 150
  static let seed = ProcessInfo.processInfo.environment["FUZZ_SEED"].flatMap { UInt64($0) } ?? 1

  static func changed(_ bytes: [UInt8], _ words: [[UInt8]], _ random: inout SplitMix64) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      guard !bytes.isEmpty else { break }
      let place = Int.random(in: 0..<bytes.count, using: &random)
      let length = min(Int.random(in: 1...12, using: &random), bytes.count - place)
      let word = words.randomElement(using: &random) ?? [0]
      switch Int.random(in: 0..<8, using: &random) {
      case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: bytes.removeSubrange(place..<place + length)
      case 3: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
      case 4: bytes.insert(contentsOf: word, at: place)
      case 5: bytes.replaceSubrange(place..<place + length, with: word)
      case 6: bytes.removeSubrange(place...)
      default: bytes[place] = bytes[Int.random(in: 0..<bytes.count, using: &random)]
      }
    }
    return bytes
  }

  @Test(arguments: FuzzTarget.all.map(\.name)) func damagedBytesAreRefusedOrRead(name: String) throws {
    let target = try #require(FuzzTarget.all.first { $0.name == name })
    let words = target.words.map { Array($0.utf8) }
    let samples = try target.samples()
    for (number, sample) in samples.enumerated() { #expect(target.refusal(of: sample) == nil, "sample \(number) of \(name)") }
    for round in 0..<Self.count {
      var random = SplitMix64(seed: SplitMix64.mix(Self.seed &* 1_000_003 &+ UInt64(round)))
      let bytes = Self.changed(samples[round % samples.count], words, &random)
      #expect(target.complaint(about: bytes) == nil, "\(name), seed \(Self.seed), round \(round): \(bytes)")
    }
  }
}
