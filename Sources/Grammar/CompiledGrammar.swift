// SPDX-License-Identifier: Apache-2.0

import Core
import Synchronization

/// A grammar that is ready to say which tokens may come next. Shared by all requests that ask for the same; any thread may use it.
///
/// The automaton is made deterministic as texts meet its states: a state is a set of places in the program, each with its stack, and is known by a
/// number from then on; so a byte costs one look-up, and a state's mask is computed once.
public final class CompiledGrammar: Sendable {
  private let program: GrammarProgram
  private let trie: TokenTrie
  private let machine: Mutex<Machine>

  init(_ program: GrammarProgram, trie: TokenTrie) throws {
    self.program = program
    self.trie = trie
    var machine = Machine()
    machine.start = try machine.number(machine.closure([Machine.place(program.starts[0], 0)], program))
    self.machine = Mutex(machine)
  }

  /// States that are kept at most, about 1 KB each; a text that leads to more fails.
  static let stateLimit = 50_000
  /// Places that a state may have; more means that the grammar is hopelessly ambiguous.
  static let placeLimit = 20_000
  /// Masks that are kept at most (16 KB each for a vocabulary of 128 k).
  static let maskLimit = 1_000

  private struct Machine {
    static let dead: Int32 = -1
    private static let unknown: Int32 = -2

    var start: Int32 = 0
    /// Return addresses: where to go on, and the stack below. Stack 0 is empty.
    private var stacks: [(back: Int32, below: Int32)] = [(-1, 0)]
    private var stackNumbers: [UInt64: Int32] = [:]
    private var states: [[UInt64]] = []
    private var numbers: [[UInt64]: Int32] = [:]
    private var accepting: [Bool] = []
    /// [states, 256]
    private var next: [Int32] = []
    private var masks: [Int32: TokenMask] = [:]

    var count: Int { states.count }

    static func place(_ state: Int32, _ stack: Int32) -> UInt64 { UInt64(UInt32(bitPattern: state)) << 32 | UInt64(UInt32(bitPattern: stack)) }

    private mutating func push(_ back: Int32, on stack: Int32) -> Int32 {
      let key = Self.place(back, stack)
      if let known = stackNumbers[key] { return known }
      stacks.append((back, stack))
      stackNumbers[key] = Int32(stacks.count - 1)
      return Int32(stacks.count - 1)
    }

    /// The places that read a byte, or where the text may end, that can be reached from these without reading.
    mutating func closure(_ places: [UInt64], _ program: GrammarProgram) throws -> [UInt64] {
      var seen = Set(places)
      var open = places
      var result: [UInt64] = []
      func visit(_ place: UInt64) { if seen.insert(place).inserted { open.append(place) } }
      while let place = open.popLast() {
        let state = Int(place >> 32)
        let stack = Int32(truncatingIfNeeded: place)
        if !program.states[state].edges.isEmpty || (program.states[state].endsRule && stack == 0) { result.append(place) }
        for target in program.states[state].silent { visit(Self.place(target, stack)) }
        for call in program.states[state].calls {
          let inner = call.back.map { push($0, on: stack) } ?? stack
          visit(Self.place(program.starts[call.rule], inner))
        }
        if program.states[state].endsRule && stack != 0 {
          let (back, below) = stacks[Int(stack)]
          visit(Self.place(back, below))
        }
        guard seen.count <= CompiledGrammar.placeLimit else {
          throw PlatformError(.resourceExhausted, "the grammar is too ambiguous: a text can be read in too many ways", number: "PLT-5243")
        }
      }
      return result.sorted()
    }

    mutating func number(_ places: [UInt64]) throws -> Int32 {
      if places.isEmpty { return Self.dead }
      if let known = numbers[places] { return known }
      guard states.count < CompiledGrammar.stateLimit else {
        throw PlatformError(.resourceExhausted, "the text needs more than \(CompiledGrammar.stateLimit) states of its grammar", number: "PLT-5243")
      }
      let number = Int32(states.count)
      states.append(places)
      numbers[places] = number
      accepting.append(false)
      next += repeatElement(Self.unknown, count: 256)
      return number
    }

