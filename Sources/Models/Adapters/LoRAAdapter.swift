// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Tensor

/// What an adapter adds to one matrix: scale * (x down) up.
struct LoRAPair {
  /// [rank, inputs]
  var down: Matrix
  /// [outputs of the matrix, rank]
  var up: Matrix
  var scale: Float
}

/// A LoRA adapter (Hu et al., 2021) in memory: small matrices beside those of a decoder, whose products are added to its own. Immutable, so that
/// many requests share it.
///
/// bf16 stays bf16, other floating point becomes f32. Sums are f32.
public final class LoRAAdapter: @unchecked Sendable {  // all is written in init only
  static let weightsName = "adapter_model.safetensors"
  private static let prefix = "base_model.model."

  /// Under which it is served.
  public let name: String
  /// SHA-256 of its files: equal for adapters that compute the same.
  public let identity: String
  public var byteCount: Int { storage.copiedBytes }
  /// Of the models that it can be used with.
  let signature: String
  private let layers: [[LoRAPair?]]
  private let head: LoRAPair?
  private let storage = WeightStorage()

  /// Whether a folder holds an adapter, whatever is in it.
  public static func isAdapter(directory: String) -> Bool {
    FileManager.default.fileExists(atPath: directory + "/" + AdapterConfiguration.fileName)
      && !FileManager.default.fileExists(atPath: directory + "/config.json")
  }

  /// Reads what can be checked of an adapter without its base model: the configuration, and the header of its weights.
  /// - Throws: `notFound`; `invalidFile` PLT-4503, PLT-4504 and PLT-4505.
  public static func check(directory: String) throws {
    _ = try AdapterConfiguration(folder: directory)
    _ = try weights(directory)
  }

  /// Reads a folder in PEFT's layout. Blocking.
  /// - Parameter targets: of the model that it is used with, or of the part of it that a rank has.
  /// - Throws: `notFound`; `invalidFile` naming the key of its configuration (PLT-4503), what of it is not built (PLT-4504), or the tensor that does not
  ///   fit the model (PLT-4505).
  public init(name: String, directory: String, targets: AdapterTargets) throws {
    self.name = name
    signature = targets.signature
    do {
      let configuration = try AdapterConfiguration(folder: directory)
      let file = try Self.weights(directory)
      var layers = [[LoRAPair?]](
        repeating: Array(repeating: nil, count: AdapterPlace.Projection.allCases.count), count: targets.layerCount)
      var head: LoRAPair?
      for (key, module, halves) in try Self.modules(file, targets, configuration) {
        let rank = try configuration.rank(of: key)
        let down = try Self.view(file, halves.down, [rank, module.inputs])
        let up = try Self.view(file, halves.up, [module.outputs, rank])
        let scale = try configuration.scale(of: key)
        let first = try Self.copied(down, Array(0..<rank), columns: module.inputs, storage)
        for part in module.parts {
          let pair = LoRAPair(down: first, up: try Self.copied(up, part.outputs, columns: rank, storage), scale: scale)
          switch part.place {
          case .head: head = pair
          case .layer(let index, let projection): layers[index][projection.rawValue] = pair
          }
        }
      }
      self.layers = layers
      self.head = head
      identity = try Self.digest(directory)
    } catch {
      throw PlatformError.from(error, context: "loading the adapter '\(name)'")
    }
  }

  func pair(_ place: AdapterPlace) -> LoRAPair? {
    switch place {
    case .head: head
    case .layer(let index, let projection): layers[index][projection.rawValue]
    }
  }

  // MARK: reading

  private static func weights(_ directory: String) throws -> SafeTensorsFile {
    let path = directory + "/" + weightsName
    guard FileManager.default.fileExists(atPath: path) else {
      let hint = FileManager.default.fileExists(atPath: directory + "/adapter_model.bin") ? "Save it with safe_serialization=True." : ""
      throw PlatformError(.notFound, "the adapter has no \(weightsName)", hint: hint, number: "PLT-4505", path: path)
    }
    let file = try SafeTensorsFile(path: path)
    for name in file.names { _ = try halved(name, file) }
    return file
  }

  private static func bad(_ what: String, _ path: String, hint: String = "") -> PlatformError {
    PlatformError(.invalidFile, what, hint: hint, number: "PLT-4505", path: path)
  }

  /// The module that a tensor belongs to, and which half of the product it is.
  private static func halved(_ name: String, _ file: SafeTensorsFile) throws -> (module: String, isDown: Bool) {
    func notBuilt(_ what: String, _ hint: String) -> PlatformError {
      PlatformError(.invalidFile, "tensor '\(name.prefix(200))' \(what), which is not built for adapters", hint: hint, number: "PLT-4504", path: file.path)
    }
    guard name.hasPrefix(prefix) else { throw bad("tensor '\(name.prefix(200))' does not begin with '\(prefix)'", file.path) }
    for (end, isDown) in [(".lora_A.weight", true), (".lora_B.weight", false)] where name.hasSuffix(end) {
      return (String(name.dropFirst(prefix.count).dropLast(end.count)), isDown)
    }
    if name.contains("lora_embedding_") { throw notBuilt("changes an embedding", "Leave embeddings out of target_modules.") }
    if name.contains("lora_magnitude_vector") { throw notBuilt("is one of DoRA", "Train with use_dora=False.") }
    if name.hasSuffix(".lora_B.bias") { throw notBuilt("is a bias", "Train with lora_bias=False.") }
    if name.contains(".lora_") { throw bad("tensor '\(name.prefix(200))' is neither lora_A.weight nor lora_B.weight of a module", file.path) }
    throw notBuilt(
      "replaces one of the model's", "Leave modules_to_save empty, save with save_embedding_layers=False, or merge the adapter into the model.")
  }

