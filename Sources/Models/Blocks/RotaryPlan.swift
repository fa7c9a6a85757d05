// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Rotary positions (Su et al., 2021) of one kind of layer: which part of a head turns, how fast, and how the frequencies are
/// stretched beyond the length that the model was trained on. Computed in f32 in the reference's order of operations.
struct RotaryPlan: Sendable, Equatable {
  enum Scaling: Sendable, Equatable {
    case none
    /// Position interpolation (Chen et al., 2023).
    case linear(factor: Double)
    /// The base grows with the sequence once it is longer than `maxPositions` ("dynamic NTK").
    case dynamic(factor: Double)
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, those between blended.
    case llama3(factor: Double, low: Double, high: Double, original: Int)
    /// Peng et al., 2023.
    case yarn(factor: Double, fast: Double, slow: Double, original: Int, truncates: Bool, amplitude: Double)
    /// Ding et al., 2024: one set of divisors up to `original` positions, another beyond.
    case longrope(short: [Double], long: [Double], original: Int, amplitude: Double)
  }

  var theta: Double
  /// Leading numbers of a head that turn; even.
  var dimensions: Int
  var scaling = Scaling.none
  /// `max_position_embeddings`.
  var maxPositions: Int

  var half: Int { dimensions / 2 }

  /// Positions up to which the frequencies do not depend on a sequence's length; nil when they never do.
  var fixedLength: Int? {
    switch scaling {
    case .dynamic: maxPositions
    case .longrope(_, _, let original, _): original
    default: nil
    }
  }

  /// What cosine and sine are multiplied with.
  var amplitude: Float {
    switch scaling {
    case .yarn(_, _, _, _, _, let amplitude), .longrope(_, _, _, let amplitude): Float(amplitude)
    default: 1
    }
  }

  /// Angle per position of each pair, for a sequence of `length` tokens. [half]
  func frequencies(length: Int) -> [Float] {
    func base(_ theta: Double) -> [Float] {
      (0..<half).map { pow(Float(theta), Float(2 * $0) / Float(dimensions)) }
    }
    let plain = base(theta)
    switch scaling {
    case .none: return plain.map { 1 / $0 }
    case .linear(let factor): return plain.map { 1 / $0 / Float(factor) }
    case .dynamic(let factor):
      guard length > maxPositions else { return plain.map { 1 / $0 } }
      let growth = factor * Double(length) / Double(maxPositions) - (factor - 1)
      return base(theta * pow(growth, Double(dimensions) / Double(dimensions - 2))).map { 1 / $0 }
    case .llama3(let factor, let low, let high, let original):
      let longest = Float(Double(original) / low)
      let shortest = Float(Double(original) / high)
      return plain.map { power in
        let frequency = 1 / power
        let wavelength = 2 * Float.pi / frequency
        if wavelength < shortest { return frequency }
        if wavelength > longest { return frequency / Float(factor) }
        let smooth = (Float(original) / wavelength - Float(low)) / Float(high - low)
        return (1 - smooth) * frequency / Float(factor) + smooth * frequency
      }
    case .yarn(let factor, let fast, let slow, let original, let truncates, _):
      func place(_ rotations: Double) -> Double {
        Double(dimensions) * log(Double(original) / (rotations * 2 * .pi)) / (2 * log(theta))
      }
      var low = place(fast)
      var high = place(slow)
      if truncates { (low, high) = (low.rounded(.down), high.rounded(.up)) }
      low = max(low, 0)
      high = min(high, Double(dimensions - 1))
      if low == high { high += 0.001 }
      return plain.enumerated().map { index, power in
        let kept = 1 - min(max((Float(index) - Float(low)) / Float(high - low), 0), 1)
        return 1 / (Float(factor) * power) * (1 - kept) + 1 / power * kept
      }
    case .longrope(let short, let long, let original, _):
      return zip(plain, length > original ? long : short).map { 1 / (Float($1) * $0) }
    }
  }

