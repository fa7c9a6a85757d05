// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Foundation
import Models
import Tokenizers

/// `platform model`: models from their folders, without a cluster.
struct ModelCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "model", abstract: "Compute with a model folder on this machine, without a cluster.",
    discussion: """
      DIR is a folder in Hugging Face layout, config.json and safetensors (one file or shards), or a GGUF file.
      Everything is computed in f32 from weights of any float type, or with smaller weights by --dtype. Known architectures:
        decoders  \(lines(ModelArchitectures.decoderTypes))
        encoders  \(lines(ModelArchitectures.encoderTypes))
      Registered models are 'platform models'.

      EXAMPLES
        echo '[1, 15, 27]' > ids.json
        platform model logits ./model --ids ids.json --out logits.f32
        platform model generate ./model --ids ids.json --max-tokens 20 --tensor-parallel 2
        platform model embed ./encoder --batch batch.json --pooling mean --out vectors.f32
        platform model rerank ./cross-encoder --query "open files" --documents texts.json
      """, subcommands: [Logits.self, Generate.self, Hidden.self, Embed.self, Rerank.self, Render.self, Bench.self, Rank.self])

  private static func lines(_ names: [String]) -> String {
    stride(from: 0, to: names.count, by: 7).map { names[$0..<min($0 + 7, names.count)].joined(separator: ", ") }.joined(separator: ",\n            ")
  }

  struct Logits: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The logits of every position of a text.",
      discussion: "Writes raw little-endian f32: for each of the T token ids a row of V numbers, V the vocabulary's size.")
    @Argument(help: ArgumentHelp("Folder of the model, or a GGUF file.", valueName: "dir")) var directory: String
    @Option(help: "File with a JSON list of token ids.") var ids: String
    @Option(help: "File to write.") var out: String
    @OptionGroup var compute: ModelComputeOptions

    @OptionGroup var split: ModelSplitOptions

    func run() async throws {
      let work = try split.work(directory, compute.checked()) { try ModelFiles.ids(ids) }
      let vocabulary = try await work.runWithOthers { sequence in
        try ModelFiles.write(out) { try work.logits(sequence, $0) }
        return sequence.model.vocabularySize
      }
      Report.note("\(Report.check) \(out): \(work.ids.count) x \(vocabulary) f32")
    }
  }

  struct Generate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The most likely continuation of a text.",
      discussion: """
        Takes the token with the largest logit each time (the lowest id of equal ones), as greedy search does. Ends after N tokens, or with
        the first token that ends a text (it is part of the answer): eos_token_id of generation_config.json, or of config.json when there
        is no such file. Other settings of generation_config.json are not applied.
        The last line of the standard output is a JSON list of the new token ids.
        """)
    @Argument(help: ArgumentHelp("Folder of the model, or a GGUF file.", valueName: "dir")) var directory: String
    @Option(help: "File with a JSON list of token ids.") var ids: String
    @Option(name: .long, help: "The most tokens to make.") var maxTokens: Int
    @Flag(help: "Go on behind tokens that end a text.") var ignoreEos = false
    @Option(help: "Suppose up to N (8 at most) tokens from what was said before and check them in one step; the answer stays the same.")
    var speculate = 0
    @OptionGroup var compute: ModelComputeOptions

    @OptionGroup var split: ModelSplitOptions

    func run() async throws {
      let options = try compute.checked()
      guard maxTokens >= 0, maxTokens <= 1 << 20 else {
        throw PlatformError(.invalidArgument, "--max-tokens \(maxTokens) is not from 0 to \(1 << 20)", number: "PLT-5202")
      }
      guard (0...PromptLookup.limit).contains(speculate) else {
        throw PlatformError(.invalidArgument, "--speculate \(speculate) is not from 0 to \(PromptLookup.limit)", number: "PLT-5201")
      }
      var work = try split.work(directory, options) { try ModelFiles.ids(ids) }
      work.limit = maxTokens
      work.speculation = speculate
      work.ignoresEnds = ignoreEos
      let made = try await work.runWithOthers { [work] in try work.generate($0) }
      Report.data(JSONValue.array(made.map { .integer(Int64($0)) }).sortedText)
    }
  }

  struct Hidden: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The last hidden state of every position of a text.",
      discussion: """
        Writes raw little-endian f32: for each of the T token ids a row of H numbers, H the model's width. Encoders, and decoders (whose
        states are those behind the final norm).
        """)
    @Argument(help: ArgumentHelp("Folder of the model, or a GGUF file.", valueName: "dir")) var directory: String
    @Option(help: "File with a JSON list of token ids.") var ids: String
    @Option(help: "File to write.") var out: String
    @OptionGroup var compute: ModelComputeOptions

    func run() throws {
      let (threads, precision) = try compute.checked()
      let tokens = try ModelFiles.ids(ids)
      let source = try StateSource(directory, threads, precision)
      let states = try source.states(tokens)
      try ModelFiles.write(out) { sink in try states.withUnsafeBytes { try sink($0) } }
      Report.note("\(Report.check) \(out): \(tokens.count) x \(source.width) f32")
    }
  }

  struct Embed: ParsableCommand {
    enum Pooling: String, ExpressibleByArgument, CaseIterable { case mean, cls, last }

    static let configuration = CommandConfiguration(
      abstract: "One vector of length 1 for each text of a batch.",
      discussion: """
        Writes raw little-endian f32: for each of the n texts a row of H numbers. Texts may be of different lengths; no padding is needed or
        made. Encoders, and decoders that embed (usually with --pooling last).
        """)
    @Argument(help: ArgumentHelp("Folder of the model, or a GGUF file.", valueName: "dir")) var directory: String
    @Option(help: "File with a JSON list of lists of token ids.") var batch: String
    @Option(help: "How a text's states become one vector: mean of all, cls (the first) or last.") var pooling: Pooling
    @Option(help: "File to write.") var out: String
    @OptionGroup var compute: ModelComputeOptions

    func run() throws {
      let (threads, precision) = try compute.checked()
      let texts = try ModelFiles.idLists(batch)
      guard !texts.isEmpty else { throw ModelFiles.refuse("holds no texts", batch) }
      let source = try StateSource(directory, threads, precision)
      try source.check(texts)
      try ModelFiles.write(out) { sink in
        for text in texts {
          let states = try source.states(text)
          try pooled(states, source.width).withUnsafeBytes { try sink($0) }
        }
      }
      Report.note("\(Report.check) \(out): \(texts.count) x \(source.width) f32")
    }

    private func pooled(_ states: [Float], _ width: Int) -> [Float] {
      let rows = states.count / width
      let vector: [Float]
      switch pooling {
      case .cls: vector = Array(states[..<width])
      case .last: vector = Array(states[((rows - 1) * width)...])
      case .mean: vector = (0..<width).map { column in Float((0..<rows).reduce(0.0) { $0 + Double(states[$1 * width + column]) } / Double(rows)) }
      }
      let length = vector.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      return vector.map { Float(Double($0) / max(length, 1e-12)) }
    }
  }

  struct Render: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The text that a chat template makes of a conversation.",
      discussion: """
        TEMPLATE is a file with the template, or a model folder that has chat_template.jinja or a chat_template in tokenizer_config.json.
        The context is a JSON object with what the template asks for: messages, tools, add_generation_prompt, bos_token, ..
        A template that fails, or refuses the conversation, ends the command with an error.
        """)
    @Argument(help: "File with a chat template, a model folder, or a GGUF file.") var template: String
    @Option(help: "File with a JSON object.") var context: String
    @Option(help: "File to write.") var out: String

    func run() throws {
      let rendering = try ChatTemplate(source()).render(contextJSON: [UInt8](ModelFiles.bytes(context)))
      try ModelFiles.write(out) { sink in try Array(rendering.text.utf8).withUnsafeBytes { try sink($0) } }
      Report.note("\(Report.check) \(out): \(rendering.text.utf8.count) bytes")
    }

    private func source() throws -> String {
      if let file = ModelFile.gguf(template) {
        guard let stored = try GGUFVocabulary(path: file).chatTemplate else {
          throw PlatformError(.notFound, "the GGUF file has no chat template", number: "PLT-5202", path: file)
        }
        return stored
      }
      var isDirectory: ObjCBool = false
      guard FileManager.default.fileExists(atPath: template, isDirectory: &isDirectory), isDirectory.boolValue else {
        return try text(ModelFiles.bytes(template), template)
      }
      let jinja = template + "/chat_template.jinja"
      if FileManager.default.fileExists(atPath: jinja) { return try text(ModelFiles.bytes(jinja), jinja) }
      let settings = template + "/tokenizer_config.json"
      if FileManager.default.fileExists(atPath: settings), let found = try JSONValue(parsing: ModelFiles.bytes(settings))["chat_template"] {
        if let one = found.stringValue { return one }
        if let named = found.arrayValue?.first(where: { $0["name"] == "default" })?["template"]?.stringValue { return named }
      }
      throw PlatformError(
        .notFound, "the folder has no chat template", hint: "It should hold chat_template.jinja, or tokenizer_config.json with a chat_template.",
        number: "PLT-5202", path: template)
    }

    private func text(_ data: Data, _ path: String) throws -> String {
      guard let text = String(data: data, encoding: .utf8) else { throw ModelFiles.refuse("the template is not UTF-8", path) }
      return text
    }
  }
}

