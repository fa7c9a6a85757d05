// SPDX-License-Identifier: Apache-2.0

import Models

/// Counters of an engine since its start, and what it holds now.
public struct EngineStatistics: Codable, Sendable, Equatable {
  public var waitingRequests = 0
  public var runningRequests = 0
  public var cacheBlocksUsed = 0
  public var cacheBlocksTotal = 0
  public var preemptions = 0
  /// Tokens of admitted requests that could have been in the cache, and those that were.
  public var prefixQueries = 0
  public var prefixHits = 0
  /// Names of the adapters of requests that run, and of those that wait.
  public var runningAdapters: Set<String> = []
  public var waitingAdapters: Set<String> = []
  public var acceptedRequests = 0
  /// Requests that were refused before the queue.
  public var refusedRequests = 0
  /// Finished requests by reason: `stop`, `length`, `abort` (cancelled or shut down), `error`.
  public var finishedRequests: [String: Int] = [:]
  /// Prompt tokens of accepted requests.
  public var promptTokens = 0
  /// Tokens drawn.
  public var generatedTokens = 0
  /// Rows computed, recomputation after preemption included.
  public var computedTokens = 0
  public var steps = 0
  public var stepSeconds = 0.0
  public var lastStepSeconds = 0.0
  /// How long the step that runs now has been running; 0 between steps. A watchdog compares it with its limit.
  public var currentStepSeconds = 0.0
  /// Tokens drawn a second, over the last ten seconds.
  public var tokensPerSecond = 0.0
  /// Time from acceptance to the first token: sum and count, for an average.
  public var firstTokenSeconds = 0.0
  public var firstTokens = 0
  /// Times that tokens were drafted from the text itself, tokens drafted, and how many of those were drawn, by their place in the draft.
  public var drafts = 0
  public var draftedTokens = 0
  public var acceptedTokensByPlace = [Int](repeating: 0, count: PromptLookup.limit)
  /// Rows of each step.
  public var stepTokens = EngineHistogram.step
  /// Seconds from acceptance to the first token.
  public var timeToFirstToken = EngineHistogram.firstToken
  /// Seconds between a request's tokens. Those that come out of one step share the time since the last.
  public var interTokenLatency = EngineHistogram.betweenTokens
  /// Of finished requests: from acceptance to the end, and of that the wait for the first step, from there to the first token, and the rest.
  public var requestSeconds = EngineHistogram.request
  public var queueSeconds = EngineHistogram.request
  public var prefillSeconds = EngineHistogram.request
  public var decodeSeconds = EngineHistogram.request
  /// From the first step to the end.
  public var inferenceSeconds = EngineHistogram.request
  /// Mean seconds a token behind the first, of finished requests with more than one.
  public var secondsPerToken = EngineHistogram.betweenTokens
  /// Of finished requests: tokens of the prompt, tokens made here, and how many were allowed.
  public var requestPromptTokens = EngineHistogram.tokens
  public var requestGeneratedTokens = EngineHistogram.tokens
  public var requestMaxTokens = EngineHistogram.tokens

  public init() {}

  /// Tokens of a block of the cache.
  public static var blockSize: Int { KVBlockPool.blockSize }
  public var acceptedTokens: Int { acceptedTokensByPlace.reduce(0, +) }

  /// Share of the cache in use, 0...1.
  public var cacheUsage: Double { cacheBlocksTotal == 0 ? 0 : Double(cacheBlocksUsed) / Double(cacheBlocksTotal) }
}

/// Counts events of the last ten seconds in one-second buckets.
struct RateWindow {
  private var buckets = [Int](repeating: 0, count: 10)
  private var second = Int64.min
  private var first = Int64.min

  mutating func add(_ count: Int, at now: Int64) {
    advance(to: now)
    buckets[Int(now % 10)] += count
  }

  mutating func perSecond(at now: Int64) -> Double {
    guard first != .min else { return 0 }
    advance(to: now)
    return Double(buckets.reduce(0, +)) / Double(min(max(now - first + 1, 1), 10))
  }

  private mutating func advance(to now: Int64) {
    if first == .min {
      first = now
      second = now
    }
    guard now > second else { return }
    for step in 0..<min(now - second, 10) { buckets[Int((now - step) % 10)] = 0 }
    second = now
  }
}
