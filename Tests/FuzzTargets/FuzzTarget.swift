// SPDX-License-Identifier: Apache-2.0

import Core

/// A reader of bytes that come from outside, with good ones to begin from. `FuzzTests` changes those for seconds, `make fuzz` for as long as
/// one likes, led by what the code does with them.
public struct FuzzTarget: Sendable {
  public var name: String
  public var samples: @Sendable () throws -> [[UInt8]]
  /// What is worth to be put in somewhere.
  public var words: [String]
  let read: @Sendable ([UInt8]) throws -> Void

  public static let all: [FuzzTarget] = {
    var all: [FuzzTarget] = [.safetensors, .gguf, .adapter, .tokenizer, .sentencepiece, .template, .grammar]
    #if canImport(API)
      all.append(.openai)
    #endif
    return all
  }()

  /// Reads the bytes. What is wrong with that, or nil: errors that name what is wrong with the bytes are what damaged ones get.
  public func complaint(about bytes: [UInt8]) -> String? {
    do {
      try read(bytes)
      return nil
    } catch let error as PlatformError {
      guard [.invalidFile, .invalidArgument, .resourceExhausted].contains(error.code), !error.message.isEmpty else { return "\(name): \(error)" }
      return nil
    } catch {
      return "\(name): \(type(of: error)) \(error)"
    }
  }
}

extension FuzzTarget {
  /// Why the bytes are refused; nil when they are read.
  public func refusal(of bytes: [UInt8]) -> String? {
    do {
      try read(bytes)
      return nil
    } catch { return "\(error)" }
  }
}

/// What must hold whatever the bytes are.
func hold(_ condition: Bool, _ what: @autoclosure () -> String) throws {
  guard condition else { throw PlatformError(.internalError, what()) }
}

/// Numbers and texts as the binary formats have them.
struct SampleBytes {
  var bytes: [UInt8] = []

  mutating func put(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }

  /// A length of 64 bits, then the text.
  mutating func put(_ text: String) {
    put(UInt64(text.utf8.count))
    bytes += Array(text.utf8)
  }
}
