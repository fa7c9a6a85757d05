// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Inference
import Models

/// Language models with small weights against llama.cpp on the same GGUF file, and prefill against torch in bf16. Weights are random: speed needs no others.
enum EngineGroup {
  static let decodePrompt = 16
  static let newTokens = SchedulingGroup.number("BENCH_TOKENS", 96)
  static let prefillTokens = 512
  static let threads = SchedulingGroup.number("BENCH_THREADS", 1)
  static var shapes: [String] {
    (ProcessInfo.processInfo.environment["BENCH_SHAPES"] ?? "135M,1.1B").split(separator: ",").map(String.init)
  }

  static var forms: [String] {
    (ProcessInfo.processInfo.environment["BENCH_FORMS"] ?? "q8_0,q4_0").split(separator: ",").map(String.init)
  }

  static func run(_ setup: Setup, report: Group.Report) async throws {
    let peers = try await EnginePeers(setup)
    for shape in shapes {
      for (form, precision) in [("q8_0", WeightPrecision.int8), ("q4_0", .int4)] where forms.contains(form) {
        let file = setup.file("\(shape)-\(form).gguf")
        try peers.write(shape, form, file)
        defer { try? FileManager.default.removeItem(atPath: file) }  // what stays is in a temporary folder
        try await compare(setup, peers, shape, form, file, precision, report)
      }
    }
  }

  private static func compare(
    _ setup: Setup, _ peers: EnginePeers, _ shape: String, _ form: String, _ file: String, _ precision: WeightPrecision, _ report: Group.Report
  ) async throws {
    let what = "Llama of \(shape), \(form.uppercased())"
    let began = ContinuousClock.now
    let subject = try EngineSubject(file, precision: precision, threads: threads, sequences: 16)
    defer { subject.engine.shutdown() }
    _ = try await subject.first([300, 301])
    let loading = (ContinuousClock.now - began).inSeconds
    note(setup, Figure(what: "\(what): from the file to a first token", value: "\(Table.short(loading)) s", wanted: "2 s"))
    func show(_ comparison: Comparison) async throws -> Double {
      if peers.hasLlama {
        try await report(comparison)
      } else {
        try await alone(setup, comparison, wanted: "against llama.cpp, which is not installed")
      }
      return try await rate(comparison)
    }
    if peers.hasLlama {
      try peers.load(file, threads: threads, sequences: 16)
      // Both round what a matrix is multiplied with to 8 bits, each in its way: a random model's best two tokens may be that close.
      let equal = try await (0..<16).asyncCount { index in
        let prompt = subject.prompts(1, 64, 9000 + index)
        return try await subject.first(prompt[0]) == peers.prefill(prompt[0]).first
      }
      Terminal.note("engine: \(what): the first token of \(equal) of 16 prompts is the same")
      try check(equal >= 12, "only \(equal) of 16 first tokens are equal")
    }

    var single = 0.0
    for count in [1, 8, 16] {
      let amount = Double(count * (newTokens - 1))
      let ours = try await show(
        Comparison(
          what: "\(what): decode, \(count) request\(count == 1 ? "" : "s")", ours: "InferenceEngine \(precision.rawValue)", peer: "llama.cpp", threads: threads,
          amount: amount, unit: "tokens",
          runOurs: { try await amount / subject.decode(subject.prompts(count, decodePrompt, $0), newTokens) },
          runPeer: { try peers.decode(subject.prompts(count, decodePrompt, $0), newTokens) }))
      if count == 1 {
        single = ours
        let bytes = subject.model.weightBytesPerToken + (decodePrompt + newTokens / 2) * subject.model.cacheBytesPerToken(subject.model.cacheFormat)
        let share = ours * Double(bytes) / 1e9 / MemoryBandwidth.gigabytesPerSecond(threads: threads)
        note(setup, Figure(what: "\(what): of the memory's bandwidth", value: "\(Int((share * 100).rounded())) %", wanted: "85 %"))
      } else {
        note(setup, Figure(what: "\(what): \(count) requests against one", value: Table.short(ours / single), wanted: count == 8 ? "4" : "6"))
      }
    }
    let prefill = Comparison(
      what: "\(what): prompt of \(prefillTokens) tokens", ours: "InferenceEngine \(precision.rawValue)", peer: "llama.cpp", threads: threads,
      amount: Double(prefillTokens), unit: "tokens",
      runOurs: { try await subject.prefill(subject.prompts(1, prefillTokens, 5000 + $0)[0]) },
      runPeer: { try peers.prefill(subject.prompts(1, prefillTokens, 5000 + $0)[0]).seconds })
    _ = try await show(prefill)
    if peers.hasLlama { try peers.unload() }
    guard form == "q8_0" else { return }

    try peers.loadTorch(shape, threads: threads)
    var against = prefill
    against.peer = "transformers, torch bf16"
    against.runOurs = { try await subject.prefill(subject.prompts(1, prefillTokens, 6000 + $0)[0]) }
    against.runPeer = { try peers.prefillTorch(subject.prompts(1, prefillTokens, 5000 + $0)[0]) }
    try await report(against)
    try peers.unloadTorch()
    try await prefix(setup, subject, what)
  }

