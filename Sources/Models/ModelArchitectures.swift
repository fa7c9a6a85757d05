// SPDX-License-Identifier: Apache-2.0

import Core

/// The architectures that are built, by `model_type` of `config.json`.
public enum ModelArchitectures {
  static let decoders: [any DecoderArchitecture.Type] = [
    Llama.self, Mistral.self, Qwen2.self, Qwen3.self, Gemma.self, Gemma2.self, Gemma3.self, Phi.self, Phi3.self, SmolLM3.self, Olmo.self,
    Olmo2.self, GPT2.self, GPTNeoX.self, Granite.self, Starcoder2.self, Mixtral.self, Qwen2Moe.self, Qwen3Moe.self, Olmoe.self, Dbrx.self,
  ]
  static let encoders: [any EncoderArchitecture.Type] = [Bert.self, Roberta.self, DistilBert.self, MPNet.self, ModernBert.self, NomicBert.self]

  /// `model_type`s that generate text, sorted.
  public static var decoderTypes: [String] { decoders.flatMap { $0.modelTypes }.sorted() }
  /// `model_type`s of text encoders, sorted.
  public static var encoderTypes: [String] { encoders.flatMap { $0.modelTypes }.sorted() }

  /// Whether a model folder holds an encoder (true) or a decoder (false). GGUF files hold decoders.
  /// - Throws: `notFound`; PLT-5200 for an architecture that is not built; PLT-5210 and 5211 for GGUF files that cannot be read.
  public static func isEncoder(directory: String) throws -> Bool {
    if let file = ModelFile.gguf(directory) {
      _ = try GGUFModel(path: file)
      return false
    }
    let fields = ConfigurationFields(json: try ModelFolder.configuration(directory))
    let type = try modelType(fields)
    if encoderTypes.contains(type) { return true }
    if decoderTypes.contains(type) { return false }
    throw unknown(type)
  }

  /// Whether a model folder holds an encoder that scores pairs of texts: one with a classification head of one label.
  /// - Throws: like `isEncoder`.
  public static func isCrossEncoder(directory: String) throws -> Bool {
    guard try isEncoder(directory: directory) else { return false }
    return CrossEncoder.isOne(ConfigurationFields(json: try ModelFolder.configuration(directory)))
  }

  /// `model_type` of a model folder's configuration.
  /// - Throws: `notFound`; `invalidFile` (PLT-4102) when it does not say.
  public static func modelType(directory: String) throws -> String {
    try modelType(ConfigurationFields(json: ModelFolder.configuration(directory)))
  }

  static func decoder(_ c: ConfigurationFields) throws -> any DecoderArchitecture.Type {
    let type = try modelType(c)
    if let known = decoders.first(where: { $0.modelTypes.contains(type) }) { return known }
    throw encoderTypes.contains(type)
      ? PlatformError(
        .invalidArgument, "'\(type)' is a text encoder, which has no next token", hint: "Use 'platform model hidden' or 'embed'.", number: "PLT-5200")
      : unknown(type)
  }

  static func encoder(_ c: ConfigurationFields) throws -> any EncoderArchitecture.Type {
    let type = try modelType(c)
    if let known = encoders.first(where: { $0.modelTypes.contains(type) }) { return known }
    throw unknown(type)
  }

  private static func modelType(_ c: ConfigurationFields) throws -> String {
    try c.refuse("quantization_config") { _ in false }
    guard let type = try c.text("model_type") else {
      throw ConfigurationFields.refusal("'model_type' is missing", hint: "Known are \((decoderTypes + encoderTypes).joined(separator: ", ")).")
    }
    return type
  }

  private static func unknown(_ type: String) -> PlatformError {
    PlatformError(
      .invalidFile, "the architecture '\(type)' is not built",
      hint: "Known are: \(decoderTypes.joined(separator: ", ")); encoders: \(encoderTypes.joined(separator: ", ")).", number: "PLT-5200")
  }
}
