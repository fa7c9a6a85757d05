// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Inference

@Suite struct InferencePartsTests {
  @Test func poolHandsOutEachBlockOnce() {
    var pool = KVBlockPool(capacity: 5)
    #expect(pool.allocate(6) == nil)
    let first = pool.allocate(3)!
    let second = pool.allocate(2)!
    #expect(Set(first + second) == [0, 1, 2, 3, 4])
    #expect(pool.allocate(1) == nil)
    pool.release(first)
    #expect(pool.freeCount == 3 && pool.isConsistent(held: second))
    #expect(KVBlockPool.capacity(budgetBytes: 1000, bytesPerToken: 10) == 6)
    #expect(KVBlockPool.capacity(budgetBytes: 1, bytesPerToken: .max) == 1)
  }

  @Test func freeBlocksKeepTheirContentsUntilTheyAreNeeded() {
    let salt = PrefixKey(salt: "a")
    var keys: [PrefixKey] = []
    PrefixKey.extend(&keys, salt: salt, tokens: (0..<50).map { Int32($0) })
    #expect(keys.count == 3 && Set(keys).count == 3)
    var others: [PrefixKey] = []
    PrefixKey.extend(&others, salt: PrefixKey(salt: "b"), tokens: (0..<50).map { Int32($0) })
    #expect(Set(keys).isDisjoint(with: others))
    var pool = KVBlockPool(capacity: 4)
    let first = pool.allocate(3)!
    for (block, key) in zip(first, keys) { pool.name(block, key) }
    #expect(pool.revive(keys[0]) == first[0] && pool.revive(others[0]) == nil)
    pool.release(first)
    #expect(pool.freeCount == 3 && pool.isConsistent(held: [first[0]]))
    pool.release([first[0]])
    // The block without a name goes first, then the end of the sequence.
    #expect(pool.allocate(2) == [3, first[2]] && pool.namedCount == 2)
    #expect(pool.revive(keys[2]) == nil && pool.revive(keys[1]) == first[1] && pool.isConsistent(held: [3, first[2], first[1]]))
  }

  @Test func knownBeginningsAreTakenOver() throws {
    var configuration = BatchScheduler.Configuration()
    configuration.tokensPerStep = 64
    var scheduler = BatchScheduler(configuration: configuration, blockCount: 8)
    let tokens = (0..<48).map { Int32($0) }
    var keys: [PrefixKey] = []
    PrefixKey.extend(&keys, salt: PrefixKey(salt: ""), tokens: tokens)
    try scheduler.submit(id: 1, tokens: 48, limit: 50, keys: keys)
    let first = scheduler.nextStep()
    scheduler.completed(first[0], drew: true)
    // While the first still runs: its blocks are shared, but the last token is computed.
    try scheduler.submit(id: 2, tokens: 48, limit: 50, keys: keys)
    let both = scheduler.nextStep()
    #expect(both[1].computed == 32 && both[1].count == 16 && Array(both[1].blocks[..<2]) == Array(first[0].blocks[..<2]))
    #expect(scheduler.prefixQueries == 96 && scheduler.prefixHits == 32 && scheduler.isConsistent)
    scheduler.remove(1)
    scheduler.remove(2)
    #expect(scheduler.pool.usedCount == 0 && scheduler.isConsistent)
    try scheduler.submit(id: 3, tokens: 48, limit: 50, keys: keys, takesOver: false)
    #expect(scheduler.nextStep()[0].count == 48)
  }

  private func ready(_ tokensPerStep: Int) -> BatchScheduler {
    var configuration = BatchScheduler.Configuration()
    configuration.tokensPerStep = tokensPerStep
    return BatchScheduler(configuration: configuration, blockCount: 40)
  }

  private func keys(_ tokens: [Int32], salt: String = "") -> [PrefixKey] {
    var keys: [PrefixKey] = []
    PrefixKey.extend(&keys, salt: PrefixKey(salt: salt), tokens: tokens)
    return keys
  }