/// Hidden states of an encoder or a decoder.
private struct StateSource {
  private enum Kind {
    case encoder(EncoderModel)
    case decoder(SingleSequence)
  }
  private let kind: Kind
  private let threads: Int

  init(_ directory: String, _ threads: Int, _ precision: WeightPrecision) throws {
    kind =
      try ModelArchitectures.isEncoder(directory: directory)
      ? .encoder(EncoderModel(directory: directory, precision: precision))
      : .decoder(SingleSequence(model: DecoderModel(directory: directory, precision: precision), threads: threads))
    self.threads = threads
  }

  var width: Int {
    switch kind {
    case .encoder(let encoder): encoder.hiddenSize
    case .decoder(let sequence): sequence.model.hiddenSize
    }
  }

  /// Refuses a bad text before the first one is computed.
  func check(_ texts: [[Int32]]) throws {
    for (index, text) in texts.enumerated() where text.isEmpty {
      throw PlatformError(.invalidArgument, "text \(index) has no token ids", number: "PLT-5202")
    }
    if case .encoder(let encoder) = kind { try encoder.check(texts) }
  }

  func states(_ ids: [Int32]) throws -> [Float] {
    switch kind {
    case .encoder(let encoder): return try encoder.hiddenStates([ids], threads: threads)
    case .decoder(let sequence):
      var all: [Float] = []
      try sequence.hiddenStates(ids) { all.append(contentsOf: $0) }
      return all
    }
  }
}
