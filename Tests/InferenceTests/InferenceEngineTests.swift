// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Models
import TestSupport
import Testing

@testable import Inference

private let model = Result { try TestModel.random(TestModel.small, seed: 5) }

private func engine(_ change: (inout InferenceEngine.Configuration) -> Void = { _ in }) throws -> InferenceEngine {
  var configuration = InferenceEngine.Configuration()
  change(&configuration)
  return try InferenceEngine(model: model.get(), tokenizer: ByteTokenizer(), configuration: configuration)
}

private func request(_ index: Int, tokens: Int = 24) -> GenerationRequest {
  let text = String(repeating: "prompt \(index) ", count: 1 + index % 5)
  var request = GenerationRequest(id: "r\(index)", prompt: .text(text))
  request.maxTokens = tokens + index % 7
  request.ignoreEOS = true
  if index % 2 == 1 {
    request.sampling.temperature = 0.9
    request.sampling.topP = 0.95
    request.sampling.seed = UInt64(index)
    request.sampling.frequencyPenalty = 0.1
  } else {
    request.sampling = .greedy
  }
  return request
}

private func tokens(_ engine: InferenceEngine, _ requests: [GenerationRequest]) async throws -> [[Int32]] {
  try await withThrowingTaskGroup(of: (Int, [Int32]).self) { group in
    for (index, request) in requests.enumerated() { group.addTask { (index, try await engine.complete(request).tokenIDs) } }
    var all = [[Int32]](repeating: [], count: requests.count)
    for try await (index, ids) in group { all[index] = ids }
    return all
  }
}

extension GenerationUsage {
  /// What does not depend on who asked before.
  fileprivate var withoutCache: GenerationUsage { GenerationUsage(promptTokens: promptTokens, completionTokens: completionTokens) }
}

extension InferenceEngine {
  /// The whole answer, without how much of it the cache had.
  fileprivate func answer(_ request: GenerationRequest) async throws -> GenerationEvent {
    var event = try await complete(request)
    event.usage = event.usage?.withoutCache
    return event
  }
}

private func code(_ body: () throws -> Void) -> String {
  do {
    try body()
    return "accepted"
  } catch let error as PlatformError {
    return error.number
  } catch {
    return "\(error)"
  }
}

