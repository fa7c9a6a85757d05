// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Grammar
import Tokenizers

/// One sequence inside the engine: its tokens, its text on the way out, and when it ends. A value without I/O.
struct GenerationState {
  /// What a drawn token led to.
  struct Outcome: Equatable {
    var text = ""
    var finish: FinishReason?
  }

  let request: GenerationRequest
  let promptCount: Int
  /// Upper bound of produced tokens.
  let maxTokens: Int
  private(set) var tokens: [Int32]
  private(set) var sampler: Sampler
  private let tokenizer: (any Tokenizer)?
  private let endTokens: Set<Int32>
  private var decoder: StreamingDecoder?
  private var matcher: StopMatcher
  private var grammar: GrammarState?

  init(
    request: GenerationRequest, prompt: [Int32], maxTokens: Int, endTokens: Set<Int32>, stops: [String],
    tokenizer: (any Tokenizer)?
  ) {
    self.request = request
    self.maxTokens = maxTokens
    self.tokenizer = tokenizer
    self.endTokens = (request.ignoreEOS ? [] : endTokens).union(request.stopTokenIDs)
    promptCount = prompt.count
    tokens = prompt
    sampler = Sampler(request.sampling, prompt: prompt)
    decoder = tokenizer.map { StreamingDecoder($0, skipSpecialTokens: request.skipsSpecialTokens) }
    grammar = request.grammar.map { GrammarState($0) }
    matcher = StopMatcher(stops, includesStop: request.includesStop)
  }

  /// Tokens that must not be drawn next: those that would end the generation before `minTokens`.
  var bannedTokens: Set<Int32> { producedCount < request.minTokens ? endTokens : [] }

  /// The stop text that ended the generation.
  var stop: String? { matcher.met }

  var producedCount: Int { tokens.count - promptCount }
  /// Of the prompt's tokens, those that were computed before it began.
  var cachedCount = 0
  var usage: GenerationUsage { GenerationUsage(promptTokens: promptCount, completionTokens: producedCount, cachedTokens: cachedCount) }

  /// What the grammar allows next: tokens, and of the tokens that end the generation all or none. Nil without a grammar.
  /// - Throws: `resourceExhausted` (PLT-5243) when it is too ambiguous, or the vocabulary cannot spell what has to come.
  func allowed() throws -> (mask: TokenMask, ends: Set<Int32>)? {
    guard let grammar else { return nil }
    let mask = try grammar.mask()
    let ends = try grammar.ends().accepts ? endTokens : []
    guard !ends.isEmpty || !mask.isEmpty else {
      throw PlatformError(.resourceExhausted, "no token of the vocabulary can follow what the grammar has accepted", number: "PLT-5243")
    }
    return (mask, ends)
  }

  /// Takes a drawn (or replayed) token: the text that may be sent now and whether the generation ends here.
  mutating func accept(_ token: Int32) throws -> Outcome {
    tokens.append(token)
    sampler.append(token)
    if grammar != nil && !endTokens.contains(token) {
      let bytes = tokenizer?.bytes(token) ?? []
      guard try grammar?.advance(bytes) == true else {
        throw PlatformError(.internalError, "a token was drawn that the grammar does not allow")
      }
    }
    if endTokens.contains(token) && producedCount > request.minTokens {
      return Outcome(text: flush().text, finish: .stop)
    }
    var outcome = Outcome()
    if let piece = decoder?.push(token), !piece.isEmpty {
      let (text, stopped) = producedCount <= request.minTokens ? (piece, false) : matcher.push(piece)
      outcome.text = text
      if stopped {
        outcome.finish = .stop
        return outcome
      }
    }
    if let ends = try grammar?.ends(), ends.accepts && !ends.goesOn {
      outcome.text += flush().text
      outcome.finish = .stop
      return outcome
    }
    if producedCount >= maxTokens {
      let (text, stopped) = flush()
      outcome.text += text
      outcome.finish = stopped ? .stop : .length
    }
    return outcome
  }

  private mutating func flush() -> (text: String, stopped: Bool) {
    let rest = decoder?.finish() ?? ""
    if !rest.isEmpty {
      let (text, stopped) = matcher.push(rest)
      if stopped { return (text, true) }
      return (text + matcher.finish(), false)
    }
    return (matcher.finish(), false)
  }

  /// Entries of the prompt's tokens behind index `place`, of which `logits` has the rows: [rows, vocabulary].
  func promptLogprobs(behind place: Int, logits: UnsafeBufferPointer<Float>, vocabulary: Int, count: Int) -> [TokenLogprob] {
    (0..<logits.count / vocabulary).compactMap { row in
      guard place + row + 1 < promptCount else { return nil }
      let own = UnsafeBufferPointer(rebasing: logits[row * vocabulary..<(row + 1) * vocabulary])
      guard let base = own.baseAddress else { return nil }
      return logprob(of: tokens[place + row + 1], logits: own, logSum: pk_log_sum_exp(base, vocabulary), count: count)
    }
  }

  /// The entry of the prompt's first token, which nothing predicts.
  func firstPromptLogprob() -> TokenLogprob {
    let bytes = tokenizer?.bytes(tokens[0]) ?? []
    return TokenLogprob(id: tokens[0], token: String(decoding: bytes, as: UTF8.self), bytes: bytes, logprob: .nan, top: [])
  }

  /// Log-probability of `token` and of the `count` best. logits: [vocabulary], as the model gave them.
  func logprob(of token: Int32, logits: UnsafeBufferPointer<Float>, logSum: Double, count: Int) -> TokenLogprob {
    guard let base = logits.baseAddress else { preconditionFailure("no logits") }
    func entry(_ id: Int32) -> TokenLogprob {
      let bytes = tokenizer?.bytes(id) ?? []
      return TokenLogprob(
        id: id, token: String(decoding: bytes, as: UTF8.self), bytes: bytes, logprob: Double(base[Int(id)]) - logSum, top: []
      )
    }
    var result = entry(token)
    if count > 0 {
      var best = [Int32](repeating: 0, count: min(count, logits.count))
      let wanted = best.count
      pk_top_k(base, logits.count, wanted, &best)
      result.top = best.map(entry)
    }
    return result
  }
}