  /// Four sequences with one prompt of 70 tokens, which takes three steps: one computes it, the others its end alone.
  @Test func onePromptOfManyIsComputedOnce() throws {
    var scheduler = ready(32)
    let prompt = keys((0..<70).map { Int32($0) })
    for id in 1...4 { try scheduler.submit(id: id, tokens: 70, limit: 90, keys: prompt) }
    // Another one, and the same tokens of somebody else, do not wait.
    try scheduler.submit(id: 5, tokens: 3, limit: 5)
    try scheduler.submit(id: 6, tokens: 70, limit: 90, keys: keys((0..<70).map { Int32($0) }, salt: "other"))
    var computed: [Int: Int] = [:]
    while computed[4] == nil {
      let step = scheduler.nextStep()
      try #require(!step.isEmpty && scheduler.isConsistent)
      for work in step {
        computed[work.id, default: 0] += work.count
        scheduler.completed(work, drew: false)
        if work.drawsToken && work.id > 4 { scheduler.remove(work.id) }
      }
    }
    #expect(computed[1] == 70 && computed[2] == 6 && computed[3] == 6 && computed[4] == 6 && computed[5] == 3)
    #expect(scheduler.prefixHits == 3 * 64)
    #expect(Set(scheduler.running.filter { $0.id < 5 }.map { Array($0.blocks[..<4]) }).count == 1)
  }

  /// Who computes what others wait for may go at any time: the next one goes on behind the blocks that are there.
  @Test func whoWaitsForABeginningGoesOnWhenItsMakerIsRemoved() throws {
    var scheduler = ready(32)
    let prompt = keys((0..<70).map { Int32($0) })
    for id in 1...3 { try scheduler.submit(id: id, tokens: 70, limit: 90, keys: prompt) }
    let first = scheduler.nextStep()
    #expect(first.map(\.id) == [1] && first[0].count == 32)
    scheduler.completed(first[0], drew: false)
    scheduler.remove(1)
    let second = scheduler.nextStep()
    #expect(second.map(\.id) == [2] && second[0].computed == 32 && second[0].count == 32 && scheduler.waitingCount == 1)
    scheduler.remove(3)
    scheduler.completed(second[0], drew: false)
    #expect(scheduler.nextStep().map(\.computed) == [64] && scheduler.isConsistent)
  }

  /// Only what is equal is waited for; who wants the logits of the whole prompt waits for nothing.
  @Test func equalBeginningsAreWaitedForNoLongerThanTheyAre() throws {
    var scheduler = ready(16)
    let tokens = (0..<70).map { Int32($0) }
    try scheduler.submit(id: 1, tokens: 70, limit: 90, keys: keys(tokens))
    try scheduler.submit(id: 2, tokens: 20, limit: 30, keys: keys(Array(tokens[..<16]) + [9, 9, 9, 9]))
    let first = scheduler.nextStep()
    #expect(first.map(\.id) == [1])
    scheduler.completed(first[0], drew: false)
    scheduler.remove(1)
    #expect(scheduler.nextStep().map(\.computed) == [16])
    var other = ready(256)
    try other.submit(id: 1, tokens: 70, limit: 90, keys: keys(tokens))
    try other.submit(id: 2, tokens: 70, limit: 90, keys: keys(tokens), takesOver: false)
    #expect(other.nextStep().map(\.count) == [70, 70])
  }

