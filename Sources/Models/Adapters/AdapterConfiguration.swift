// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tokenizers

/// `adapter_config.json` of a LoRA adapter in PEFT's layout: which modules it changes, and by how much. A setting that would change the numbers
/// in a way that is not built is refused by name.
struct AdapterConfiguration {
  static let fileName = "adapter_config.json"
  static let rankMax = 512
  private static let patternsMax = 256

  private enum Selection {
    /// Names of modules, or what their names end with behind a dot.
    case names([String])
    case pattern(NamePattern)
    /// Every linear layer but the head.
    case allLinear
  }

  private var path: String?
  /// When the expressions of a hostile file have had their time.
  private let deadline = ContinuousClock.now + .seconds(10)
  let rank: Int
  let alpha: Double
  /// rsLoRA: alpha is divided by the rank's root instead of the rank.
  let usesRootOfRank: Bool
  private let targets: Selection
  private let excluded: Selection
  private let layers: Set<Int>?
  private let layerPatterns: [NamePattern]
  private let ranks: [(pattern: NamePattern, value: Double)]
  private let alphas: [(pattern: NamePattern, value: Double)]

  /// Settings that say where an adapter comes from or how it was trained, and change no number of it.
  private static let harmless: Set<String> = [
    "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "lora_dropout", "task_type", "megatron_config", "megatron_core",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "runtime_config", "peft_version", "ensure_weight_tying",
    "peft_type", "r", "lora_alpha", "use_rslora", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern",
    "alpha_pattern", "fan_in_fan_out", "bias", "init_lora_weights",
  ]

  /// - Throws: `notFound` and `invalidFile` PLT-4503 naming the key; PLT-4504 for what is not built.
  init(folder: String) throws {
    let path = folder + "/" + Self.fileName
    guard let data = FileManager.default.contents(atPath: path) else {
      throw PlatformError(
        .notFound, "the folder has no adapter_config.json", hint: "An adapter is a folder in PEFT's layout.", number: "PLT-4503", path: path)
    }
    do {
      try self.init(json: JSONValue(parsing: data))
      self.path = path
    } catch var error as PlatformError {
      if error.number != "PLT-4504" { error.number = "PLT-4503" }
      error.code = .invalidFile
      error.path = path
      throw error
    }
  }

  init(json: JSONValue) throws {
    guard let members = json.objectValue else { throw ConfigurationFields.refusal("it holds no JSON object") }
    let c = ConfigurationFields(json: json)
    guard let type = try c.text("peft_type") else { throw ConfigurationFields.refusal("'peft_type' is missing") }
    guard type == "LORA" else { throw Self.notBuilt("'peft_type' is '\(type.prefix(40))'", hint: "Adapters of the type LORA are.") }
    let bias = try c.text("bias") ?? "none"
    guard bias == "none" else { throw Self.notBuilt("'bias' is '\(bias.prefix(40))'", hint: "Train with bias=\"none\".") }
    if let start = c.value("init_lora_weights"), start.boolValue == nil, !["gaussian", "orthogonal", "eva"].contains(start.stringValue) {
      throw Self.notBuilt(
        "'init_lora_weights' is \(start.sortedText.prefix(40)), which changes the base model", hint: "Save it with path_initial_model_for_weight_conversion.")
    }
    for (key, value) in members.sorted(by: { $0.key < $1.key }) where !Self.harmless.contains(key) && !Self.saysNothing(value) {
      throw Self.notBuilt("'\(key.prefix(60))' is \(value.sortedText.prefix(60))")
    }
    _ = try c.flag("fan_in_fan_out", false)  // how the base stores its weights, which its configuration says as well
    rank = try c.size("r")
    guard rank <= Self.rankMax else { throw ConfigurationFields.refusal("'r' is \(rank), the most is \(Self.rankMax)") }
    alpha = try c.number("lora_alpha", 8)
    usesRootOfRank = try c.flag("use_rslora", false)
    guard let wanted = c.value("target_modules") else { throw ConfigurationFields.refusal("'target_modules' is missing") }
    targets = try wanted == "all-linear" ? .allLinear : Self.selection(wanted, "target_modules")
    excluded = try c.value("exclude_modules").map { try Self.selection($0, "exclude_modules") } ?? .names([])
    if let layers = c.value("layers_to_transform"), layers.arrayValue?.isEmpty != true {
      let numbers = (layers.arrayValue ?? [layers]).map(\.intValue)
      guard !numbers.contains(nil) else { throw ConfigurationFields.refusal("'layers_to_transform' must be the number of a layer or a list of them") }
      self.layers = Set(numbers.compactMap { $0 })
    } else {
      layers = nil
    }
    let inside = try c.value("layers_pattern").map { try Self.texts($0, "layers_pattern") } ?? []
    layerPatterns = try inside.filter { !$0.isEmpty }.map { try Self.pattern("(?:.*\\.)?(?:\($0))", "layers_pattern") }
    ranks = try Self.values(c, "rank_pattern")
    alphas = try Self.values(c, "alpha_pattern")
    for (_, value) in ranks where value != value.rounded() || value < 1 || value > Double(Self.rankMax) {
      throw ConfigurationFields.refusal("'rank_pattern' holds \(value), which is no rank from 1 to \(Self.rankMax)")
    }
  }

