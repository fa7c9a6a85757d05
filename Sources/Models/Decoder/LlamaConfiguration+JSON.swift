// SPDX-License-Identifier: Apache-2.0

public import Core

extension LlamaConfiguration: Codable {
  public init(from decoder: any Decoder) throws { try self.init(json: JSONValue(from: decoder)) }
  public func encode(to encoder: any Encoder) throws { try json.encode(to: encoder) }
}

extension LlamaConfiguration {
  /// Parses the content of a `config.json`.
  /// - Throws: `invalidFile` (PLT-4102) naming the key that is missing, out of range or not supported.
  public init(json: JSONValue) throws {
    guard case .object = json else { throw Self.refusal("the configuration is not a JSON object") }
    let fields = Fields(json: json)
    if json["auto_map"] != nil, json["auto_map"] != .null {
      throw Self.refusal("'auto_map' asks to run code that ships with the model, which is never done")
    }
    if let names = json["architectures"]?.arrayValue, names != ["LlamaForCausalLM"] {
      throw Self.refusal("'architectures' is \(JSONValue.array(names).sortedText); only [\"LlamaForCausalLM\"] is supported")
    }
    guard json["model_type"]?.stringValue == "llama" else {
      throw Self.refusal("'model_type' is \((json["model_type"] ?? .null).sortedText); only \"llama\" is supported")
    }
    if let quantization = json["quantization_config"], quantization != .null {
      throw Self.refusal("'quantization_config': quantized weights are not supported")
    }
    let activation = json["hidden_act"]?.stringValue ?? "silu"
    guard activation == "silu" else { throw Self.refusal("'hidden_act' is '\(activation)'; only 'silu' is supported") }

    let hidden = try fields.size("hidden_size", limit: 1 << 17)
    let heads = try fields.size("num_attention_heads", limit: 1 << 12)
    self.init(
      vocabularySize: try fields.size("vocab_size", limit: 1 << 24), hiddenSize: hidden,
      intermediateSize: try fields.size("intermediate_size", limit: 1 << 20),
      layerCount: try fields.size("num_hidden_layers", limit: 1 << 12), headCount: heads,
      keyValueHeadCount: try fields.optionalSize("num_key_value_heads", limit: 1 << 12),
      headSize: try fields.optionalSize("head_dim", limit: 1 << 12),
      normEpsilon: try fields.positive("rms_norm_eps") ?? 1e-6,
      maxPositions: try fields.optionalSize("max_position_embeddings", limit: 1 << 26) ?? 2048,
      tieWordEmbeddings: try fields.flag("tie_word_embeddings"), attentionBias: try fields.flag("attention_bias"),
      mlpBias: try fields.flag("mlp_bias"), bosTokenID: try fields.tokens("bos_token_id").first,
      eosTokenIDs: try fields.tokens("eos_token_id"), padTokenID: try fields.tokens("pad_token_id").first,
      storageType: json["dtype"]?.stringValue ?? json["torch_dtype"]?.stringValue ?? "float32")
    (ropeTheta, ropeScaling) = try Self.rope(json, maxPositions: maxPositions)
    try validate()
  }

  /// Checks how the fields fit together; `init(json:)` has called it.
  /// - Throws: `invalidFile` (PLT-4102).
  public func validate() throws {
    for (key, value) in [
      ("vocab_size", vocabularySize), ("hidden_size", hiddenSize), ("intermediate_size", intermediateSize),
      ("num_hidden_layers", layerCount), ("num_attention_heads", headCount), ("num_key_value_heads", keyValueHeadCount),
      ("head_dim", headSize), ("max_position_embeddings", maxPositions),
    ] where value < 1 {
      throw Self.refusal("'\(key)' must be positive, found \(value)")
    }
    if headCount % keyValueHeadCount != 0 {
      throw Self.refusal("'num_key_value_heads' (\(keyValueHeadCount)) does not divide 'num_attention_heads' (\(headCount))")
    }
    if headSize % 2 != 0 { throw Self.refusal("'head_dim' (\(headSize)) must be even for rotary positions") }
    if !(normEpsilon > 0 && normEpsilon < 1) { throw Self.refusal("'rms_norm_eps' must lie between 0 and 1") }
    if !(ropeTheta.isFinite && ropeTheta > 0) { throw Self.refusal("'rope_theta' must be positive") }
    for (key, ids) in [("bos_token_id", bosTokenID.map { [$0] } ?? []), ("eos_token_id", eosTokenIDs)] {
      if let bad = ids.first(where: { $0 < 0 || $0 >= vocabularySize }) {
        throw Self.refusal("'\(key)' \(bad) is outside the vocabulary of \(vocabularySize)")
      }
    }
    if !["float32", "bfloat16", "float16"].contains(storageType) {
      throw Self.refusal("'torch_dtype' is '\(storageType)'; only float32, bfloat16 and float16 are supported")
    }
  }

