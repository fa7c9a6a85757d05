// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Foundation
import Inference
import Models

extension ModelCommand {
  /// `platform model bench`.
  struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "How fast a model computes on this machine.",
      discussion: """
        Random token ids go through the engine that serves endpoints: one prompt for prefill, then as many requests at once as --parallel says for
        decoding. A decoding step reads all weights once, whatever the number of requests; how much that is of what the machine's memory gives
        is told beside it, measured in the same run with the same threads. The processors should have nothing else to do. With --adapter, which may be
        said several times, requests take the adapters in turn, and a step reads those of its requests as well.

        EXAMPLES
          platform model bench ./model --threads 1 --dtype int8
          platform model bench ./model --parallel 1,16 -o json
        """)
    @Argument(help: ArgumentHelp("Folder of the model, or a GGUF file.", valueName: "dir")) var directory: String
    @Option(help: "Tokens of the prompt.") var prompt = 512
    @Option(help: "Tokens that each request makes.") var generate = 128
    @Option(help: "How many requests at once, a list.") var parallel = "1,4,8,16"
    @Option(help: "Folder of a LoRA adapter, in PEFT's layout.") var adapter: [String] = []
    @Option(
      name: .customLong("kv-cache-dtype"), help: "How keys and values are kept: f32, bf16, int8, or auto: f32 beside weights as stored, else bf16.")
    var cache = "auto"
    @Option(name: [.short, .long], help: "text, wide, json, yaml, csv or name.") var output: OutputFormat = .text
    @OptionGroup var compute: ModelComputeOptions

    func run() async throws {
      let (threads, precision) = try compute.checked()
      let counts = parallel.split(separator: ",", omittingEmptySubsequences: false).map { Int($0.trimmingCharacters(in: .whitespaces)) }
      func refuse(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "PLT-5201") }
      guard !counts.isEmpty, counts.allSatisfy({ $0.map { (1...256).contains($0) } ?? false }) else {
        throw refuse("--parallel \(parallel) is not a list of numbers from 1 to 256")
      }
      guard (1...1 << 20).contains(prompt) else { throw refuse("--prompt \(prompt) is not from 1 to \(1 << 20)") }
      guard (2...1 << 20).contains(generate) else { throw refuse("--generate \(generate) is not from 2 to \(1 << 20)") }
      let bench = try ModelMeasurement(
        directory: directory, precision: precision, threads: threads, prompt: prompt, generate: generate, parallel: counts.compactMap { $0 },
        adapters: adapter, cache: CacheFormat.named(cache))
      let result = try await bench.run()
      if output.isStructured { return try Report.structured(result, output) }
      result.show()
    }
  }
}

/// What `platform model bench` found. Times are seconds, sizes bytes, bandwidths 10^9 bytes a second.
struct ModelMeasurementResult: Encodable {
  struct Prefill: Encodable {
    var promptTokens: Int
    var seconds: Double
    var tokensPerSecond: Double

    enum CodingKeys: String, CodingKey {
      case promptTokens = "prompt_tokens"
      case seconds
      case tokensPerSecond = "tokens_per_second"
    }
  }
  struct Decode: Encodable {
    var parallel: Int
    /// Drawn while all requests were running.
    var tokens: Int
    var seconds: Double
    var tokensPerSecond: Double
    /// Weights, and keys and values of all requests at half of their length.
    var bytesPerStep: Int
    var gigabytesPerSecond: Double
    var shareOfBandwidth: Double
    /// Until the last of the requests had its first token.
    var firstTokenSeconds: Double

    enum CodingKeys: String, CodingKey {
      case parallel, tokens, seconds
      case tokensPerSecond = "tokens_per_second"
      case bytesPerStep = "bytes_per_step"
      case gigabytesPerSecond = "gigabytes_per_second"
      case shareOfBandwidth = "share_of_bandwidth"
      case firstTokenSeconds = "first_token_seconds"
    }
  }
  var model: String
  var dtype: String
  var threads: Int
  /// Weights that one token is multiplied with; of experts only the chosen ones.
  var weightBytesPerToken: Int
  var cacheBytesPerToken: Int
  var loadSeconds: Double
  var peakMemoryBytes: Int
  var memoryGigabytesPerSecond: Double
  var prefill: Prefill
  var decode: [Decode]