  /// The first token of a prompt that the cache has, against one that it has not.
  private static func prefix(_ setup: Setup, _ subject: EngineSubject, _ what: String) async throws {
    var ratios: [Double] = []
    for round in 0..<7 {
      let prompt = subject.prompts(1, prefillTokens, 7000 + round)[0]
      let miss = try await subject.prefill(prompt)
      ratios.append(try await subject.prefill(prompt) / miss)
    }
    note(setup, Figure(what: "\(what): first token of a known prompt, of that of a new one", value: Table.short(Table.median(ratios)), wanted: "0.15"))
  }

  /// Units a second of ours: the median of three runs, behind the comparison's own.
  private static func rate(_ comparison: Comparison) async throws -> Double {
    var times: [Double] = []
    for round in 101...103 { times.append(try await comparison.runOurs(round)) }
    return comparison.amount / Table.median(times)
  }

  private static func alone(_ setup: Setup, _ comparison: Comparison, wanted: String) async throws {
    _ = try await comparison.runOurs(0)
    note(setup, Figure(what: comparison.what, value: "\(Table.short(try await rate(comparison))) \(comparison.unit)/s", wanted: wanted))
  }

  static func note(_ setup: Setup, _ figure: Figure) { SchedulingGroup.note(setup, figure) }
}

extension Sequence {
  fileprivate func asyncCount(where holds: (Element) async throws -> Bool) async rethrows -> Int {
    var count = 0
    for element in self where try await holds(element) { count += 1 }
    return count
  }
}

/// A model in the serving engine.
struct EngineSubject {
  let model: any GenerativeModel
  let engine: InferenceEngine

  init(_ file: String, precision: WeightPrecision, threads: Int, sequences: Int) throws {
    model = try GenerativeModels.open(file, precision: precision)
    var configuration = InferenceEngine.Configuration()
    configuration.threads = threads
    configuration.scheduler.maxBatch = sequences
    configuration.contextLength = 1024
    configuration.cacheBytes = sequences * 1024 * model.cacheBytesPerToken(model.cacheFormat)
    engine = try InferenceEngine(model: model, tokenizer: nil, configuration: configuration)
  }

  /// Others in every round, so that no cache of prompts helps. Ids behind those of bytes and marks.
  func prompts(_ count: Int, _ length: Int, _ round: Int) -> [[Int32]] {
    var generator = SplitMix64(seed: UInt64(round * 1000 + count * 10 + length))
    return (0..<count).map { _ in (0..<length).map { _ in Int32(300 + generator.next() % UInt64(model.vocabularySize - 300)) } }
  }

  private func request(_ prompt: [Int32], _ tokens: Int, _ name: Int) -> GenerationRequest {
    var request = GenerationRequest(id: "\(name)", prompt: .tokens(prompt))
    request.sampling = .greedy
    request.maxTokens = tokens
    request.ignoreEOS = true
    return request
  }

  func first(_ prompt: [Int32]) async throws -> Int32? { try await engine.complete(request(prompt, 1, 0)).tokenIDs.first }

