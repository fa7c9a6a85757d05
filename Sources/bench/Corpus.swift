// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Real text of this machine: the documentation of its packages, or the folder that `BENCH_TEXT` names.
final class Corpus {
  private let paths: [String]

  init() {
    let root = ProcessInfo.processInfo.environment["BENCH_TEXT"] ?? "/usr/share/doc"
    var paths: [String] = []
    if let walker = FileManager.default.enumerator(atPath: root) {
      for case let name as String in walker { paths.append(root + "/" + name) }
    }
    // The same mixture on every run: sorted, then shuffled with a fixed seed.
    paths.sort()
    var generator = SplitMix64(seed: 11)
    for index in stride(from: paths.count - 1, to: 0, by: -1) { paths.swapAt(index, Int(generator.next() % UInt64(index + 1))) }
    self.paths = paths
  }

  /// Whole documents of valid UTF-8 up to 200 kB each, `bytes` in all or as many as there are.
  func documents(bytes: Int) throws -> [String] {
    var found: [String] = []
    var total = 0
    for path in paths {
      guard total < bytes else { break }
      var info = stat()
      guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG, (200...200_000).contains(info.st_size),
        let data = FileManager.default.contents(atPath: path), !data.contains(0), let text = String(validating: data, as: UTF8.self)
      else { continue }
      found.append(text)
      total += data.count
    }
    guard total >= min(bytes, 1 << 20) else {
      throw PlatformError(.notFound, "there are only \(total) bytes of text to measure with", hint: "Name a folder of texts in BENCH_TEXT.")
    }
    return found
  }

  /// Passages of 10 to 100 words, as a retrieval index has them.
  func passages(_ count: Int) throws -> [String] {
    var generator = SplitMix64(seed: 12)
    var found: [String] = []
    for document in try documents(bytes: 8 << 20) {
      let words = document.split(whereSeparator: \.isWhitespace)
      let length = 10 + Int(generator.next() % 91)
      guard words.count >= length else { continue }
      let start = Int(generator.next() % UInt64(words.count - length + 1))
      found.append(words[start..<start + length].joined(separator: " "))
      if found.count == count { return found }
    }
    throw PlatformError(.notFound, "there are only \(found.count) passages to measure with", hint: "Name a folder of texts in BENCH_TEXT.")
  }
}

extension Setup {
  /// Writes texts for the peer to read.
  func write(_ texts: [String], _ name: String) throws -> JSONValue {
    let path = file(name)
    try Data(JSONValue.array(texts.map { .string($0) }).sortedText.utf8).write(to: URL(fileURLWithPath: path))
    return .string(path)
  }

  /// Writes numbers as they lie in memory.
  func write<T: BitwiseCopyable>(_ numbers: [T], _ name: String) throws -> JSONValue {
    let path = file(name)
    try numbers.withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: path)) }
    return .string(path)
  }

  func readFloats(_ name: String) throws -> [Float] {
    let data = try Data(contentsOf: URL(fileURLWithPath: file(name)))
    return [Float](unsafeUninitializedCapacity: data.count / 4) { buffer, count in
      count = data.copyBytes(to: buffer) / 4
    }
  }
}

/// Where all ids of all texts differ between the sides, their digests do.
struct IDDigest {
  private let digest = SHA256Digest()

  func add(_ ids: [Int32]) {
    var count = Int32(ids.count)
    withUnsafeBytes(of: &count) { digest.update($0) }
    ids.withUnsafeBytes { digest.update($0) }
  }

  func finish() -> String { digest.finish().hexadecimal }
}
