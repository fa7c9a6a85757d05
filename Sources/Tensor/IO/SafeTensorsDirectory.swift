// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// The weights of a model folder in Hugging Face layout: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` lists.
public final class SafeTensorsDirectory: SafeTensorSource {
  public let path: String
  public let names: [String]
  private let places: [String: SafeTensorsFile]

  /// Opens every shard.
  /// - Throws: `notFound` when there are no weights; `invalidFile` for a bad index, a shard outside the folder, a bad
  ///   shard, or a tensor that is not in the shard that the index names.
  public init(path: String) throws {
    self.path = path
    let indexPath = path + "/model.safetensors.index.json"
    let singlePath = path + "/model.safetensors"
    if FileManager.default.fileExists(atPath: indexPath) {
      places = try Self.shards(indexPath: indexPath, folder: path)
    } else if FileManager.default.fileExists(atPath: singlePath) {
      let file = try SafeTensorsFile(path: singlePath)
      places = Dictionary(uniqueKeysWithValues: file.names.map { ($0, file) })
    } else {
      throw PlatformError(
        .notFound, "there is neither model.safetensors nor model.safetensors.index.json",
        hint: "Convert other weight formats to safetensors first.", number: "PLT-4101", path: path)
    }
    names = places.keys.sorted()
  }

  public func contains(_ name: String) -> Bool { places[name] != nil }

  public func tensor(_ name: String) throws -> SafeTensorView {
    guard let file = places[name] else { throw SafeTensorsFile.bad("there is no tensor '\(name)'", path) }
    return try file.tensor(name)
  }

  private static func shards(indexPath: String, folder: String) throws -> [String: SafeTensorsFile] {
    let index: JSONValue
    do {
      index = try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: indexPath)))
    } catch {
      throw SafeTensorsFile.bad("shard index cannot be read: \(PlatformError.from(error).message)", indexPath)
    }
    guard let map = index["weight_map"]?.objectValue else {
      throw SafeTensorsFile.bad("shard index has no weight_map", indexPath)
    }
    var files: [String: SafeTensorsFile] = [:]
    var places: [String: SafeTensorsFile] = [:]
    for (name, value) in map.sorted(by: { $0.key < $1.key }) {
      guard let shard = value.stringValue else {
        throw SafeTensorsFile.bad("weight_map of '\(name)' is not a file name", indexPath)
      }
      let file: SafeTensorsFile
      if let known = files[shard] {
        file = known
      } else {
        guard isInside(shard) else {
          throw SafeTensorsFile.bad("weight_map of '\(name)' leaves the folder: '\(shard)'", indexPath)
        }
        file = try SafeTensorsFile(path: folder + "/" + shard)
        files[shard] = file
      }
      guard file.contains(name) else {
        throw SafeTensorsFile.bad("the index puts '\(name)' into \(shard), which does not hold it", indexPath)
      }
      places[name] = file
    }
    return places
  }

  /// Whether `shard` is a relative path that stays below its folder.
  static func isInside(_ shard: String) -> Bool { PathText.isInside(shard) }
}
