// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

@Suite struct EncoderConfigurationTests {
  private func configuration(_ changes: [String: JSONValue]) throws -> BertConfiguration {
    var members: [String: JSONValue] = [
      "model_type": "bert", "vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
      "intermediate_size": 16, "max_position_embeddings": 4,
    ]
    members.merge(changes) { $1 }
    return try BertConfiguration(json: .object(members), path: "config.json")
  }

  @Test func defaultsAreBerts() throws {
    let parsed = try configuration([:])
    #expect(parsed.activation == .geluErf && parsed.layerNormEpsilon == 1e-12 && parsed.headSize == 4)
  }

  @Test(arguments: [
    ("auto_map", JSONValue.object(["AutoModel": "x.Y"])), ("model_type", "modernbert"), ("hidden_act", "swish"),
    ("num_attention_heads", 3), ("hidden_size", -8), ("vocab_size", "many"), ("position_embedding_type", "relative_key"),
    ("is_decoder", true), ("num_hidden_layers", 1_000_000_000),
  ]) func unsupportedIsRefused(member: String, value: JSONValue) {
    let error = #expect(throws: PlatformError.self) { try configuration([member: value]) }
    #expect(error?.code == .invalidFile && error?.number == "PLT-4102" && error?.path == "config.json")
  }

  @Test func poolingFilesAreFollowed() throws {
    let folder = TemporaryDirectory("pooling")
    #expect(try SentencePooling(folder: folder.path) == SentencePooling(mode: .mean, normalizes: true))
    func write(_ text: String, _ name: String) throws {
      try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file(name)))
    }
    try FileManager.default.createDirectory(atPath: folder.file("p"), withIntermediateDirectories: false)
    try write(#"[{"path":"","type":"a.Transformer"},{"path":"p","type":"a.Pooling"}]"#, "modules.json")
    try write(#"{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false}"#, "p/config.json")
    try write(#"{"max_seq_length":128}"#, "sentence_bert_config.json")
    #expect(
      try SentencePooling(folder: folder.path) == SentencePooling(mode: .cls, normalizes: false, truncationTokens: 128))
    try write(#"{"pooling_mode_max_tokens":true}"#, "p/config.json")
    #expect(throws: PlatformError.self) { try SentencePooling(folder: folder.path) }
    try write(#"[{"path":"2","type":"a.Dense"}]"#, "modules.json")
    #expect(throws: PlatformError.self) { try SentencePooling(folder: folder.path) }
  }

  @Test func batchesRespectTheLimitAndKeepEveryRow() {
    let counts = [5, 512, 1, 30, 30, 7]
    let batches = BertEncoder.batches(counts, limit: 40)
    #expect(batches.flatMap { $0 }.sorted() == Array(0..<6))
    #expect(batches.allSatisfy { $0.count == 1 || $0.reduce(0) { $0 + counts[$1] } <= 40 })
    #expect(BertEncoder.batches([], limit: 4).isEmpty)
  }
}

/// Each instruction set against formulas in double, at odd lengths. Serialised: the instruction set is process-wide.
@Suite(.serialized) struct EncoderKernelTests {
  private func numbers(_ count: Int, seed: UInt64, scale: Double = 4) -> [Float] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { _ in Float((random.nextUnit() - 0.5) * scale) }
  }

  @Test(arguments: [Int32(0), 1, 2], [1, 3, 15, 16, 17, 31, 33, 100, 385])
  func kernelsMatchTheirFormulas(isa: Int32, width: Int) {
    pk_encoder_set_isa(isa)
    defer { pk_encoder_set_isa(-1) }
    let a = numbers(width, seed: 1)
    let b = numbers(width, seed: 2)
    let pairs = zip(a, b).map { (Double($0), Double($1)) }
    #expect(abs(Double(pk_dot_f32(a, b, width)) - pairs.reduce(0) { $0 + $1.0 * $1.1 }) < 1e-4 * Double(width))
    let squared = pairs.reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    #expect(abs(Double(pk_l2sq_f32(a, b, width)) - squared) < 1e-5 * (1 + squared))

    var rows = a + numbers(width, seed: 3, scale: 20)
    let input = rows
    pk_softmax_rows_f32(&rows, 0.5, 2, width, width)
    for row in 0..<2 {
      let part = input[row * width..<(row + 1) * width].map { exp(Double($0) * 0.5) }
      let sum = part.reduce(0, +)
      for (got, want) in zip(rows[row * width..<(row + 1) * width], part) { #expect(abs(Double(got) - want / sum) < 1e-6) }
    }

    let gain = numbers(width, seed: 4)
    let shift = numbers(width, seed: 5)
    var x = input
    let residual = numbers(2 * width, seed: 6)
    pk_layernorm_f32(&x, b, residual, gain, shift, 1e-5, 2, width)
    for row in 0..<2 {
      let values = (0..<width).map { Double(input[row * width + $0]) + Double(b[$0]) + Double(residual[row * width + $0]) }
      let mean = values.reduce(0, +) / Double(width)
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width)
      for c in 0..<width {
        let want = (values[c] - mean) / (variance + 1e-5).squareRoot() * Double(gain[c]) + Double(shift[c])
        #expect(abs(Double(x[row * width + c]) - want) < 2e-4)
      }
    }

    let wide = numbers(2 * width, seed: 7, scale: 24)
    let zero = [Float](repeating: 0, count: width)
    var erfed = wide
    pk_bias_gelu_erf_f32(&erfed, zero, 2, width)
    var tanhed = wide
    pk_bias_gelu_tanh_f32(&tanhed, zero, 2, width)
    for (index, value) in wide.map(Double.init).enumerated() {
      let exact = 0.5 * value * (1 + erf(value / 2.0.squareRoot()))
      #expect(abs(Double(erfed[index]) - exact) < 5e-7 * (1 + abs(value)))
      let approximate = 0.5 * value * (1 + tanh((2 / Double.pi).squareRoot() * (value + 0.044715 * value * value * value)))
      #expect(abs(Double(tanhed[index]) - approximate) < 2e-6 * (1 + abs(value)))
    }
  }
}

@Suite struct EncoderPeerTests {
  /// Writes `count` token lists (1 to `longest` tokens) and the reference vectors of a folder's model.
  static let reference = """
    import sys, json, time, torch, transformers
    folder, out, count, longest, mode = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    torch.set_num_threads(1); torch.manual_seed(7)
    transformers.logging.set_verbosity_error()
    if len(sys.argv) > 6:
        config = transformers.BertConfig(**json.loads(sys.argv[6]))
        # A masked language model stores the same weights with the prefix "bert.".
        made = transformers.BertModel(config, add_pooling_layer=False)
        if mode == "cls": made = transformers.BertForMaskedLM(config)
        with torch.no_grad():
            for p in made.parameters(): p.add_(torch.randn_like(p) * 0.05)
        made.save_pretrained(folder)
    model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
    texts, vectors = [], []
    begin = time.time()
    with torch.inference_mode():
        for i in range(count):
            n = 1 + (i * (longest - 1)) // max(1, count - 1)
            ids = torch.randint(0, model.config.vocab_size, (1, n))
            y = model(ids).last_hidden_state[0]
            v = y.mean(0) if mode == "mean" else y[0]
            texts.append(ids[0].tolist()); vectors.append((v / v.norm()).tolist())
    json.dump({"texts": texts, "vectors": vectors}, open(out, "w"))
    """

  struct Reference: Decodable {
    var texts: [[Int32]]
    var vectors: [[Float]]
  }

  private func compare(_ encoder: BertEncoder, _ path: String, threads: Int) throws {
    let expected = try JSONDecoder().decode(Reference.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    let got = try encoder.encode(expected.texts, threads: threads)
    var worst: Float = 1
    for (ours, theirs) in zip(got, expected.vectors) {
      worst = min(worst, pk_dot_f32(ours, theirs, ours.count) / pk_dot_f32(ours, ours, ours.count).squareRoot())
    }
    #expect(got.count == expected.texts.count && worst > 0.99999, "worst cosine \(worst)")
  }

  @Test(
    .enabled(if: Peers.python != nil, "no peer environment"),
    .enabled(if: InstalledFiles.find("models/all-MiniLM-L6-v2") != nil, "all-MiniLM-L6-v2 is not installed"))
  func miniLMEqualsTransformersOnTwoHundredTexts() throws {
    let folder = try InstalledFiles.require("models/all-MiniLM-L6-v2", what: "all-MiniLM-L6-v2")
    let temporary = TemporaryDirectory("encoder")
    _ = try Peers.run(Self.reference, [folder, temporary.file("out.json"), "200", "512", "mean"])
    let encoder = try BertEncoder(folder: folder)
    #expect(encoder.dimension == 384 && encoder.maximumTokens == 512 && encoder.truncationTokens == 256)
    #expect(encoder.pooling == SentencePooling(mode: .mean, normalizes: true, truncationTokens: 256))
    try compare(encoder, temporary.file("out.json"), threads: 2)
  }

  @Test(
    .enabled(if: Peers.python != nil, "no peer environment"),
    arguments: [
      (
        #"{"vocab_size":97,"hidden_size":20,"num_hidden_layers":3,"num_attention_heads":5,"#
          + #""intermediate_size":33,"max_position_embeddings":40}"#,
        40, "mean"
      ),
      (
        #"{"vocab_size":50,"hidden_size":48,"num_hidden_layers":1,"num_attention_heads":1,"#
          + #""intermediate_size":7,"max_position_embeddings":9,"hidden_act":"gelu_new","type_vocab_size":1}"#,
        9, "cls"
      ),
      (
        #"{"vocab_size":300,"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":16,"#
          + #""intermediate_size":128,"max_position_embeddings":64,"hidden_act":"relu","layer_norm_eps":1e-5}"#,
        64, "mean"
      ),
    ]) func otherSizesEqualTransformers(configuration: String, longest: Int, mode: String) throws
  {
    let temporary = TemporaryDirectory("bert")
    _ = try Peers.run(
      Self.reference, [temporary.path, temporary.file("out.json"), "25", "\(longest)", mode, configuration])
    let pooling = SentencePooling(mode: mode == "cls" ? .cls : .mean)
    let encoder = try BertEncoder(folder: temporary.path, pooling: pooling)
    try compare(encoder, temporary.file("out.json"), threads: 1)
    #expect(throws: PlatformError.self) { try encoder.encode([[]]) }
    #expect(throws: PlatformError.self) { try encoder.encode([[-1]]) }
    #expect(throws: PlatformError.self) { try encoder.encode([[30_000]]) }
    #expect(throws: PlatformError.self) { try encoder.encode([[Int32](repeating: 1, count: longest + 1)]) }
    #expect(throws: CancellationError.self) { try encoder.encode([[1]], isCancelled: { true }) }
    #expect(try encoder.encode([]).isEmpty)
  }

  @Test(
    .enabled(if: ProcessInfo.processInfo.environment["PLATFORM_BENCH"] != nil, "set PLATFORM_BENCH to measure"),
    .enabled(if: InstalledFiles.find("models/all-MiniLM-L6-v2") != nil, "all-MiniLM-L6-v2 is not installed"))
  func measuresTextsPerSecond() throws {
    let folder = try InstalledFiles.require("models/all-MiniLM-L6-v2", what: "all-MiniLM-L6-v2")
    let encoder = try BertEncoder(folder: folder)
    var random = SplitMix64(seed: 3)
    for length in [16, 128] {
      let texts = (0..<(8192 / length)).map { _ in (0..<length).map { _ in Int32.random(in: 1000..<30000, using: &random) } }
      for threads in [1, 2] {
        _ = try encoder.encode(texts, threads: threads)
        let clock = ContinuousClock()
        let taken = try clock.measure { _ = try encoder.encode(texts, threads: threads) }
        print("\(length) tokens, \(threads) threads: \(Double(texts.count) / (taken / .seconds(1))) texts/s")
      }
    }
  }
}