  /// The `config.json` document.
  public var json: JSONValue {
    var rope: [String: JSONValue] = ["rope_type": "default"]
    switch ropeScaling {
    case .none: break
    case .linear(let factor):
      rope = ["rope_type": "linear", "factor": .number(factor)]
    case .llama3(let factor, let low, let high, let original):
      rope = [
        "rope_type": "llama3", "factor": .number(factor), "low_freq_factor": .number(low), "high_freq_factor": .number(high),
        "original_max_position_embeddings": .integer(Int64(original)),
      ]
    }
    func optional(_ id: Int?) -> JSONValue { id.map { .integer(Int64($0)) } ?? .null }
    let ends: JSONValue =
      eosTokenIDs.count > 1 ? .array(eosTokenIDs.map { .integer(Int64($0)) }) : optional(eosTokenIDs.first)
    // transformers 5 prefers `rope_scaling` when it is present, so that copy carries theta as well.
    let withTheta = rope.merging(["rope_theta": .number(ropeTheta)]) { $1 }
    return .object([
      "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
      "vocab_size": .integer(Int64(vocabularySize)), "hidden_size": .integer(Int64(hiddenSize)),
      "intermediate_size": .integer(Int64(intermediateSize)), "num_hidden_layers": .integer(Int64(layerCount)),
      "num_attention_heads": .integer(Int64(headCount)), "num_key_value_heads": .integer(Int64(keyValueHeadCount)),
      "head_dim": .integer(Int64(headSize)), "rms_norm_eps": .number(normEpsilon), "rope_theta": .number(ropeTheta),
      "rope_scaling": ropeScaling == .none ? .null : .object(withTheta), "rope_parameters": .object(withTheta),
      "max_position_embeddings": .integer(Int64(maxPositions)), "tie_word_embeddings": .bool(tieWordEmbeddings),
      "attention_bias": .bool(attentionBias), "mlp_bias": .bool(mlpBias), "attention_dropout": .number(0),
      "bos_token_id": optional(bosTokenID), "eos_token_id": ends, "pad_token_id": optional(padTokenID),
      "torch_dtype": .string(storageType), "dtype": .string(storageType), "initializer_range": .number(0.02),
      "use_cache": true, "pretraining_tp": 1,
    ])
  }

  private static func rope(_ json: JSONValue, maxPositions: Int) throws -> (Double, RopeScaling) {
    func members(_ key: String) throws -> JSONValue? {
      guard let value = json[key], value != .null else { return nil }
      guard value.objectValue != nil else { throw refusal("'\(key)' must be an object") }
      return value
    }
    // rope_parameters is the newer spelling and carries theta itself.
    let key = try members("rope_parameters") != nil ? "rope_parameters" : "rope_scaling"
    let settings = try members(key) ?? .object([:])
    let fields = Fields(json: settings, prefix: key + ".")
    let theta = try fields.positive("rope_theta") ?? Fields(json: json).positive("rope_theta") ?? 10_000
    let kind = settings["rope_type"]?.stringValue ?? settings["type"]?.stringValue ?? "default"
    switch kind {
    case "default": return (theta, .none)
    case "linear": return (theta, .linear(factor: try fields.required("factor")))
    case "llama3":
      let low = try fields.required("low_freq_factor")
      let high = try fields.required("high_freq_factor")
      guard high > low else { throw refusal("'\(key).high_freq_factor' must be above 'low_freq_factor'") }
      return (
        theta,
        .llama3(
          factor: try fields.required("factor"), lowFrequencyFactor: low, highFrequencyFactor: high,
          originalMaxPositions: try fields.optionalSize("original_max_position_embeddings", limit: 1 << 26) ?? maxPositions)
      )
    default:
      throw refusal("'\(key).rope_type' is '\(kind)'; only default, linear and llama3 are supported")
    }
  }

  static func refusal(_ message: String) -> PlatformError { PlatformError(.invalidFile, message, number: "PLT-4102") }

  /// Typed access to the members of one JSON object, with errors that name the key.
  private struct Fields {
    var json: JSONValue
    var prefix = ""

    func value(_ key: String) -> JSONValue? {
      if let value = json[key], value != .null { value } else { nil }
    }

    func size(_ key: String, limit: Int) throws -> Int {
      guard let size = try optionalSize(key, limit: limit) else { throw refusal("'\(prefix + key)' is missing") }
      return size
    }

    func optionalSize(_ key: String, limit: Int) throws -> Int? {
      guard let value = value(key) else { return nil }
      guard let size = value.intValue, size > 0, size <= limit else {
        throw refusal("'\(prefix + key)' must be a whole number from 1 to \(limit), found \(value.sortedText)")
      }
      return size
    }

    func positive(_ key: String) throws -> Double? {
      guard let value = value(key) else { return nil }
      guard let number = value.doubleValue, number.isFinite, number > 0 else {
        throw refusal("'\(prefix + key)' must be a positive number, found \(value.sortedText)")
      }
      return number
    }

    func required(_ key: String) throws -> Double {
      guard let number = try positive(key) else { throw refusal("'\(prefix + key)' is missing") }
      return number
    }

    func flag(_ key: String) throws -> Bool {
      guard let value = value(key) else { return false }
      guard let flag = value.boolValue else { throw refusal("'\(prefix + key)' must be true or false") }
      return flag
    }

    /// A token id or a list of them. -1 is how some files spell "none".
    func tokens(_ key: String) throws -> [Int] {
      guard let value = value(key) else { return [] }
      let ids = (value.arrayValue ?? [value]).map(\.intValue)
      guard !ids.contains(nil) else { throw refusal("'\(prefix + key)' must be a token id or a list of them") }
      return ids.compactMap { $0 }.filter { $0 != -1 }
    }
  }
}