  /// The modules that an adapter changes, by the names that its own model has for them.
  private static func modules(
    _ file: SafeTensorsFile, _ targets: AdapterTargets, _ configuration: AdapterConfiguration
  ) throws -> [(key: String, module: AdapterTargets.Module, halves: (down: String, up: String))] {
    let start = ContinuousClock.now
    var found: [String: (down: String?, up: String?)] = [:]
    for name in file.names {
      let (module, isDown) = try halved(name, file)
      if isDown { found[module, default: (nil, nil)].down = name } else { found[module, default: (nil, nil)].up = name }
    }
    guard let first = found.keys.min() else { throw bad("the adapter has no tensors", file.path) }
    // Adapters of a bare model, or of one that also sees images, have other beginnings.
    let bases = ["model.", "transformer.", "gpt_neox."]
    let spellings =
      [("", "")] + bases.map { ($0, "") }
      + bases.flatMap { base in ["model.language_model.", "language_model.model.", "language_model."].map { (base, $0) } }
    func spelled(_ module: String, _ spelling: (String, String)) -> String? {
      module.hasPrefix(spelling.0) ? spelling.1 + module.dropFirst(spelling.0.count) : nil
    }
    let names = targets.modules.keys.sorted()
    let spelling = spellings.first { spelling in names.contains { spelled($0, spelling) == first } } ?? ("", "")
    var modules: [String: AdapterTargets.Module] = [:]
    for name in names { if let key = spelled(name, spelling) { modules[key] = targets.modules[name] } }
    for key in modules.keys.sorted() {
      guard ContinuousClock.now - start < .seconds(5) else {
        throw PlatformError(.invalidFile, "the expressions of adapter_config.json take too long", number: "PLT-4503", path: file.path)
      }
      guard found[key] == nil, configuration.selects(key) else { continue }
      throw bad("the adapter has no tensor '\(prefix)\(key).lora_A.weight', though its target_modules name that module", file.path)
    }
    return try found.keys.sorted().map { key in
      let (down, up) = found[key] ?? (nil, nil)
      guard let module = modules[key] else {
        let isExpert = ["experts", "router", "shared_expert"].contains { part in key.split(separator: ".").contains { $0.hasPrefix(part) } }
        throw bad(
          "tensor '\(down ?? up ?? key)' belongs to '\(key)', which \(isExpert ? "is a part of a mixture of experts" : "the model has no linear layer for")",
          file.path, hint: "What adapters can change: \(targets.kinds.joined(separator: ", ")).")
      }
      guard let down, let up else {
        throw bad("the adapter has no tensor '\(prefix)\(key).lora_\(down == nil ? "A" : "B").weight', the other half of the one that it has", file.path)
      }
      guard configuration.selects(key) else {
        throw bad("tensor '\(down)' belongs to a module that the adapter's target_modules do not name", file.path)
      }
      return (key, module, (down, up))
    }
  }

  private static func view(_ file: SafeTensorsFile, _ name: String, _ shape: [Int]) throws -> SafeTensorView {
    let view = try file.tensor(name)
    guard view.shape == shape else {
      throw bad("tensor '\(name)' has shape \(view.shape); the model and the adapter's rank ask for \(shape)", file.path)
    }
    guard view.dtype.isFloatingPoint else { throw bad("tensor '\(name)' holds \(view.dtype.rawValue), not floating point", file.path) }
    return view
  }

  /// Rows `rows` of a tensor with rows of `columns` numbers.
  private static func copied(_ view: SafeTensorView, _ rows: [Int], columns: Int, _ storage: WeightStorage) throws -> Matrix {
    let numbers = try view.float32()
    guard numbers.allSatisfy(\.isFinite) else { throw bad("tensor '\(view.name)' holds a number that is not finite", view.path) }
    func matrix(_ type: Int, _ weights: UnsafeRawPointer) -> Matrix {
      Matrix(type: Int32(type), rows: rows.count, columns: columns, weights: weights, bias: nil)
    }
    if view.dtype == .bf16 {
      let target = storage.bytes(rows.count * columns * 2)
      for (place, row) in rows.enumerated() {
        (target + place * columns * 2).copyMemory(from: view.rawBytes + row * columns * 2, byteCount: columns * 2)
      }
      return matrix(Int(PK_WEIGHT_BF16), UnsafeRawPointer(target))
    }
    let target = storage.floats(rows.count * columns)
    numbers.withUnsafeBufferPointer { numbers in
      guard let base = numbers.baseAddress else { return }
      for (place, row) in rows.enumerated() { (target + place * columns).update(from: base + row * columns, count: columns) }
    }
    return matrix(Int(PK_WEIGHT_F32), UnsafeRawPointer(target))
  }

  private static func digest(_ directory: String) throws -> String {
    let parts = try [AdapterConfiguration.fileName, weightsName].map { try SHA256Digest.hex(contentsOf: directory + "/" + $0) }
    return SHA256Digest.hex(parts.joined(separator: " "))
  }
}