  enum CodingKeys: String, CodingKey {
    case model, dtype, threads, prefill, decode
    case weightBytesPerToken = "weight_bytes_per_token"
    case cacheBytesPerToken = "cache_bytes_per_token"
    case loadSeconds = "load_seconds"
    case peakMemoryBytes = "peak_memory_bytes"
    case memoryGigabytesPerSecond = "memory_gigabytes_per_second"
  }

  func show() {
    func number(_ value: Double) -> String { String(format: value < 100 ? "%.1f" : "%.0f", value) }
    Report.data(
      "\(model) · \(dtype) · \(threads) thread\(threads == 1 ? "" : "s") · \(ByteText.of(Int64(weightBytesPerToken))) of weights a token · loaded in \(Report.duration(loadSeconds))"
    )
    Report.data(
      "memory \(number(memoryGigabytesPerSecond)) GB/s · peak \(ByteText.of(Int64(peakMemoryBytes))) · prefill of \(prefill.promptTokens) tokens \(number(prefill.tokensPerSecond)) tok/s"
    )
    Report.table(
      ["PARALLEL", "TOK/S", "BYTES/STEP", "GB/S", "OF MEMORY", "FIRST TOKEN"],
      decode.map {
        [
          "\($0.parallel)", number($0.tokensPerSecond), ByteText.of(Int64($0.bytesPerStep)), number($0.gigabytesPerSecond),
          "\(Int(($0.shareOfBandwidth * 100).rounded())) %", "\(Int(($0.firstTokenSeconds * 1000).rounded())) ms",
        ]
      })
  }
}

extension Duration {
  fileprivate var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

/// Runs one model through the serving engine and times it.
private struct ModelMeasurement {
  /// Of requests that decode.
  private static let decodePrompt = 16
  private static let prefillRounds = 3

  private let directory: String
  private let precision: WeightPrecision
  private let threads: Int
  private let prompt: Int
  private let generate: Int
  private let parallel: [Int]
  private let model: any GenerativeModel
  private let engine: InferenceEngine
  private let loadSeconds: Double
  private let adapters: [LoRAAdapter]
  private let cacheBytesPerToken: Int
  private let bandwidth: Double

  init(
    directory: String, precision: WeightPrecision, threads: Int, prompt: Int, generate: Int, parallel: [Int], adapters: [String], cache: CacheFormat?
  ) throws {
    (self.directory, self.precision, self.threads) = (directory, precision, threads)
    (self.prompt, self.generate, self.parallel) = (prompt, generate, parallel)
    // Before the model, as what it reads is not part of the model's memory.
    bandwidth = MemoryBandwidth.gigabytesPerSecond(threads: threads)
    Self.forgetPeakMemory()
    let began = ContinuousClock.now
    model = try GenerativeModels.open(directory, precision: precision)
    loadSeconds = (ContinuousClock.now - began).inSeconds
    let targets = model.adapterTargets
    self.adapters = try adapters.compactMap { folder in
      try targets.map { try LoRAAdapter(name: (folder as NSString).lastPathComponent, directory: folder, targets: $0) }
    }
    let longest = max(prompt + 1, Self.decodePrompt + generate)
    guard longest <= model.servedLength else {
      throw PlatformError(
        .invalidArgument, "\(longest) tokens are beyond the \(model.servedLength) positions that the model is served with",
        hint: "Use a smaller --prompt or --generate.", number: "PLT-5202")
    }
    let most = parallel.max() ?? 1
    var configuration = InferenceEngine.Configuration()
    configuration.threads = threads
    configuration.scheduler.maxBatch = most
    configuration.scheduler.tokensPerStep = max(configuration.scheduler.tokensPerStep, most)
    configuration.contextLength = longest
    // One block more a request, for what does not fill its last one.
    let tokens = max(prompt + 17, most * (Self.decodePrompt + generate + 16))
    cacheBytesPerToken = model.cacheBytesPerToken(cache ?? model.cacheFormat)
    configuration.cache = cache
    configuration.cacheBytes = tokens * max(1, cacheBytesPerToken) + 64 * 1024
    engine = try InferenceEngine(model: model, tokenizer: nil, configuration: configuration)
  }