  /// 100,000 steps of sequences that share beginnings, are preempted and removed: nothing is lost, and every block holds what its key says.
  @Test func accountingSurvivesAHundredThousandSteps() throws {
    var random = SplitMix64(seed: 77)
    func below(_ n: Int) -> Int { Int(random.next() % UInt64(n)) }
    var configuration = BatchScheduler.Configuration()
    configuration.maxBatch = 6
    configuration.tokensPerStep = 40
    configuration.queueLimit = 1000
    var scheduler = BatchScheduler(configuration: configuration, blockCount: 24)
    struct Known {
      var tokens: [Int32]
      var limit: Int
      var keys: [PrefixKey]
    }
    let salts = [PrefixKey(salt: ""), PrefixKey(salt: "other")]
    var known: [Int: (Known, Int)] = [:]
    /// What the memory would hold, by block: the tokens before and in it.
    var memory = [[Int32]](repeating: [], count: 24)
    var next = 0
    var taken = 0
    for step in 0..<100_000 {
      if known.count < 12 && below(3) == 0 {
        let length = 1 + below(80)
        let tokens = (0..<length).map { Int32($0 < 40 ? $0 / 16 * below(2) : below(3)) }
        let salt = below(8) == 0 ? 1 : 0
        var keys: [PrefixKey] = []
        PrefixKey.extend(&keys, salt: salts[salt], tokens: tokens)
        let limit = length + 1 + below(40)
        // Several answers to one prompt now and then.
        for _ in 0..<(below(4) == 0 ? 2 + below(3) : 1) {
          try scheduler.submit(id: next, tokens: length, limit: limit, keys: keys, takesOver: below(10) > 0)
          known[next] = (Known(tokens: tokens, limit: limit, keys: keys), salt)
          next += 1
        }
      }
      if below(60) == 0, let id = known.keys.min() {
        scheduler.remove(id)
        known[id] = nil
      }
      let pieces = scheduler.nextStep()
      if pieces.isEmpty != known.isEmpty {
        Issue.record("step \(step): \(known.count) sequences, \(pieces.count) pieces")
        return
      }
      for planned in pieces {
        var work = planned
        guard let (before, salt) = known[work.id] else {
          Issue.record("unknown \(work.id)")
          return
        }
        if work.drawsToken && below(3) == 0 { scheduler.draft(min(below(6), before.limit - before.tokens.count - 1), behind: &work) }
        var one = before
        // Every token before the piece has to be in the blocks already.
        for block in 0..<(work.computed + 15) / 16 {
          let end = min(work.computed, (block + 1) * 16)
          if Array(memory[Int(work.blocks[block])].prefix(end)) != Array(one.tokens[..<end]) {
            Issue.record("step \(step): block \(block) of \(work.id) holds something else")
            return
          }
        }
        for block in work.computed / 16..<(work.computed + work.count + 15) / 16 {
          memory[Int(work.blocks[block])] = Array(one.tokens[..<min((block + 1) * 16, work.computed + work.count)])
        }
        guard work.drawsToken else {
          scheduler.completed(work, drew: false)
          continue
        }
        let accepted = below(work.drafted + 1)
        taken += accepted
        one.tokens += (0...accepted).map { _ in Int32(below(2)) }
        let computed = work.computed + work.count + accepted
        for block in work.computed / 16..<(computed + 15) / 16 {
          memory[Int(work.blocks[block])] = Array(one.tokens[..<min((block + 1) * 16, computed)])
        }
        PrefixKey.extend(&one.keys, salt: salts[salt], tokens: one.tokens)
        scheduler.completed(work, drew: true, accepted: accepted)
        scheduler.setKeys(work.id, one.keys)
        if one.tokens.count >= one.limit {
          scheduler.remove(work.id)
          known[work.id] = nil
        } else {
          known[work.id] = (one, salt)
        }
      }
      if step % 50 == 0 { try #require(scheduler.isConsistent, "step \(step)") }
    }
    for id in known.keys { scheduler.remove(id) }
    #expect(scheduler.isIdle && scheduler.pool.usedCount == 0 && scheduler.isConsistent)
    #expect(scheduler.prefixHits > 100_000 && scheduler.preemptionCount > 100 && taken > 1000)
  }

  @Test func promptsAreCutAndStreamsComeFirst() throws {
    var configuration = BatchScheduler.Configuration()
    configuration.maxBatch = 4
    configuration.tokensPerStep = 8
    var scheduler = BatchScheduler(configuration: configuration, blockCount: 20)
    try scheduler.submit(id: 1, tokens: 3, limit: 10)
    var step = scheduler.nextStep()
    #expect(step.map(\.count) == [3] && step[0].drawsToken)
    scheduler.completed(step[0], drew: true)
    try scheduler.submit(id: 2, tokens: 20, limit: 30)
    step = scheduler.nextStep()
    #expect(step.map(\.id) == [1, 2] && step.map(\.count) == [1, 7] && step.map(\.drawsToken) == [true, false])
    scheduler.completed(step[0], drew: true)
    scheduler.completed(step[1], drew: false)
    step = scheduler.nextStep()
    #expect(step.map(\.count) == [1, 7] && step[1].computed == 7)
    scheduler.remove(1)
    scheduler.remove(2)
    #expect(scheduler.isIdle && scheduler.pool.usedCount == 0)
  }

  @Test func fullQueueAndImpossibleRequestsAreRefused() throws {
    var configuration = BatchScheduler.Configuration()
    configuration.queueLimit = 1
    var scheduler = BatchScheduler(configuration: configuration, blockCount: 2)
    #expect(throws: PlatformError.self) { try scheduler.submit(id: 1, tokens: 3, limit: 33) }
    try scheduler.submit(id: 2, tokens: 3, limit: 32)
    do {
      try scheduler.submit(id: 3, tokens: 3, limit: 32)
      Issue.record("accepted above the bound")
    } catch let error as PlatformError {
      #expect(error.code == .resourceExhausted)
    }
  }

  @Test(arguments: 0..<40) func randomLoadKeepsTheInvariantsAndFinishes(seed: Int) throws {
    var random = SplitMix64(seed: UInt64(seed))
    func below(_ n: Int) -> Int { Int(random.next() % UInt64(n)) }
    var configuration = BatchScheduler.Configuration()
    configuration.maxBatch = 1 + below(6)
    configuration.tokensPerStep = configuration.maxBatch + below(40)
    var scheduler = BatchScheduler(configuration: configuration, blockCount: 4 + below(12))
    let room = scheduler.pool.capacity * 16
    var total: [Int: Int] = [:]
    var limits: [Int: Int] = [:]
    var next = 0
    for round in 0..<100_000 {
      if next < 30 && below(3) == 0 {
        let tokens = 1 + below(min(60, room - 1))
        let limit = min(room, tokens + 1 + below(50))
        try scheduler.submit(id: next, tokens: tokens, limit: limit)
        total[next] = tokens
        limits[next] = limit
        next += 1
      }
      if below(50) == 0, let id = total.keys.sorted().first {
        scheduler.remove(id)
        total[id] = nil
      }
      let step = scheduler.nextStep()
      try #require(scheduler.isConsistent, "seed \(seed) round \(round)")
      #expect(step.isEmpty == scheduler.isIdle, "seed \(seed) round \(round)")
      #expect(step.reduce(0) { $0 + $1.count } <= configuration.tokensPerStep)
      #expect(Set(step.map(\.id)).count == step.count)
      for work in step {
        let known = try #require(total[work.id])
        #expect(work.count > 0 && work.computed + work.count <= known)
        #expect(work.blocks.count * 16 >= work.computed + work.count)
        guard work.drawsToken else {
          scheduler.completed(work, drew: false)
          continue
        }
        #expect(work.computed + work.count == known)
        if known + 1 >= limits[work.id]! {
          scheduler.remove(work.id)
          total[work.id] = nil
        } else {
          total[work.id] = known + 1
          scheduler.completed(work, drew: true)
        }
      }
      if next == 30 && total.isEmpty { return }
    }
    Issue.record("seed \(seed): not finished")
  }

  private func draw(
    _ logits: [Float], _ parameters: SamplingParameters, position: Int, produced: [Int32] = [], prompt: [Int32] = []
  ) -> Int32 {
    var sampler = Sampler(parameters, prompt: prompt)
    for token in produced { sampler.append(token) }
    var copy = logits
    return copy.withUnsafeMutableBufferPointer { sampler.draw($0, position: position) }
  }

  @Test func greedyTakesTheLowestIdOfTies() {
    #expect(draw([1, 5, 5, 2], .greedy, position: 0) == 1)
    var biased = SamplingParameters.greedy
    biased.logitBias = [3: 10, 1: -1]
    #expect(draw([1, 5, 5, 2], biased, position: 0) == 3)
  }

  @Test func penaltiesActAsDocumented() {
    var parameters = SamplingParameters.greedy
    parameters.frequencyPenalty = 0.6
    #expect(draw([1, 2, 1.5], parameters, position: 0, produced: [1]) == 2)
    parameters.frequencyPenalty = 0.2
    #expect(draw([1, 2, 1.5], parameters, position: 0, produced: [1, 1]) == 1)
    #expect(draw([1, 2, 1.5], parameters, position: 0, produced: [1, 1, 1]) == 2)
    parameters = .greedy
    parameters.presencePenalty = 0.6
    #expect(draw([1, 2, 1.5], parameters, position: 0, produced: [1, 1, 1]) == 2)
    #expect(draw([1, 2, 1.5], parameters, position: 0, prompt: [1]) == 1)
    parameters = .greedy
    parameters.repetitionPenalty = 2
    #expect(draw([1, 2, 1.5], parameters, position: 0, prompt: [1]) == 2)
    #expect(draw([-1, -1.5, -3], parameters, position: 0, prompt: [0]) == 1)
  }

  /// Frequencies over many positions against the probabilities that the definition gives.
  @Test func drawsFollowTheDistribution() {
    let logits: [Float] = [0, 1, 2, -1, 0.5]
    func expected(_ keep: [Int], _ temperature: Double) -> [Double] {
      let weights = logits.indices.map { keep.contains($0) ? exp(Double(logits[$0]) / temperature) : 0 }
      return weights.map { $0 / weights.reduce(0, +) }
    }
    func check(_ parameters: SamplingParameters, _ probabilities: [Double]) {
      var counts = [Double](repeating: 0, count: 5)
      for position in 0..<20_000 { counts[Int(draw(logits, parameters, position: position))] += 1 }
      for (count, probability) in zip(counts, probabilities) {
        // Four standard deviations of 20 000 draws are below 0.0142.
        #expect(abs(count / 20_000 - probability) < 0.0142)
        if probability == 0 { #expect(count == 0) }
      }
    }
    var parameters = SamplingParameters()
    check(parameters, expected([0, 1, 2, 3, 4], 1))
    parameters.temperature = 0.5
    check(parameters, expected([0, 1, 2, 3, 4], 0.5))
    parameters = SamplingParameters()
    parameters.topK = 2
    check(parameters, expected([1, 2], 1))
    parameters = SamplingParameters()
    parameters.topP = 0.7  // probabilities are 0.55, 0.20, 0.12, ..: two reach 0.75
    check(parameters, expected([1, 2], 1))
    parameters = SamplingParameters()
    parameters.minP = 0.2  // relative to the best: 1, 0.37, 0.22, 0.14, 0.05
    check(parameters, expected([1, 2, 4], 1))
  }

  /// Pearson's test of 50,000 draws for combinations of parameters over 40 tokens, against probabilities that are computed here in another way.
  @Test(arguments: 0..<12) func drawsPassTheChiSquareTest(combination: Int) {
    var random = SplitMix64(seed: UInt64(100 + combination))
    let logits = (0..<40).map { _ in Float(random.nextUnit() * 6 - 3) }
    var parameters = SamplingParameters()
    parameters.seed = UInt64(combination)
    parameters.temperature = [0.6, 1, 1.7][combination % 3]
    parameters.topK = [0, 25][combination % 2]
    parameters.topP = [1, 0.9][combination / 2 % 2]
    parameters.minP = [0, 0.03][combination / 3 % 2]
    parameters.presencePenalty = 0.5
    parameters.frequencyPenalty = 0.25
    parameters.repetitionPenalty = 1.2
    parameters.logitBias = [3: 1.5, 9: -2]
    let (produced, prompt): ([Int32], [Int32]) = ([1, 1, 7], [7, 12])

    var values = logits.map { Double($0) }
    values[3] += 1.5
    values[9] -= 2
    for id in [1, 7, 12] { values[id] = values[id] > 0 ? values[id] / 1.2 : values[id] * 1.2 }
    values[1] -= 0.5 + 2 * 0.25
    values[7] -= 0.5 + 0.25
    values = values.map { exp($0 / parameters.temperature) }
    let best = values.max()!
    values = values.map { $0 >= best * parameters.minP ? $0 : 0 }
    if parameters.topK > 0 {
      let bar = values.sorted(by: >)[parameters.topK - 1]
      values = values.map { $0 >= bar ? $0 : 0 }
    }
    let total = values.reduce(0, +)
    var sum = 0.0
    for index in values.indices.sorted(by: { values[$0] > values[$1] }) {
      if sum >= parameters.topP * total { values[index] = 0 }
      sum += values[index]
    }
    let kept = values.reduce(0, +)

    let draws = 50_000
    var counts = [Double](repeating: 0, count: 40)
    var sampler = Sampler(parameters, prompt: prompt)
    for token in produced { sampler.append(token) }
    for position in 0..<draws {
      var copy = logits
      counts[Int(copy.withUnsafeMutableBufferPointer { sampler.draw($0, position: position) })] += 1
    }
    var statistic = 0.0
    var cells = 0.0
    for (count, value) in zip(counts, values) {
      guard value > 0 else {
        #expect(count == 0)
        continue
      }
      let expected = value / kept * Double(draws)
      statistic += (count - expected) * (count - expected) / expected
      cells += 1
    }
    // The draws are fixed by the seed, so this cannot fail by chance: mean + 5 standard deviations of the distribution.
    #expect(statistic < cells - 1 + 5 * (2 * (cells - 1)).squareRoot(), "\(statistic) with \(cells) cells")
  }

  @Test func topPFindsWideNuclei() {
    // 1000 equal tokens: 90 % needs 900 of them, more than the first look at 256.
    let logits = [Float](repeating: 0, count: 1000)
    var parameters = SamplingParameters()
    parameters.topP = 0.9
    let drawn = Set((0..<5000).map { draw(logits, parameters, position: $0) })
    #expect(drawn.max()! < 901 && drawn.count > 850)
  }

  @Test func drawsDependOnSeedAndPosition() {
    let logits = [Float](repeating: 0, count: 64)
    var a = SamplingParameters()
    a.seed = 7
    var b = a
    b.seed = 8
    let first = (0..<50).map { draw(logits, a, position: $0) }
    #expect(first == (0..<50).map { draw(logits, a, position: $0) })
    #expect(first != (0..<50).map { draw(logits, b, position: $0) })
    #expect(Set(first).count > 20)
  }

  @Test func stopTextsAreFoundAcrossPieces() {
    func run(_ pieces: [String], _ stops: [String]) -> (sent: [String], stopped: Bool) {
      var matcher = StopMatcher(stops)
      var sent: [String] = []
      for piece in pieces {
        let (text, stopped) = matcher.push(piece)
        sent.append(text)
        if stopped { return (sent, true) }
      }
      sent.append(matcher.finish())
      return (sent, false)
    }
    #expect(run(["ab", "cE", "ND more"], ["END"]) == (["ab", "c", ""], true))
    #expect(run(["ab", "cE", "Nx"], ["END"]) == (["ab", "c", "ENx", ""], false))
    #expect(run(["xE"], ["END"]) == (["x", "E"], false))
    #expect(run(["aab"], ["ab", "b"]) == (["a"], true))
    #expect(run(["é", "ü!"], ["ü"]) == (["é", ""], true))
    #expect(run(["any"], []) == (["any", ""], false))
    var including = StopMatcher(["END"], includesStop: true)
    #expect(including.push("a ENDx") == ("a END", true) && including.met == "END")
    var several = StopMatcher(["xy", "b"])
    #expect(several.push("a") == ("a", false) && several.met == nil && several.push("cbxy") == ("c", true) && several.met == "b")
    #expect(run(["aaa", "b"], ["aab"]) == (["a", ""], true))
  }

  @Test func plainConversationsAreRendered() throws {
    let text = try ChatPrompt().render([
      ChatMessage(role: "system", content: "Be brief."), ChatMessage(role: "user", content: "Hi"),
    ])
    #expect(text == "system: Be brief.\nuser: Hi\nassistant:")
    #expect(throws: PlatformError.self) { try ChatPrompt().render([]) }
    #expect(throws: PlatformError.self) { try ChatPrompt().render([ChatMessage(role: "tool", content: "x")]) }
  }

  @Test func parametersAreChecked() {
    let bad: [(inout SamplingParameters) -> Void] = [
      { $0.temperature = -1 }, { $0.temperature = .nan }, { $0.topP = 0 }, { $0.topP = 1.1 }, { $0.topK = -1 },
      { $0.minP = 2 },
      { $0.logitBias = [10: 1] }, { $0.logitBias = [-1: 1] }, { $0.repetitionPenalty = 0 },
      { $0.frequencyPenalty = .infinity },
    ]
    for change in bad {
      var parameters = SamplingParameters()
      change(&parameters)
      #expect(throws: PlatformError.self) { try parameters.validate(vocabularySize: 10) }
    }
  }
}