  /// Whether the module of this name, inside the model that the adapter was made for, is changed.
  func selects(_ module: String) -> Bool {
    func named(_ names: [String]) -> Bool { names.contains { module == $0 || module.hasSuffix("." + $0) } }
    switch excluded {
    case .names(let names): if named(names) { return false }
    case .pattern(let pattern): if pattern.matches(module) { return false }
    case .allLinear: break
    }
    switch targets {
    case .allLinear: return module.contains(".")
    case .pattern(let pattern): return pattern.matches(module)
    case .names(let names):
      if names.contains(module) { return true }
      guard named(names) else { return false }
      guard let layers else { return true }
      return layer(of: module).map { layers.contains($0) } ?? false
    }
  }

  /// The number of the layer that a module is in, as PEFT reads it from the name.
  private func layer(of module: String) -> Int? {
    let parts = module.split(separator: ".", omittingEmptySubsequences: false)
    for place in parts.indices.dropFirst().dropLast() {
      guard let number = Int(parts[place]), parts[place].allSatisfy(\.isNumber) else { continue }
      if layerPatterns.isEmpty {
        if place >= 2 { return number }
      } else {
        let before = parts[..<place].joined(separator: ".")
        if layerPatterns.contains(where: { $0.matches(before) }) { return number }
      }
    }
    return nil
  }

  /// - Throws: PLT-4503 when patterns contradict each other.
  func rank(of module: String) throws -> Int { try Int(value(of: module, ranks, "rank_pattern") ?? Double(rank)) }

  /// What a module's answer is multiplied with.
  /// - Throws: PLT-4503 when patterns contradict each other.
  func scale(of module: String) throws -> Float {
    let alpha = try value(of: module, alphas, "alpha_pattern") ?? alpha
    let rank = try Double(rank(of: module))
    let scale = Float(alpha / (usesRootOfRank ? rank.squareRoot() : rank))
    guard scale.isFinite else { throw bad("'lora_alpha' \(alpha) is no number to multiply with") }
    return scale
  }

  private func bad(_ what: String) -> PlatformError { PlatformError(.invalidFile, what, number: "PLT-4503", path: path) }

  private func value(of module: String, _ patterns: [(pattern: NamePattern, value: Double)], _ key: String) throws -> Double? {
    var found: Set<Double> = []
    for (pattern, value) in patterns {
      guard ContinuousClock.now < deadline else { throw bad("the expressions of '\(key)' take too long") }
      if pattern.matches(module) { found.insert(value) }
    }
    guard found.count < 2 else {
      // PEFT takes the one that stands first, an order that JSON objects do not have.
      throw bad("'\(key)' has several values for '\(module)'")
    }
    return found.first
  }

  // MARK: reading

  private static func notBuilt(_ what: String, hint: String = "") -> PlatformError {
    PlatformError(.invalidFile, "\(what), which is not built for adapters", hint: hint, number: "PLT-4504")
  }

  private static func saysNothing(_ value: JSONValue) -> Bool {
    value == .null || value == false || value == "" || value.arrayValue?.isEmpty == true || value.objectValue?.isEmpty == true
  }

  private static func texts(_ value: JSONValue, _ key: String) throws -> [String] {
    let texts = (value.arrayValue ?? [value]).map(\.stringValue)
    guard !texts.contains(nil), texts.count <= 4096 else { throw ConfigurationFields.refusal("'\(key)' must be a text or a list of texts") }
    return texts.compactMap { $0 }
  }

  private static func selection(_ value: JSONValue, _ key: String) throws -> Selection {
    if let text = value.stringValue { return .pattern(try pattern(text, key)) }
    return .names(try texts(value, key))
  }

  private static func values(_ c: ConfigurationFields, _ key: String) throws -> [(pattern: NamePattern, value: Double)] {
    let members = try c.object(key).json.objectValue ?? [:]
    guard members.count <= patternsMax else { throw ConfigurationFields.refusal("'\(key)' has \(members.count) entries, the most are \(patternsMax)") }
    return try members.sorted { $0.key < $1.key }.map { name, value in
      guard let number = value.doubleValue, number.isFinite else { throw ConfigurationFields.refusal("'\(key)' must hold numbers") }
      return (try pattern("(?:.*\\.)?(?:\(name))", key), number)
    }
  }

  private static func pattern(_ text: String, _ key: String) throws -> NamePattern {
    guard text.utf8.count <= 1024 else { throw ConfigurationFields.refusal("'\(key)' holds an expression of \(text.utf8.count) bytes, the most are 1024") }
    do {
      return try NamePattern(text)
    } catch {
      throw ConfigurationFields.refusal("'\(key)' holds '\(text.prefix(80))', which is no expression: \(PlatformError.from(error).message)")
    }
  }
}