  func run() async throws -> ModelMeasurementResult {
    defer { engine.shutdown() }
    _ = try await stream(3, Self.decodePrompt, 2)  // pages of the file, threads
    var prefill = Double.infinity
    for round in 0..<Self.prefillRounds {
      let began = ContinuousClock.now
      let times = try await stream(100 + round, prompt, 1, adapters.first)
      prefill = min(prefill, (times[0] - began).inSeconds)
    }
    var decodes: [(count: Int, tokens: Int, seconds: Double, first: Double)] = []
    for count in parallel { decodes.append(try await decode(count)) }
    let peak = Self.peakMemory()
    let weights = model.weightBytesPerToken
    return ModelMeasurementResult(
      model: directory, dtype: precision.rawValue, threads: threads, weightBytesPerToken: weights, cacheBytesPerToken: cacheBytesPerToken,
      loadSeconds: loadSeconds, peakMemoryBytes: peak, memoryGigabytesPerSecond: bandwidth,
      prefill: .init(promptTokens: prompt, seconds: prefill, tokensPerSecond: Double(prompt) / prefill),
      decode: decodes.map { one in
        let added = adapters.prefix(one.count).reduce(0) { $0 + $1.byteCount }
        let bytes = weights + added + one.count * (Self.decodePrompt + generate / 2) * cacheBytesPerToken
        let rate = Double(one.tokens) / one.seconds
        let moved = rate / Double(one.count) * Double(bytes) / 1e9
        return .init(
          parallel: one.count, tokens: one.tokens, seconds: one.seconds, tokensPerSecond: rate, bytesPerStep: bytes, gigabytesPerSecond: moved,
          shareOfBandwidth: moved / bandwidth, firstTokenSeconds: one.first)
      })
  }

  /// Tokens drawn between the last request's first token and the first one's last.
  private func decode(_ count: Int) async throws -> (count: Int, tokens: Int, seconds: Double, first: Double) {
    let began = ContinuousClock.now
    let all = try await withThrowingTaskGroup(of: [ContinuousClock.Instant].self) { group in
      for index in 0..<count {
        let adapter = adapters.isEmpty ? nil : adapters[index % adapters.count]
        group.addTask { try await stream(1000 * count + index, Self.decodePrompt, generate, adapter) }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    let start = all.compactMap(\.first).max() ?? began
    let end = all.compactMap(\.last).min() ?? began
    // Requests that came late have little in common with the first one: then the whole time counts.
    guard end > start else {
      let last = all.compactMap(\.last).max() ?? began
      return (count, count * generate, (last - began).inSeconds, (start - began).inSeconds)
    }
    let tokens = all.reduce(0) { $0 + $1.count { $0 > start && $0 <= end } }
    return (count, tokens, (end - start).inSeconds, (start - began).inSeconds)
  }

  /// When each token of one request came.
  private func stream(_ seed: Int, _ length: Int, _ tokens: Int, _ adapter: LoRAAdapter? = nil) async throws -> [ContinuousClock.Instant] {
    var generator = SplitMix64(seed: UInt64(seed))
    let ids = (0..<length).map { _ in Int32(generator.next() % UInt64(model.vocabularySize)) }
    var request = GenerationRequest(id: "\(seed)", prompt: .tokens(ids))
    request.sampling = .greedy
    request.maxTokens = tokens
    request.ignoreEOS = true
    request.adapter = adapter
    var times: [ContinuousClock.Instant] = []
    for try await event in try engine.generate(request) where !event.tokenIDs.isEmpty {
      times += Array(repeating: ContinuousClock.now, count: event.tokenIDs.count)
    }
    guard times.count == tokens else { throw PlatformError(.failed, "the engine made \(times.count) of \(tokens) tokens") }
    return times
  }

  /// What was held before does not count any more, where the system can do that.
  private static func forgetPeakMemory() {
    try? Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))  // else the peak is that of the whole run
  }

  /// The most memory that this process has held, in bytes.
  private static func peakMemory() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""  // 0 where there is no /proc
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
  }
}
