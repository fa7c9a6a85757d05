// SPDX-License-Identifier: Apache-2.0

import Core

/// The rules of a grammar under construction.
struct GrammarRules {
  private(set) var bodies: [GrammarExpression?] = []
  private(set) var names: [String] = []

  /// A rule whose body comes later, so that it can name itself.
  mutating func declare(_ name: String) -> Int {
    bodies.append(nil)
    names.append(name)
    return bodies.count - 1
  }

  mutating func define(_ rule: Int, _ body: GrammarExpression) { bodies[rule] = body }

  mutating func add(_ name: String, _ body: GrammarExpression) -> GrammarExpression {
    let rule = declare(name)
    define(rule, body)
    return .rule(rule)
  }
}

/// A grammar as an automaton over bytes with a stack of return addresses. Immutable.
struct GrammarProgram: Sendable {
  struct Edge: Sendable {
    var bytes: ByteSet
    var target: Int32
  }
  struct Call: Sendable {
    var rule: Int
    /// Where to go on when the rule has ended; nil when that would be the end of the calling rule, so that recursion at the end needs no stack.
    var back: Int32?
  }
  struct State: Sendable {
    var edges: [Edge] = []
    var silent: [Int32] = []
    var calls: [Call] = []
    var endsRule = false
  }

  private(set) var states: [State] = []
  private(set) var starts: [Int32] = []

  /// States at most: a schema that needs more would take seconds and hundreds of megabytes.
  static let stateLimit = 200_000

  /// - Parameter root: the rule that texts have to match.
  /// - Throws: `invalidArgument` PLT-5241 when no text matches, PLT-5242 when it is too large or calls itself without reading.
  init(_ rules: GrammarRules, root: Int) throws {
    let bodies = try rules.bodies.enumerated().map { index, body in
      guard let body else { throw PlatformError(.invalidArgument, "the rule '\(rules.names[index])' has no body", number: "PLT-5242") }
      return body
    }
    let productive = Self.fixpoint(bodies.count) { known, rule in Self.isProductive(bodies[rule], known) }
    guard productive[root] else {
      throw PlatformError(.invalidArgument, "no text can match: what is asked for contradicts itself or never ends", number: "PLT-5241")
    }
    let nullable = Self.fixpoint(bodies.count) { known, rule in Self.isNullable(bodies[rule], known) }
    try Self.refuseLeftRecursion(bodies, nullable, rules.names)
    // The root comes first.
    var places: [Int: Int] = [:]
    for rule in [root] + bodies.indices.filter({ $0 != root }) where productive[rule] { places[rule] = places.count }
    for (rule, _) in places.sorted(by: { $0.value < $1.value }) {
      let start = try newState()
      let end = try newState()
      states[Int(end)].endsRule = true
      starts.append(start)
      try build(bodies[rule], from: start, to: end, places: places, productive: productive)
    }
  }

  private mutating func newState() throws -> Int32 {
    guard states.count < Self.stateLimit else {
      throw PlatformError(
        .invalidArgument, "the grammar needs more than \(Self.stateLimit) states", hint: "Use smaller bounds of lengths and fewer alternatives.",
        number: "PLT-5242")
    }
    states.append(State())
    return Int32(states.count - 1)
  }

  private mutating func build(
    _ expression: GrammarExpression, from: Int32, to: Int32, places: [Int: Int], productive: [Bool]
  ) throws {
    guard Self.isProductive(expression, productive) else { return }
    func recurse(_ inner: GrammarExpression, _ from: Int32, _ to: Int32) throws {
      try build(inner, from: from, to: to, places: places, productive: productive)
    }
    switch expression {
    case .never: break
    case .bytes(let bytes):
      guard !bytes.isEmpty else {
        states[Int(from)].silent.append(to)
        return
      }
      var place = from
      for (index, byte) in bytes.enumerated() {
        let next = index == bytes.count - 1 ? to : try newState()
        states[Int(place)].edges.append(Edge(bytes: ByteSet(byte...byte), target: next))
        place = next
      }
    case .set(let set): states[Int(from)].edges.append(Edge(bytes: set, target: to))
    case .sequence(let parts):
      guard !parts.isEmpty else {
        states[Int(from)].silent.append(to)
        return
      }
      var place = from
      for (index, part) in parts.enumerated() {
        let next = index == parts.count - 1 ? to : try newState()
        try recurse(part, place, next)
        place = next
      }
    case .choice(let parts): for part in parts { try recurse(part, from, to) }
    case .repetition(let part, let minimum, let maximum):
      var place = from
      for _ in 0..<minimum {
        let next = try newState()
        try recurse(part, place, next)
        place = next
      }
      if let maximum {
        for _ in minimum..<max(minimum, maximum) {
          states[Int(place)].silent.append(to)
          let next = try newState()
          try recurse(part, place, next)
          place = next
        }
      } else if Self.isProductive(part, productive) {
        let loop = try newState()
        states[Int(place)].silent.append(loop)
        place = loop
        let next = try newState()
        try recurse(part, loop, next)
        states[Int(next)].silent.append(loop)
      }
      states[Int(place)].silent.append(to)
    case .list(let items, let separator, let rest):
      // Two lanes: nothing was written so far, something was.
      var empty: Int32? = from
      var some: Int32?
      for (item, isRequired) in items {
        let next = try newState()
        if let empty { try recurse(item, empty, next) }
        if let some { try recurse(.sequence([separator, item]), some, next) }
        if !isRequired, let some { states[Int(some)].silent.append(next) }
        if isRequired { empty = nil }
        some = next
      }
      if let rest {
        let next = try newState()
        if let empty { try recurse(rest, empty, next) }
        if let some { states[Int(some)].silent.append(next) }
        try recurse(.sequence([separator, rest]), next, next)
        some = next
      }
      if let empty { states[Int(empty)].silent.append(to) }
      if let some { states[Int(some)].silent.append(to) }
    case .rule(let rule):
      guard let place = places[rule] else { return }
      states[Int(from)].calls.append(Call(rule: place, back: states[Int(to)].endsRule ? nil : to))
    }
  }

