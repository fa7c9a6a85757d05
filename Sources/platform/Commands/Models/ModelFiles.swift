// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Foundation
import Models

/// Files that the offline model commands read and write.
enum ModelFiles {
  /// A JSON list of token ids.
  static func ids(_ path: String) throws -> [Int32] { try ids(read(path), path, "") }

  /// A JSON list of lists of token ids.
  static func idLists(_ path: String) throws -> [[Int32]] {
    guard let lists = try read(path).arrayValue else { throw refuse("must hold a JSON list of lists of token ids", path) }
    return try lists.enumerated().map { try ids($1, path, "entry \($0) ") }
  }

  /// A JSON list of texts.
  static func texts(_ path: String) throws -> [String] {
    guard let items = try read(path).arrayValue else { throw refuse("must hold a JSON list of texts", path) }
    return try items.enumerated().map {
      guard let text = $1.stringValue else { throw refuse("entry \($0) is \($1.sortedText.prefix(40)), not a text", path) }
      return text
    }
  }

  /// The bytes of a file that the user named.
  static func bytes(_ path: String) throws -> Data {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw PlatformError(.notFound, "there is no such file", number: "PLT-5202", path: path)
    }
    guard !isDirectory.boolValue, let file = FileHandle(forReadingAtPath: path) else { throw refuse("cannot be read as a file", path) }
    return try file.readToEnd() ?? Data()  // pipes as well
  }

  /// Writes `path` as a whole or not at all: `body` gets a sink for the bytes.
  static func write(_ path: String, _ body: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void) throws {
    let partial = path + ".partial-\(ProcessInfo.processInfo.processIdentifier)"
    func failure(_ what: String) -> PlatformError {
      PlatformError(.unavailable, "\(what): \(String(cString: strerror(errno)))", number: "PLT-5202", path: path)
    }
    var isDirectory: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue {
      throw refuse("is a folder; name a file to write", path)
    }
    let descriptor = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw failure("the output cannot be written") }
    do {
      try body { bytes in
        var rest = bytes[...]
        while !rest.isEmpty {
          let count = Foundation.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
          if count < 0, errno == EINTR { continue }
          guard count > 0 else { throw failure("the output cannot be written") }
          rest = rest.dropFirst(count)
        }
      }
      guard close(descriptor) == 0, rename(partial, path) == 0 else { throw failure("the output cannot be written") }
    } catch {
      unlink(partial)
      throw error
    }
  }

  private static func read(_ path: String) throws -> JSONValue {
    let data = try bytes(path)
    do {
      return try JSONValue(parsing: data)
    } catch {
      throw refuse(PlatformError.from(error).message, path)
    }
  }

  private static func ids(_ json: JSONValue, _ path: String, _ place: String) throws -> [Int32] {
    guard let items = json.arrayValue else { throw refuse("\(place)must be a JSON list of token ids, found \(json.sortedText.prefix(40))", path) }
    return try items.map {
      guard let id = $0.intValue.flatMap({ Int32(exactly: $0) }) else {
        throw refuse("\(place)holds \($0.sortedText.prefix(40)), which is not a token id", path)
      }
      return id
    }
  }

  static func refuse(_ what: String, _ path: String) -> PlatformError {
    PlatformError(.invalidArgument, what, number: "PLT-5202", path: path)
  }
}

/// Options of commands that compute with a model folder.
struct ModelComputeOptions: ParsableArguments {
  /// What shared memory takes.
  static let partsMax = 256

  @Option(help: "What the model's matrices are multiplied as: f32 (as stored), bf16, int8 or int4.") var dtype = "f32"
  @Option(help: "Threads that compute; the result does not depend on it. Default: all processors.") var threads: Int?

  /// - Throws: `invalidArgument` (PLT-5201) for what is not built.
  func checked() throws -> (threads: Int, precision: WeightPrecision) {
    guard let precision = WeightPrecision(rawValue: dtype) else {
      throw PlatformError(
        .invalidArgument, "--dtype \(dtype) is unknown", hint: "Use f32, bf16, int8 or int4; weights of any float type are read.",
        number: "PLT-5201")
    }
    guard threads ?? 1 > 0, threads ?? 1 <= 1024 else {
      throw PlatformError(.invalidArgument, "--threads \(threads ?? 0) is not from 1 to 1024", number: "PLT-5201")
    }
    return (threads ?? ProcessInfo.processInfo.activeProcessorCount, precision)
  }
}

/// Options of commands that can compute a model in parts.
struct ModelSplitOptions: ParsableArguments {
  @Option(help: "Folder of a LoRA adapter, in PEFT's layout, that changes the model.") var adapter: String?
  @Option(
    name: .long,
    help: "Parts to split the model into, one process each, which share the threads; the result does not depend on it.")
  var tensorParallel = 1
  @Option(name: .customLong("kv-cache-dtype"), help: "How keys and values are kept: f32, bf16, int8, or auto: f32.") var cache = "auto"

  /// - Throws: `invalidArgument` (PLT-5201) for a number that is none of parts, what `ids` throws.
  func work(_ directory: String, _ options: (threads: Int, precision: WeightPrecision), ids: () throws -> [Int32]) throws -> RankWork {
    guard (1...ModelComputeOptions.partsMax).contains(tensorParallel) else {
      throw PlatformError(
        .invalidArgument, "--tensor-parallel \(tensorParallel) is not from 1 to \(ModelComputeOptions.partsMax)", number: "PLT-5201")
    }
    var work = RankWork(
      directory: directory, ids: try ids(), dtype: options.precision.rawValue, threads: max(1, options.threads / tensorParallel), count: tensorParallel)
    work.adapter = adapter
    work.cache = try CacheFormat.named(cache) ?? .f32
    return work
  }
}