  /// Reads `rope_scaling` (transformers 4), `rope_parameters` (transformers 5) and the keys beside them.
  /// - Parameters:
  ///   - theta: the default base, and the older key that may hold it.
  ///   - partial: the default share of a head that turns, and the older key that may hold it.
  ///   - layerType: whose settings to take when they differ by `layer_types`.
  ///   - aliases: names of the scaling that the architecture reads as another one.
  /// - Throws: `invalidFile` (PLT-4102) naming a scaling that is not built, or the key that is missing.
  init(
    _ c: ConfigurationFields, headSize: Int, theta: (key: String, missing: Double) = ("rope_theta", 10_000),
    partial: (key: String, missing: Double) = ("partial_rotary_factor", 1), layerType: String? = nil, aliases: [String: String] = [:]
  ) throws {
    let key = (c.value("rope_scaling")?.objectValue?.isEmpty ?? true) ? "rope_parameters" : "rope_scaling"
    var settings = try c.object(key)
    if let layerType, settings.value(layerType)?.objectValue != nil {
      settings = try settings.object(layerType)
    } else if layerType == nil, let nested = settings.json.objectValue?.keys.first(where: { $0.hasSuffix("_attention") }) {
      throw ConfigurationFields.refusal("'\(settings.prefix + nested)': rotary settings by layer are not built for this architecture")
    }
    let maxPositions = try c.size("max_position_embeddings", 2048)
    self.maxPositions = maxPositions
    self.theta = try settings.optionalPositive("rope_theta") ?? c.positive(theta.key, theta.missing)
    let share = try settings.optionalPositive("partial_rotary_factor") ?? c.positive(partial.key, partial.missing)
    let dimensions = Int(Double(headSize) * share)
    guard share <= 1, dimensions >= 2, dimensions % 2 == 0 else {
      throw ConfigurationFields.refusal("\(dimensions) of a head's \(headSize) numbers cannot turn: an even count of at least 2 is needed")
    }
    self.dimensions = dimensions
    let named = try settings.text("rope_type") ?? settings.text("type") ?? "default"
    switch aliases[named] ?? named {
    case "default": scaling = .none
    case "linear": scaling = .linear(factor: try settings.positive("factor"))
    case "dynamic":
      guard dimensions > 2 else { throw ConfigurationFields.refusal("'\(settings.prefix)rope_type' dynamic needs more than 2 turning numbers") }
      try settings.refuse("alpha") { _ in false }
      let factor = try settings.positive("factor")
      guard factor >= 1 else { throw ConfigurationFields.refusal("'\(settings.prefix)factor' must be at least 1, found \(factor)") }
      scaling = .dynamic(factor: factor)
    case "llama3":
      let low = try settings.positive("low_freq_factor")
      let high = try settings.positive("high_freq_factor")
      guard high > low else { throw ConfigurationFields.refusal("'\(settings.prefix)high_freq_factor' must be above 'low_freq_factor'") }
      scaling = .llama3(
        factor: try settings.positive("factor"), low: low, high: high, original: try Self.original(c, settings, maxPositions))
    case "yarn":
      let original = try Self.original(c, settings, maxPositions)
      let factor = try settings.optionalPositive("factor") ?? Double(maxPositions) / Double(original)
      func growth(_ scale: Double, _ multiplier: Double = 1) -> Double { scale <= 1 ? 1 : 0.1 * multiplier * log(scale) + 1 }
      let multiplier = try settings.optionalNumber("mscale") ?? 0
      let multiplierOfAll = try settings.optionalNumber("mscale_all_dim") ?? 0
      let inferred = multiplier != 0 && multiplierOfAll != 0 ? growth(factor, multiplier) / growth(factor, multiplierOfAll) : growth(factor)
      scaling = .yarn(
        factor: factor, fast: try settings.optionalPositive("beta_fast") ?? 32, slow: try settings.optionalPositive("beta_slow") ?? 1,
        original: original, truncates: try settings.flag("truncate", true),
        amplitude: try settings.optionalNumber("attention_factor") ?? inferred)
    case "longrope":
      let original = try Self.original(c, settings, maxPositions)
      let factor = try settings.optionalPositive("factor") ?? Double(maxPositions) / Double(original)
      let short = try settings.numbers("short_factor")
      let long = try settings.numbers("long_factor")
      for (name, list) in [("short_factor", short), ("long_factor", long)] where list.count != dimensions / 2 || list.contains(where: { $0 <= 0 }) {
        throw ConfigurationFields.refusal("'\(settings.prefix + name)' must hold \(dimensions / 2) numbers above 0, found \(list.count)")
      }
      scaling = .longrope(
        short: short, long: long, original: original,
        amplitude: try settings.optionalNumber("attention_factor") ?? (factor <= 1 ? 1 : (1 + log(factor) / log(Double(original))).squareRoot()))
    default:
      throw ConfigurationFields.refusal(
        "'\(settings.prefix)rope_type' is '\(named)', which is not built; known are default, linear, dynamic, llama3, yarn and longrope")
    }
  }

  /// A length beside the settings goes before the one among them, as the reference has it.
  private static func original(_ c: ConfigurationFields, _ settings: ConfigurationFields, _ maxPositions: Int) throws -> Int {
    try c.optionalSize("original_max_position_embeddings") ?? settings.optionalSize("original_max_position_embeddings") ?? maxPositions
  }
}