  // MARK: properties of rules

  private static func fixpoint(_ count: Int, _ holds: ([Bool], Int) -> Bool) -> [Bool] {
    var known = [Bool](repeating: false, count: count)
    var changed = true
    while changed {
      changed = false
      for rule in 0..<count where !known[rule] && holds(known, rule) {
        known[rule] = true
        changed = true
      }
    }
    return known
  }

  private static func isProductive(_ expression: GrammarExpression, _ known: [Bool]) -> Bool {
    switch expression {
    case .never: false
    case .bytes: true
    case .set(let set): !set.isEmpty
    case .sequence(let parts): parts.allSatisfy { isProductive($0, known) }
    case .choice(let parts): parts.contains { isProductive($0, known) }
    case .repetition(let part, let minimum, _): minimum == 0 || isProductive(part, known)
    case .list(let items, _, _): items.allSatisfy { !$0.isRequired || isProductive($0.item, known) }
    case .rule(let rule): known[rule]
    }
  }

  private static func isNullable(_ expression: GrammarExpression, _ known: [Bool]) -> Bool {
    switch expression {
    case .never, .set: false
    case .bytes(let bytes): bytes.isEmpty
    case .sequence(let parts): parts.allSatisfy { isNullable($0, known) }
    case .choice(let parts): parts.contains { isNullable($0, known) }
    case .repetition(let part, let minimum, _): minimum == 0 || isNullable(part, known)
    case .list(let items, _, _): items.allSatisfy { !$0.isRequired || isNullable($0.item, known) }
    case .rule(let rule): known[rule]
    }
  }

  /// Rules that `expression` may call before it has read anything.
  private static func firstCalls(_ expression: GrammarExpression, _ nullable: [Bool], _ found: inout Set<Int>) {
    switch expression {
    case .never, .set, .bytes: break
    case .sequence(let parts):
      for part in parts {
        firstCalls(part, nullable, &found)
        if !isNullable(part, nullable) { return }
      }
    case .choice(let parts): for part in parts { firstCalls(part, nullable, &found) }
    case .repetition(let part, _, _): firstCalls(part, nullable, &found)
    case .list(let items, _, let rest):
      for item in items {
        firstCalls(item.item, nullable, &found)
        if item.isRequired && !isNullable(item.item, nullable) { return }
      }
      if let rest { firstCalls(rest, nullable, &found) }
    case .rule(let rule): found.insert(rule)
    }
  }

  private static func refuseLeftRecursion(_ bodies: [GrammarExpression], _ nullable: [Bool], _ names: [String]) throws {
    let calls = bodies.map { body in
      var found: Set<Int> = []
      firstCalls(body, nullable, &found)
      return found
    }
    // 0 not seen, 1 on the path, 2 done; without recursion of our own, as grammars may be long.
    var marks = [UInt8](repeating: 0, count: bodies.count)
    for root in bodies.indices where marks[root] == 0 {
      var path: [(rule: Int, rest: [Int])] = [(root, Array(calls[root]))]
      marks[root] = 1
      while let top = path.last {
        guard let next = top.rest.last else {
          marks[top.rule] = 2
          path.removeLast()
          continue
        }
        path[path.count - 1].rest.removeLast()
        if marks[next] == 1 {
          throw PlatformError(
            .invalidArgument, "the rule '\(names[next])' begins with itself", hint: "Write repetition with * or +, or recursion behind something.",
            number: "PLT-5242")
        }
        if marks[next] == 0 {
          marks[next] = 1
          path.append((next, Array(calls[next])))
        }
      }
    }
  }
}
