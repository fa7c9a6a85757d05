// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// Files that a program's folder has when it begins. They travel with the run as one text, so that what is changed later does not change it.
public struct ProgramFiles: Codable, Sendable, Equatable {
  public static let limit = (files: 1_000, bytes: 4 << 20)

  /// By path in the folder.
  public private(set) var texts: [String: String] = [:]
  /// What is no text, in base64.
  public private(set) var binaries: [String: String] = [:]
  private var bytes = 0

  enum CodingKeys: String, CodingKey { case texts, binaries }

  public init() {}

  public static let tooLarge = PlatformError(
    .invalidArgument, "the folder has more than \(limit.files) files or \(limit.bytes >> 20) MiB",
    hint: "Leave out what the task does not need: packages are installed by it, large data belongs into volumes.", number: "PLT-4472")

  /// - Throws: `invalidArgument` PLT-4472 when the folder has become too large, `invalidFile` for a path that leads out of it.
  public mutating func add(_ path: String, _ data: Data) throws(PlatformError) {
    guard PathText.isInside(path) else { throw PlatformError(.invalidFile, "'\(path.prefix(300))' leads out of the folder", number: "PLT-4472") }
    bytes += data.count
    guard texts.count + binaries.count < Self.limit.files, bytes <= Self.limit.bytes else {
      throw Self.tooLarge
    }
    if let text = String(data: data, encoding: .utf8), !text.contains("\0") {
      texts[path] = text
    } else {
      binaries[path] = data.base64EncodedString()
    }
  }

  /// - Throws: `invalidFile` PLT-4472.
  public init(parsing text: String) throws {
    self = try JSONDecoder.platform.decode(Self.self, from: Data(text.utf8))
    guard (Array(texts.keys) + binaries.keys).allSatisfy({ PathText.isInside($0) }) else {
      throw PlatformError(.invalidFile, "a path leads out of the folder", number: "PLT-4472")
    }
  }

  public var text: String { get throws { try JSONValue(encoding: self).sortedText } }

  /// By path, with what is no text.
  public var all: [(path: String, data: Data)] {
    (texts.map { ($0.key, Data($0.value.utf8)) } + binaries.map { ($0.key, Data(base64Encoded: $0.value) ?? Data()) }).sorted { $0.0 < $1.0 }
  }
}
