// SPDX-License-Identifier: Apache-2.0

import Core
import Grammar
import Synchronization
import Tokenizers

/// Makes the automata that requests ask for, on a thread of its own, and keeps those that were used last.
final class GrammarCompiler: Sendable {
  private struct State {
    var trie: TokenTrie?
    /// The one that was used last is at the end.
    var kept: [(source: GrammarSource, grammar: CompiledGrammar)] = []
  }

  /// Kept automata; each may grow to some tens of megabytes.
  private static let limit = 16
  private let state = Mutex(State())
  private let thread = BlockingPool(name: "grammar", threads: 1, queueLimit: 256)
  private let tokenizer: (any Tokenizer)?
  private let vocabularySize: Int
  private let endTokens: Set<Int32>

  init(tokenizer: (any Tokenizer)?, vocabularySize: Int, endTokens: Set<Int32>) {
    self.tokenizer = tokenizer
    self.vocabularySize = vocabularySize
    self.endTokens = endTokens
  }

  func grammar(_ source: GrammarSource) async throws -> CompiledGrammar {
    guard let tokenizer else { throw PlatformError(.invalidArgument, "the model has no tokenizer, so its answers cannot follow a grammar") }
    if let known = known(source) { return known }
    return try await thread.run { [self] in
      // Somebody who came before may have asked for the same.
      if let known = known(source) { return known }
      let trie = self.trie(tokenizer)
      let made = try source.compile(trie)
      state.withLock { state in
        state.kept.removeAll { $0.source == source }
        state.kept.append((source, made))
        if state.kept.count > Self.limit { state.kept.removeFirst() }
      }
      return made
    }
  }

  private func known(_ source: GrammarSource) -> CompiledGrammar? {
    state.withLock { state in
      guard let index = state.kept.firstIndex(where: { $0.source == source }) else { return nil }
      let entry = state.kept.remove(at: index)
      guard !entry.grammar.isWornOut else { return nil }
      state.kept.append(entry)
      return entry.grammar
    }
  }

  private func trie(_ tokenizer: any Tokenizer) -> TokenTrie {
    if let known = state.withLock({ $0.trie }) { return known }
    let made = TokenTrie(vocabularySize: vocabularySize) { id in
      tokenizer.isSpecial(id) || endTokens.contains(id) ? nil : tokenizer.bytes(id)
    }
    state.withLock { $0.trie = made }
    return made
  }
}