    /// Fills the transitions of a state.
    private mutating func expand(_ number: Int32, _ program: GrammarProgram) throws {
      // Bytes that the same edges take lead to the same state.
      var edges: [(bytes: ByteSet, target: UInt64)] = []
      for place in states[Int(number)] {
        for edge in program.states[Int(place >> 32)].edges {
          edges.append((edge.bytes, Self.place(edge.target, Int32(truncatingIfNeeded: place))))
        }
        if program.states[Int(place >> 32)].endsRule && Int32(truncatingIfNeeded: place) == 0 { accepting[Int(number)] = true }
      }
      var known: [[Int32]: Int32] = [:]
      for byte in UInt8.min...UInt8.max {
        var taken: [Int32] = []
        for (index, edge) in edges.enumerated() where edge.bytes.contains(byte) { taken.append(Int32(index)) }
        var target = Self.dead
        if !taken.isEmpty {
          if let found = known[taken] {
            target = found
          } else {
            target = try self.number(closure(Array(Set(taken.map { edges[Int($0)].target })), program))
            known[taken] = target
          }
        }
        next[Int(number) * 256 + Int(byte)] = target
      }
    }

    mutating func step(_ state: Int32, _ byte: UInt8, _ program: GrammarProgram) throws -> Int32 {
      guard state >= 0 else { return Self.dead }
      let place = Int(state) * 256 + Int(byte)
      if next[place] == Self.unknown { try expand(state, program) }
      return next[place]
    }

    mutating func ends(_ state: Int32, _ program: GrammarProgram) throws -> (accepts: Bool, goesOn: Bool) {
      guard state >= 0 else { return (false, false) }
      if next[Int(state) * 256] == Self.unknown { try expand(state, program) }
      return (accepting[Int(state)], next[Int(state) * 256..<Int(state) * 256 + 256].contains { $0 >= 0 })
    }

    mutating func mask(_ state: Int32, _ program: GrammarProgram, _ trie: TokenTrie) throws -> TokenMask {
      if let known = masks[state] { return known }
      var mask = TokenMask(vocabularySize: trie.vocabularySize)
      var path = [Int32](repeating: Self.dead, count: trie.depth + 1)
      path[0] = state
      var node = 0
      while node < trie.bytes.count {
        let depth = Int(trie.depths[node])
        let place = Int(path[depth - 1]) * 256 + Int(trie.bytes[node])
        var target = next[place]
        if target == Self.unknown {
          try expand(path[depth - 1], program)
          target = next[place]
        }
        guard target >= 0 else {
          node = Int(trie.ends[node])
          continue
        }
        path[depth] = target
        for index in Int(trie.firstTokens[node])..<Int(trie.firstTokens[node + 1]) { mask.insert(trie.tokens[index]) }
        node += 1
      }
      if masks.count >= CompiledGrammar.maskLimit { masks.removeAll(keepingCapacity: true) }
      masks[state] = mask
      return mask
    }
  }

  /// Whether so much of it was met already that the next text should have a fresh one.
  public var isWornOut: Bool { machine.withLock { $0.count > Self.stateLimit / 2 } }

  // MARK: for `GrammarState`

  var start: Int32 { machine.withLock { $0.start } }

  func advance(_ state: Int32, _ bytes: some Sequence<UInt8>) throws -> Int32 {
    try machine.withLock { machine in try bytes.reduce(state) { try machine.step($0, $1, program) } }
  }

  func ends(_ state: Int32) throws -> (accepts: Bool, goesOn: Bool) { try machine.withLock { try $0.ends(state, program) } }

  func mask(_ state: Int32) throws -> TokenMask { try machine.withLock { try $0.mask(state, program, trie) } }
}

/// Where one text is in its grammar.
public struct GrammarState: Sendable {
  private let grammar: CompiledGrammar
  private var state: Int32

  public init(_ grammar: CompiledGrammar) {
    self.grammar = grammar
    state = grammar.start
  }

  /// Takes bytes. False when they do not fit; then nothing fits any more.
  /// - Throws: `resourceExhausted` (PLT-5243) when the grammar is too ambiguous.
  public mutating func advance(_ bytes: some Sequence<UInt8>) throws -> Bool {
    state = try grammar.advance(state, bytes)
    return state >= 0
  }

  /// Whether the text may end here, and whether it may go on.
  public func ends() throws -> (accepts: Bool, goesOn: Bool) { try grammar.ends(state) }

  /// The tokens that may come next. - Throws: as `advance`.
  public func mask() throws -> TokenMask {
    guard state >= 0 else { preconditionFailure("a text that does not fit has no next token") }
    return try grammar.mask(state)
  }
}