  /// Seconds to the first token.
  func prefill(_ prompt: [Int32]) async throws -> Double {
    let began = ContinuousClock.now
    _ = try await first(prompt)
    return (ContinuousClock.now - began).inSeconds
  }

  /// Tokens a second while all requests are running: from the last one's first token to the first one's last.
  func decode(_ prompts: [[Int32]], _ tokens: Int) async throws -> Double {
    let all = try await withThrowingTaskGroup(of: [ContinuousClock.Instant].self) { group in
      for (index, prompt) in prompts.enumerated() {
        group.addTask {
          var times: [ContinuousClock.Instant] = []
          for try await event in try engine.generate(request(prompt, tokens, index)) {
            let now = ContinuousClock.now
            times += event.tokenIDs.map { _ in now }
          }
          return times
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    guard let start = all.compactMap(\.first).max(), let end = all.compactMap(\.last).min(), end > start else {
      throw PlatformError(.internalError, "the requests did not run together")
    }
    return Double(all.joined().count { $0 > start && $0 <= end }) / (end - start).inSeconds
  }
}

/// Other engines, in a Python process of `make bench-peers`.
struct EnginePeers {
  private let peer: Peer
  let hasLlama: Bool
  let hasSentenceTransformers: Bool

  init(_ setup: Setup) async throws {
    let peer = try await Peer(scripts: setup.options.peers, folder: setup.folder.path, python: Peer.benchPython)
    func version(_ module: String) throws -> String? {
      let version = try peer.call("engine.has", ["module": .string(module)])["version"]?.stringValue ?? ""
      Terminal.note("engine: \(module) \(version.isEmpty ? "is not installed: run make bench-peers" : version)")
      return version.isEmpty ? nil : version
    }
    self.peer = peer
    hasLlama = try version("llama_cpp") != nil
    hasSentenceTransformers = try version("sentence_transformers") != nil
    _ = try version("onnxruntime")
    _ = try version("torch")
  }

  func write(_ shape: String, _ form: String, _ file: String) throws {
    try peer.call("engine.write", ["shape": .string(shape), "form": .string(form), "file": .string(file)])
  }
  func load(_ file: String, threads: Int, sequences: Int) throws {
    try peer.call(
      "engine.load", ["name": "llama", "file": .string(file), "threads": .integer(Int64(threads)), "sequences": .integer(Int64(sequences))])
  }
  func unload() throws { try peer.call("engine.unload", ["name": "llama"]) }
  func prefill(_ prompt: [Int32]) throws -> (seconds: Double, first: Int32?) {
    let answer = try peer.call("engine.prefill", ["name": "llama", "prompt": JSONValue(encoding: prompt)])
    return (answer["seconds"]?.doubleValue ?? 0, answer["ids"]?.arrayValue?.first?.arrayValue?.first?.intValue.map(Int32.init))
  }
  func decode(_ prompts: [[Int32]], _ tokens: Int) throws -> Double {
    try peer.time("engine.decode", ["name": "llama", "prompts": JSONValue(encoding: prompts), "tokens": .integer(Int64(tokens))])
  }
  func loadTorch(_ shape: String, threads: Int) throws {
    try peer.call("engine.torch_load", ["shape": .string(shape), "threads": .integer(Int64(threads))])
  }
  func prefillTorch(_ prompt: [Int32]) throws -> Double { try peer.time("engine.torch_prefill", ["prompt": JSONValue(encoding: prompt)]) }
  func unloadTorch() throws { try peer.call("engine.torch_unload") }
  /// Whether ONNX Runtime is there, too.
  func loadEncoder(_ folder: String, scratch: String) throws -> Bool {
    try peer.call("engine.encoder_load", ["folder": .string(folder), "scratch": .string(scratch)])["onnx"]?.stringValue?.isEmpty == false
  }
  func encode(_ texts: [String], _ engine: String, out: String? = nil) throws -> Double {
    try peer.time(
      "engine.encode", ["texts": JSONValue(encoding: texts), "engine": .string(engine), "out": out.map { .string($0) } ?? .null])
  }
}