@Suite(.timeLimit(.minutes(2))) struct InferenceEngineTests {
  @Test func tokensDoNotDependOnNeighboursNorChunksNorPreemption() async throws {
    let requests = (0..<16).map { request($0) }
    let alone = try engine()
    var expected: [[Int32]] = []
    for request in requests { expected.append(try await alone.complete(request).tokenIDs) }
    #expect(zip(requests, expected).allSatisfy { $0.maxTokens == $1.count })
    #expect(Set(expected).count > 8)

    #expect(try await tokens(engine(), requests) == expected)
    let chunked = try engine {
      $0.scheduler.maxBatch = 5
      $0.scheduler.tokensPerStep = 7
    }
    #expect(try await tokens(chunked, requests) == expected)
    // 14 blocks of 16 tokens for 16 sequences of up to 90 tokens: they push each other out.
    let tight = try engine { $0.cacheBytes = 14 * 16 * (try! model.get().cacheBytesPerToken(.f32)) }
    #expect(try await tokens(tight, requests) == expected)
    let statistics = tight.statistics
    #expect(statistics.preemptions > 0)
    #expect(statistics.cacheBlocksUsed == 0 && statistics.runningRequests == 0 && statistics.waitingRequests == 0)
    #expect(statistics.finishedRequests == ["length": 16])
  }

  /// 64 requests over few beginnings: alone, together, in pieces, pushed out, and found in the cache, always the same bits.
  @Test(arguments: CacheFormat.allCases) func tokensDoNotDependOnWhatIsInTheCache(format: CacheFormat) async throws {
    let requests = (0..<64).map { index in
      var one = request(index, tokens: 5)
      one.prompt = .text(String(repeating: "beginning \(index % 4) ", count: 2 + index % 3) + "and \(index % 16)")
      one.cacheSalt = index % 5 == 0 ? "somebody" : ""
      one.logprobs = 1
      return one
    }
    func run(_ engine: InferenceEngine, _ order: [Int]) async throws -> [GenerationEvent] {
      try await withThrowingTaskGroup(of: (Int, GenerationEvent).self) { group in
        for index in order { group.addTask { (index, try await engine.answer(requests[index])) } }
        var all = [GenerationEvent?](repeating: nil, count: requests.count)
        for try await (index, event) in group { all[index] = event }
        return all.compactMap { $0 }
      }
    }
    var expected: [GenerationEvent] = []
    for request in requests {
      // An engine of its own for each: nothing can be found.
      expected.append(
        try await engine {
          $0.cache = format
          $0.scheduler.maxBatch = 1
        }.answer(request))
    }
    let shared = try engine { $0.cache = format }
    for _ in 0..<2 { #expect(try await run(shared, Array(requests.indices.shuffled())) == expected) }
    #expect(shared.statistics.prefixHits > 64 * 16 && shared.statistics.prefixHits < shared.statistics.prefixQueries)
    let tight = try engine {
      $0.cache = format
      $0.cacheBytes = 16 * 16 * (try! model.get().cacheBytesPerToken(format))
      $0.scheduler.tokensPerStep = 19
      $0.threads = 2
    }
    for _ in 0..<2 { #expect(try await run(tight, Array(requests.indices.shuffled())) == expected) }
    #expect(tight.statistics.preemptions > 0 && tight.statistics.prefixHits > 0 && tight.statistics.cacheBlocksUsed == 0)
  }

  /// Four answers to one prompt at once, one of which is given up: the prompt is computed once, and each answer is the one it has alone.
  @Test func answersToOnePromptComputeItOnce() async throws {
    let requests = (0..<4).map { index in
      var one = GenerationRequest(id: "\(index)", prompt: .tokens((0..<100).map { Int32($0) }))
      one.maxTokens = 12
      one.ignoreEOS = true
      one.sampling.seed = UInt64(index)
      return one
    }
    var expected: [GenerationEvent] = []
    for request in requests { expected.append(try await engine { $0.scheduler.maxBatch = 1 }.answer(request)) }
    #expect(Set(expected.map(\.tokenIDs)).count == 4)
    // A prompt takes seven steps.
    let shared = try engine { $0.scheduler.tokensPerStep = 16 }
    let answers = try await withThrowingTaskGroup(of: (Int, GenerationEvent).self) { group in
      for (index, request) in requests.enumerated() { group.addTask { (index, try await shared.answer(request)) } }
      return try await group.reduce(into: [Int: GenerationEvent]()) { $0[$1.0] = $1.1 }
    }
    // How much of its prompt was found is told, and may differ.
    for (index, one) in expected.enumerated() {
      #expect(answers[index]?.text == one.text && answers[index]?.tokenIDs == one.tokenIDs && answers[index]?.finish == one.finish)
    }
    // Each of the others finds the six full blocks.
    #expect(shared.statistics.prefixQueries == 400 && shared.statistics.prefixHits == 3 * 96)
    #expect(shared.statistics.cacheBlocksUsed == 0)
    // The one that computes the prompt is given up as soon as it was sent, or while it runs: the others have their answers all the same.
    let second = try engine { $0.scheduler.tokensPerStep = 16 }
    let lost = try second.generate(requests[0])
    let kept = (1..<4).map { index in Task { try await second.answer(requests[index]) } }
    let reader = Task { for try await _ in lost {} }
    reader.cancel()
    _ = try? await reader.value  // Whether it ended before it was given up does not matter.
    for (index, task) in kept.enumerated() {
      let answer = try await task.value
      #expect(answer.tokenIDs == expected[index + 1].tokenIDs && answer.text == expected[index + 1].text)
    }
  }

  /// Alone and together, with sampling, penalties, log-probabilities and a cache that is too small: the same answers in fewer steps.
  @Test func answersDoNotDependOnWhatIsSupposedToFollow() async throws {
    let requests = (0..<48).map { index in
      var one = request(index, tokens: 40)
      // Bytes that repeat, so that there is something to find.
      one.prompt = .text(String(repeating: "ab\(index % 9) ", count: 2 + index % 11))
      if index % 3 == 0 { one.logprobs = 2 }
      if index % 4 == 1 { one.sampling.temperature = 0.3 }
      if index % 7 == 0 { one.stop = ["\u{3}"] }
      one.ignoreEOS = index % 6 != 0
      return one
    }
    func run(_ engine: InferenceEngine) async throws -> [GenerationEvent] {
      try await withThrowingTaskGroup(of: (Int, GenerationEvent).self) { group in
        for (index, one) in requests.enumerated() { group.addTask { (index, try await engine.answer(one)) } }
        var all = [GenerationEvent?](repeating: nil, count: requests.count)
        for try await (index, event) in group { all[index] = event }
        return all.compactMap { $0 }
      }
    }
    let plain = try engine()
    let expected = try await run(plain)
    #expect(plain.statistics.drafts == 0 && expected.count == 48)
    for speculation in [1, 4, 8] {
      let alone = try engine { $0.speculation = speculation }
      for (request, event) in zip(requests, expected) { #expect(try await alone.answer(request) == event, "\(request.id)") }
      let statistics = alone.statistics
      #expect(statistics.acceptedTokens > 50 && statistics.acceptedTokens <= statistics.draftedTokens && statistics.cacheBlocksUsed == 0)
      #expect(statistics.steps < statistics.generatedTokens - 50 && statistics.generatedTokens == plain.statistics.generatedTokens)
      let tight = try engine {
        $0.speculation = speculation
        $0.scheduler.maxBatch = 3
        $0.cacheBytes = 14 * 16 * (try! model.get().cacheBytesPerToken(.f32))
      }
      #expect(try await run(tight) == expected)
      #expect(tight.statistics.acceptedTokens > 0 && tight.statistics.cacheBlocksUsed == 0)
    }
  }

  @Test func draftsAreWhatFollowedTheSameEnding() {
    var lookup = PromptLookup()
    #expect(lookup.draft(behind: [1, 2, 3, 9, 5, 1, 2, 3], limit: 4) == [9, 5, 1, 2])
    // The longest ending counts, then the last place.
    #expect(lookup.draft(behind: [1, 2, 3, 7, 8, 2, 3, 6, 1, 2, 3], limit: 1) == [7])
    #expect(lookup.draft(behind: [2, 3, 7, 0, 2, 3, 6, 2, 3], limit: 1) == [6])
    #expect(lookup.draft(behind: [5, 5, 5], limit: 8) == [5])
    #expect(lookup.draft(behind: [1, 3, 2, 3], limit: 4).isEmpty && lookup.draft(behind: [], limit: 4).isEmpty)
    #expect(lookup.draft(behind: [1, 2, 3, 1, 2], limit: 0).isEmpty && lookup.draft(behind: [1, 2, 3, 1, 2], limit: -1).isEmpty)
    // It pauses where it is seldom right, and tries again later.
    for _ in 0..<8 { lookup.note(drafted: 4, accepted: 0, length: 100) }
    let long = [Int32](repeating: 7, count: 100)
    #expect(lookup.draft(behind: long, limit: 4).isEmpty && lookup.draft(behind: long + long, limit: 4).count == 1)
  }

  @Test func statisticsAreThoseOfTheRequestsThatWereAnswered() async throws {
    let engine = try engine()
    for (length, tokens) in [(1, 3), (40, 1), (100, 20)] {
      var one = GenerationRequest(id: "\(length)", prompt: .tokens((0..<length).map { Int32($0) }))
      one.maxTokens = tokens
      one.ignoreEOS = true
      _ = try await engine.complete(one)
      // Who has the answer finds it counted.
      #expect(engine.statistics.requestPromptTokens.counts.reduce(0, +) == engine.statistics.finishedRequests["length"])
    }
    let s = engine.statistics
    // Two blocks of the third prompt are those of the second.
    #expect(s.promptTokens == 141 && s.generatedTokens == 24 && s.steps == 24 && s.computedTokens == 141 - 32 + 21)
    #expect(s.prefixQueries == 141 && s.prefixHits == 32)
    #expect(s.requestPromptTokens.sum == 141 && s.requestGeneratedTokens.sum == 24 && s.requestMaxTokens.sum == 24)
    // Bounds 1, 2, 5, 10, 20, 50, 100.
    #expect(s.requestPromptTokens.counts.prefix(8) == [1, 0, 0, 0, 0, 1, 1, 0])
    #expect(s.timeToFirstToken.count == 3 && s.interTokenLatency.count == 21 && s.secondsPerToken.count == 2)
    for one in [s.requestSeconds, s.queueSeconds, s.prefillSeconds, s.decodeSeconds, s.inferenceSeconds] { #expect(one.count == 3) }
    #expect(abs(s.queueSeconds.sum + s.inferenceSeconds.sum - s.requestSeconds.sum) < 1e-6)
    #expect(s.prefillSeconds.sum + s.decodeSeconds.sum <= s.inferenceSeconds.sum + 1e-6)
    #expect(s.stepTokens.count == 24 && s.stepTokens.sum == 130 && s.stepTokens.bounds.first == 1 && s.stepTokens.bounds.last == 16384)
  }

  @Test func aRequestContinuesOnAnotherEngine() async throws {
    let first = try engine()
    let second = try engine()
    for index in [2, 3] {
      var whole = request(index)
      whole.stop = ["\u{1}\u{2}\u{3}"]
      var prefixText = [""]
      var all: [Int32] = []
      var text = ""
      var finish: GenerationEvent?
      for try await event in try first.generate(whole) {
        text += event.text
        all += event.tokenIDs
        prefixText.append(text)
        finish = event
      }
      for cut in [1, 5, all.count - 1] {
        var rest = whole
        rest.emittedTokenIDs = Array(all[..<cut])
        let continued = try await second.complete(rest)
        #expect(rest.emittedTokenIDs + continued.tokenIDs == all)
        #expect(prefixText[cut] + continued.text == text)
        #expect(continued.finish == finish?.finish && continued.usage?.withoutCache == finish?.usage?.withoutCache)
      }
      var complete = whole
      complete.emittedTokenIDs = all
      let nothing = try await second.complete(complete)
      #expect(nothing.tokenIDs.isEmpty && nothing.text.isEmpty && nothing.finish == finish?.finish)
    }
  }

  @Test func stopsAtTokensAndTextsAndLengths() async throws {
    let engine = try engine()
    var base = request(3)
    let free = try await engine.complete(base)
    #expect(free.finish == .length && free.usage?.completionTokens == base.maxTokens)
    base.stopTokenIDs = [free.tokenIDs[6]]
    let place = try #require(free.tokenIDs.firstIndex(of: free.tokenIDs[6]))
    let byToken = try await engine.complete(base)
    #expect(byToken.tokenIDs == Array(free.tokenIDs[...place]) && byToken.finish == .stop)

    base.stopTokenIDs = []
    // A stop text of two characters from the middle of what comes.
    let characters = Array(free.text.unicodeScalars)
    let stop = String(String.UnicodeScalarView(characters[4..<6]))
    base.stop = [stop]
    let byText = try await engine.complete(base)
    let range = try #require(free.text.range(of: stop, options: .literal))
    #expect(byText.finish == .stop && byText.text == String(free.text[..<range.lowerBound]))

    var long = GenerationRequest(id: "long", prompt: .text("abc"))
    long.ignoreEOS = true
    let untilContext = try await engine.complete(long)
    #expect(untilContext.finish == .length && untilContext.usage == GenerationUsage(promptTokens: 4, completionTokens: 124))
  }

  @Test func logprobsAndEcho() async throws {
    let engine = try engine()
    var asked = request(0, tokens: 8)
    asked.logprobs = 3
    asked.echo = true
    let event = try await engine.complete(asked)
    #expect(event.text.hasPrefix("prompt 0 "))
    let logprobs = try #require(event.logprobs).suffix(event.tokenIDs.count)
    #expect(logprobs.map(\.id) == event.tokenIDs)
    for entry in logprobs {
      #expect(entry.top.count == 3 && entry.top[0].id == entry.id && entry.top[0].logprob == entry.logprob)
      #expect(
        entry.top[0].logprob >= entry.top[1].logprob && entry.top[1].logprob >= entry.top[2].logprob && entry.logprob < 0)
    }
    // The scorer computes the same numbers for the same tokens.
    let prompt = try engine.promptTokens(asked.prompt)
    let scores = try SequenceScorer(model: model.get()).logProbabilities(of: prompt + event.tokenIDs)
    #expect(Array(scores.suffix(event.tokenIDs.count)) == logprobs.map(\.logprob))
  }

  /// A model of random weights, which would never write JSON by itself.
  @Test func answersFollowTheirGrammarInAnyBatch() async throws {
    let shared = try engine()
    let schema =
      #"{"type":"object","properties":{"name":{"type":"string","maxLength":6},"n":{"type":"integer","minimum":-5,"maximum":500},"on":{"type":"boolean"},"tags":{"type":"array","items":{"enum":["a","bc"]},"maxItems":2}},"required":["name","n","tags"]}"#
    let sources: [GrammarSource] = [.jsonSchema(schema), .regex("[a-f]{3}-\\d{2}"), .choice(["yes", "no"]), .notation("root ::= [0-9] (\",\" [0-9]){2}")]
    var requests: [GenerationRequest] = []
    for index in 0..<24 {
      var one = request(index, tokens: 90)
      one.prompt = .text("p\(index)")
      one.ignoreEOS = index % 3 == 0
      one.grammar = try await shared.grammar(sources[index % 4])
      requests.append(one)
    }
    let together = try await tokens(shared, requests)
    let alone = try engine { $0.scheduler.maxBatch = 1 }
    for (index, one) in requests.enumerated() {
      let event = try await alone.complete(one)
      #expect(event.tokenIDs == together[index] && event.finish == .stop, "\(index)")
      switch index % 4 {
      case 0:
        let value = try JSONValue(parsing: event.text)
        #expect(value["name"]?.stringValue?.unicodeScalars.count ?? 99 <= 6 && (-5...500).contains(value["n"]?.intValue ?? -99), "\(event.text)")
        #expect(value["tags"]?.arrayValue?.allSatisfy { $0 == "a" || $0 == "bc" } == true)
      case 1: #expect(event.text.wholeMatch(of: /[a-f]{3}-[0-9]{2}/) != nil)
      case 2: #expect(["yes", "no"].contains(event.text))
      default: #expect(event.text.wholeMatch(of: /[0-9],[0-9],[0-9]/) != nil)
      }
      // Elsewhere it goes on behind what was drawn here.
      var rest = one
      rest.emittedTokenIDs = Array(event.tokenIDs.prefix(2))
      #expect(try await rest.emittedTokenIDs + alone.complete(rest).tokenIDs == event.tokenIDs)
    }
    await #expect(throws: PlatformError.self) { try await shared.grammar(.regex("(")) }
  }

  @Test func minimalLengthsHoldOffEveryEnd() async throws {
    let engine = try engine()
    var base = request(3)
    let free = try await engine.complete(base)
    let text = Array(free.text.unicodeScalars)
    base.stopTokenIDs = [free.tokenIDs[0]]
    base.stop = [String(text[1])]
    base.minTokens = 9
    let held = try await engine.complete(base)
    #expect(held.tokenIDs.count >= 9 && !held.tokenIDs.prefix(9).contains(free.tokenIDs[0]))
    base.minTokens = 1000
    #expect(code { _ = try engine.generate(base) } == "PLT-4203")
  }

  @Test(arguments: [256, 5]) func anEchoHasThePromptsLogprobs(tokensPerStep: Int) async throws {
    let engine = try engine {
      $0.scheduler.maxBatch = 4
      $0.scheduler.tokensPerStep = tokensPerStep
    }
    var asked = request(4, tokens: 6)
    asked.echo = true
    asked.logprobs = 2
    let event = try await engine.complete(asked)
    let prompt = try engine.promptTokens(asked.prompt)
    let logprobs = try #require(event.logprobs)
    #expect(logprobs.map(\.id) == prompt + event.tokenIDs)
    #expect(logprobs[0].logprob.isNaN)
    let scores = try SequenceScorer(model: model.get()).logProbabilities(of: prompt + event.tokenIDs)
    #expect(Array(logprobs.dropFirst().map(\.logprob)) == scores)

    asked.maxTokens = 0
    let nothing = try await engine.complete(asked)
    #expect(nothing.tokenIDs.isEmpty && nothing.finish == .length && nothing.usage?.completionTokens == 0)
    #expect(nothing.logprobs?.map(\.id) == prompt && nothing.text + event.text.dropFirst(nothing.text.count) == event.text)
    asked.echo = false
    #expect(code { _ = try engine.generate(asked) } == "PLT-4203")
  }

  @Test func badRequestsNeverReachTheLoop() async throws {
    let engine = try engine()
    func refused(_ change: (inout GenerationRequest) -> Void) -> String {
      var bad = request(0)
      change(&bad)
      return code { _ = try engine.generate(bad) }
    }
    #expect(refused { $0.prompt = .text(String(repeating: "a", count: 127)) } == "PLT-4201")
    #expect(refused { $0.prompt = .tokens([]) } == "PLT-4203")
    #expect(refused { $0.prompt = .tokens([258]) } == "PLT-4203")
    #expect(refused { $0.prompt = .tokens([-1]) } == "PLT-4203")
    #expect(refused { $0.maxTokens = 0 } == "PLT-4203")
    #expect(refused { $0.logprobs = 21 } == "PLT-4203")
    #expect(refused { $0.sampling.temperature = .nan } == "PLT-4203")
    #expect(refused { $0.emittedTokenIDs = [Int32](repeating: 5, count: 40) } == "PLT-4203")
    #expect(engine.statistics.refusedRequests == 8)
    #expect(try await engine.complete(request(0)).finish == .length)
  }

  @Test func aConsumerThatStopsFreesItsPlace() async throws {
    let engine = try engine { $0.scheduler.maxBatch = 1 }
    var endless = GenerationRequest(id: "endless", prompt: .text("x"))
    endless.ignoreEOS = true
    for try await _ in try engine.generate(endless) { break }
    _ = try await engine.complete(request(1))
    let statistics = engine.statistics
    #expect(statistics.cacheBlocksUsed == 0 && statistics.runningRequests == 0)
    #expect(statistics.finishedRequests["length", default: 0] >= 1)
    #expect(statistics.finishedRequests.values.reduce(0, +) == 2)
  }

  @Test func queueBoundDrainAndShutdown() async throws {
    let engine = try engine {
      $0.scheduler.maxBatch = 1
      $0.scheduler.queueLimit = 0
    }
    engine.drain()
    #expect(throws: PlatformError.self) { try engine.generate(request(0)) }
    let other = try InferenceEngineTests.bounded()
    var streams: [AsyncThrowingStream<GenerationEvent, any Error>] = []
    var refusals = 0
    for index in 0..<200 {
      do {
        streams.append(try other.generate(request(index, tokens: 60)))
      } catch let error as PlatformError {
        #expect(error.code == .resourceExhausted)
        refusals += 1
      }
    }
    #expect(refusals > 0)
    other.shutdown()
    for stream in streams {
      var last: GenerationEvent?
      for try await event in stream { last = event }
      #expect(last?.finish != nil)
    }
    #expect(throws: PlatformError.self) { try other.generate(request(0)) }
  }

  static func bounded() throws -> InferenceEngine {
    try engine {
      $0.scheduler.maxBatch = 1
      $0.scheduler.queueLimit = 2
    }
  }
}
