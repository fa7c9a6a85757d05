// SPDX-License-Identifier: Apache-2.0

import Core

/// Typed access to a `config.json`, with errors that name the key. A key that is null counts as absent.
struct ConfigurationFields {
  var json: JSONValue
  var prefix = ""

  /// What a model of this configuration cannot be: PLT-4102.
  static func refusal(_ message: String, hint: String = "") -> PlatformError {
    PlatformError(.invalidFile, message, hint: hint, number: "PLT-4102")
  }

  func value(_ key: String) -> JSONValue? {
    if let value = json[key], value != .null { value } else { nil }
  }

  func has(_ key: String) -> Bool { value(key) != nil }

  /// A member that is an object; empty when it is absent.
  func object(_ key: String) throws -> ConfigurationFields {
    guard let value = value(key) else { return ConfigurationFields(json: .object([:]), prefix: prefix + key + ".") }
    guard value.objectValue != nil else { throw Self.refusal("'\(prefix + key)' must be an object") }
    return ConfigurationFields(json: value, prefix: prefix + key + ".")
  }

  /// A size from 1 to 2^26, the bound of what is multiplied later without overflow.
  func size(_ key: String, _ missing: Int? = nil) throws -> Int {
    guard let value = value(key) else {
      if let missing { return missing }
      throw Self.refusal("'\(prefix + key)' is missing")
    }
    guard let size = value.intValue, size > 0, size <= 1 << 26 else {
      throw Self.refusal("'\(prefix + key)' must be a whole number from 1 to \(1 << 26), found \(value.sortedText)")
    }
    return size
  }

  func optionalSize(_ key: String) throws -> Int? { has(key) ? try size(key) : nil }

  /// A count that may be 0.
  func count(_ key: String, _ missing: Int) throws -> Int { value(key)?.intValue == 0 ? 0 : try size(key, missing) }

  func optionalNumber(_ key: String) throws -> Double? {
    guard let value = value(key) else { return nil }
    guard let number = value.doubleValue, number.isFinite else {
      throw Self.refusal("'\(prefix + key)' must be a number, found \(value.sortedText)")
    }
    return number
  }

  func number(_ key: String, _ missing: Double? = nil) throws -> Double {
    guard let number = try optionalNumber(key) ?? missing else { throw Self.refusal("'\(prefix + key)' is missing") }
    return number
  }

  /// A number above 0.
  func positive(_ key: String, _ missing: Double? = nil) throws -> Double {
    let number = try number(key, missing)
    guard number > 0 else { throw Self.refusal("'\(prefix + key)' must be above 0, found \(number)") }
    return number
  }

  func optionalPositive(_ key: String) throws -> Double? { has(key) ? try positive(key) : nil }

  /// The number added to a variance: 0 or above, below 1.
  func epsilon(_ key: String, _ missing: Double) throws -> Float {
    let number = try number(key, missing)
    guard number >= 0, number < 1 else { throw Self.refusal("'\(prefix + key)' must lie between 0 and 1, found \(number)") }
    return Float(number)
  }

  func flag(_ key: String, _ missing: Bool) throws -> Bool {
    guard let value = value(key) else { return missing }
    guard let flag = value.boolValue else { throw Self.refusal("'\(prefix + key)' must be true or false") }
    return flag
  }

  func text(_ key: String) throws -> String? {
    guard let value = value(key) else { return nil }
    guard let text = value.stringValue else { throw Self.refusal("'\(prefix + key)' must be a text") }
    return text
  }

  func list(_ key: String) throws -> [JSONValue]? {
    guard let value = value(key) else { return nil }
    guard let items = value.arrayValue else { throw Self.refusal("'\(prefix + key)' must be a list") }
    return items
  }

  func numbers(_ key: String) throws -> [Double] {
    guard let items = try list(key) else { throw Self.refusal("'\(prefix + key)' is missing") }
    return try items.map {
      guard let number = $0.doubleValue, number.isFinite else { throw Self.refusal("'\(prefix + key)' must hold numbers") }
      return number
    }
  }

  /// A token id or a list of them. -1 is how some files spell "none".
  func tokens(_ key: String) throws -> [Int] {
    guard let value = value(key) else { return [] }
    let ids = (value.arrayValue ?? [value]).map(\.intValue)
    guard !ids.contains(nil) else { throw Self.refusal("'\(prefix + key)' must be a token id or a list of them") }
    return ids.compactMap { $0 }.filter { $0 != -1 }
  }

  func activation(_ key: String, _ missing: String) throws -> Activation {
    let name = try text(key) ?? missing
    guard let activation = Activation(name) else {
      throw Self.refusal("'\(prefix + key)' is '\(name)', which is not built; known are \(Activation.names.joined(separator: ", "))")
    }
    return activation
  }

  /// Refuses a setting that would change the numbers in a way that is not built.
  func refuse(_ key: String, unless isHarmless: (JSONValue) -> Bool) throws {
    guard let value = value(key), !isHarmless(value) else { return }
    throw Self.refusal("'\(prefix + key)' is \(value.sortedText), which is not built")
  }

  /// `layer_types` of `count` layers: whether each attends to a window. Nil when the file does not say.
  func slidingLayers(_ count: Int) throws -> [Bool]? {
    guard let items = try list("layer_types") else { return nil }
    guard items.count == count else {
      throw Self.refusal("'\(prefix)layer_types' has \(items.count) entries, the model has \(count) layers")
    }
    return try items.map { item in
      switch item.stringValue {
      case "full_attention": false
      case "sliding_attention": true
      default:
        throw Self.refusal(
          "'\(prefix)layer_types' names \(item.sortedText); only full_attention and sliding_attention are built")
      }
    }
  }
}

extension ConfigurationFields {
  /// A number of layers or experts: at most 4096, so that a bad file cannot make the loader plan for ever.
  func layers(_ key: String, _ missing: Int? = nil) throws -> Int {
    let count = try size(key, missing)
    guard count <= 4096 else { throw Self.refusal("'\(prefix + key)' is \(count), the most is 4096") }
    return count
  }
}
