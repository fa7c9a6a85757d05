// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Runs one rendering of a template. Belongs to one thread.
final class TemplateInterpreter: @unchecked Sendable {  // a rendering runs on one thread
  struct Limits: Sendable {
    /// UTF-8 bytes of everything that is printed, also into variables.
    var output = 4 << 20
    var steps = 1_000_000
    var depth = 100
  }

  /// Names that a body sees. A `set` writes to the innermost one.
  final class Scope {
    var values: [String: TemplateValue] = [:]
    let parent: Scope?
    init(_ parent: Scope?) { self.parent = parent }

    func find(_ name: String) -> TemplateValue? {
      var scope: Scope? = self
      while let current = scope {
        if let value = current.values[name] { return value }
        scope = current.parent
      }
      return nil
    }
  }

  private enum Exit { case leave, next }

  private let limits: Limits
  private var steps = 0
  private var printed = 0
  private var depth = 0
  private var line = 1
  private(set) var output = ""
  /// Byte ranges of `output` that stood between `{% generation %}` and its end.
  private(set) var generated: [Range<Int>] = []
  private var isCapturing = 0

  init(limits: Limits) { self.limits = limits }

  /// - Throws: `invalidArgument` with the line of the statement that failed, `resourceExhausted` beyond a limit.
  func run(_ nodes: [TemplateNode], globals: [String: TemplateValue]) throws {
    let root = Scope(nil)
    root.values = globals
    do {
      _ = try run(nodes, Scope(root))
    } catch let error as PlatformError where error.number == "PLT-4121" {
      var placed = error
      placed.message = "chat template, line \(line): \(error.message)"
      throw placed
    }
  }

  private func step() throws {
    steps += 1
    guard steps <= limits.steps else {
      throw PlatformError(.resourceExhausted, "chat template, line \(line): more than \(limits.steps) steps", number: "PLT-4122")
    }
  }

  private func emit(_ text: String) throws {
    printed += text.utf8.count
    guard printed <= limits.output else {
      throw PlatformError(.resourceExhausted, "chat template, line \(line): more than \(limits.output) bytes of output", number: "PLT-4122")
    }
    output += text
  }

  /// A text that an operation is about to make: refused before it takes the memory.
  func reserve(_ bytes: Int) throws {
    guard bytes <= limits.output else {
      throw PlatformError(.resourceExhausted, "chat template, line \(line): a text of \(bytes) bytes", number: "PLT-4122")
    }
    steps += bytes / 64
    try step()
  }

  private func deeper<T>(_ body: () throws -> T) throws -> T {
    depth += 1
    defer { depth -= 1 }
    guard depth <= limits.depth else {
      throw PlatformError(.resourceExhausted, "chat template, line \(line): calls nest deeper than \(limits.depth)", number: "PLT-4122")
    }
    return try body()
  }

  /// What the nodes print, instead of printing it.
  private func capture(_ nodes: [TemplateNode], _ scope: Scope) throws -> String { try capture { _ = try run(nodes, scope) } }

  /// What `body` prints, instead of printing it.
  private func capture(_ body: () throws -> Void) rethrows -> String {
    let outer = output
    output = ""
    isCapturing += 1
    defer {
      output = outer
      isCapturing -= 1
    }
    try body()
    return output
  }

  // MARK: statements

  private func run(_ nodes: [TemplateNode], _ scope: Scope) throws -> Exit? {
    for node in nodes {
      try step()
      line = node.line
      if let exit = try run(node.statement, scope) { return exit }
    }
    return nil
  }

  private func run(_ statement: TemplateStatement, _ scope: Scope) throws -> Exit? {
    switch statement {
    case .text(let text): try emit(text)
    case .show(let expression): try emit(value(expression, scope).text)
    case .branch(let cases, let otherwise):
      for one in cases where try value(one.condition, scope).isTrue { return try run(one.body, scope) }
      return try run(otherwise, scope)
    case .loop(let target, let over, let condition, let isRecursive, let body, let otherwise):
      let loop = Loop(target: target, condition: condition, isRecursive: isRecursive, body: body, otherwise: otherwise, scope: scope)
      try self.loop(loop, value(over, scope), depth: 0)
    case .set(let target, let expression): try assign(target, value(expression, scope), scope)
    case .setBlock(let target, let filter, let body):
      let text = TemplateValue.string(try capture(body, Scope(scope)))
      try assign(target, filter.map { try applied($0, text, scope) } ?? text, scope)
    case .macro(let macro): scope.values[macro.name] = .function(function(macro, scope))
    case .callBlock(let callee, let macro):
      guard case .call(let target, var call) = callee else { throw TemplateError.failure("a call is expected") }
      call.named.append(("caller", .constant(.function(function(macro, scope)))))
      try emit(value(.call(target, call), scope).text)
    case .filterBlock(let filter, let body): try emit(applied(filter, .string(capture(body, Scope(scope))), scope).text)
    case .with(let values, let body):
      let inner = Scope(scope)
      for (target, expression) in values { try assign(target, value(expression, scope), inner) }
      return try run(body, inner)
    case .generation(let body):
      let start = output.utf8.count
      let exit = try run(body, Scope(scope))
      if isCapturing == 0 { generated.append(start..<output.utf8.count) }
      return exit
    case .leave: return .leave
    case .next: return .next
    }
    return nil
  }

  private func assign(_ target: TemplateTarget, _ value: TemplateValue, _ scope: Scope) throws {
    switch target {
    case .name(let name): scope.values[name] = value
    case .attribute(let name, let attribute):
      guard case .namespace(let space)? = scope.find(name) else {
        throw TemplateError.failure("cannot assign attribute on non-namespace object")
      }
      space.values.set(attribute, value)
    case .tuple(let targets):
      if let error = value.undefinedError() { throw error }
      let items = try value.elements()
      guard items.count == targets.count else {
        throw TemplateError.failure(
          items.count < targets.count
            ? "not enough values to unpack (expected \(targets.count), got \(items.count))" : "too many values to unpack (expected \(targets.count))")
      }
      for (target, item) in zip(targets, items) { try assign(target, item, scope) }
    }
  }

  // MARK: loops

  private struct Loop: @unchecked Sendable {  // a rendering runs on one thread
    var target: TemplateTarget
    var condition: TemplateExpression?
    var isRecursive: Bool
    var body: [TemplateNode]
    var otherwise: [TemplateNode]
    var scope: Scope
  }

  private func loop(_ loop: Loop, _ iterated: TemplateValue, depth: Int) throws {
    var items = try iterated.elements()
    if let condition = loop.condition {
      items = try items.filter { item in
        try step()
        let inner = Scope(loop.scope)
        try assign(loop.target, item, inner)
        return try value(condition, inner).isTrue
      }
    }
    guard !items.isEmpty else {
      _ = try run(loop.otherwise, Scope(loop.scope))
      return
    }
    let state = TemplateNamespace()
    let changed = Changed()
    for (index, item) in items.enumerated() {
      try step()
      let inner = Scope(loop.scope)
      inner.values["loop"] = .namespace(state)
      describe(state, items, index, depth: depth, changed)
      if loop.isRecursive {
        state.values.set(
          "__call__",
          .function(
            TemplateFunction("loop") { arguments, interpreter in
              guard let children = arguments.positional.first else { throw TemplateError.failure("loop() needs what to loop over") }
              return .string(try interpreter.recurse(loop, children, depth: depth + 1))
            }))
      }
      try assign(loop.target, item, inner)
      switch try run(loop.body, inner) {
      case .leave: return
      case .next, nil: break
      }
    }
  }

  private func recurse(_ loop: Loop, _ children: TemplateValue, depth: Int) throws -> String {
    try deeper { try capture { try self.loop(loop, children, depth: depth) } }
  }

  private final class Changed: @unchecked Sendable {  // a rendering runs on one thread
    var last: [TemplateValue]?
  }

  private func describe(_ state: TemplateNamespace, _ items: [TemplateValue], _ index: Int, depth: Int, _ changed: Changed) {
    state.values.set("index", .int(index + 1))
    state.values.set("index0", .int(index))
    state.values.set("revindex", .int(items.count - index))
    state.values.set("revindex0", .int(items.count - index - 1))
    state.values.set("first", .bool(index == 0))
    state.values.set("last", .bool(index == items.count - 1))
    state.values.set("length", .int(items.count))
    state.values.set("depth", .int(depth + 1))
    state.values.set("depth0", .int(depth))
    state.values.set("previtem", index > 0 ? items[index - 1] : .undefined("there is no previous item"))
    state.values.set("nextitem", index + 1 < items.count ? items[index + 1] : .undefined("there is no next item"))
    state.values.set(
      "cycle",
      .function(
        TemplateFunction("cycle") { arguments, _ in
          guard !arguments.positional.isEmpty else { throw TemplateError.failure("no items for cycling given") }
          return arguments.positional[index % arguments.positional.count]
        }))
    state.values.set(
      "changed",
      .function(
        TemplateFunction("changed") { arguments, _ in
          defer { changed.last = arguments.positional }
          guard let last = changed.last, last.count == arguments.positional.count else { return .bool(true) }
          return .bool(!zip(last, arguments.positional).allSatisfy { $0.equals($1) })
        }))
  }

  // MARK: macros

  private func function(_ macro: TemplateMacro, _ scope: Scope) -> TemplateFunction {
    let home = Home(scope)
    return TemplateFunction(macro.name) { arguments, interpreter in
      try interpreter.call(macro, arguments, home.scope)
    }
  }

  /// The scope in which a macro was defined.
  private final class Home: @unchecked Sendable {  // a rendering runs on one thread
    let scope: Scope
    init(_ scope: Scope) { self.scope = scope }
  }

  private func call(_ macro: TemplateMacro, _ arguments: TemplateFunction.Arguments, _ home: Scope) throws -> TemplateValue {
    try deeper {
      let scope = Scope(home)
      var named = arguments.named
      for (index, parameter) in macro.parameters.enumerated() {
        if index < arguments.positional.count {
          guard !named.contains(where: { $0.name == parameter.name }) else {
            throw TemplateError.failure("macro '\(macro.name)' got multiple values for argument '\(parameter.name)'")
          }
          scope.values[parameter.name] = arguments.positional[index]
        } else if let place = named.firstIndex(where: { $0.name == parameter.name }) {
          scope.values[parameter.name] = named.remove(at: place).value
        } else if let fallback = parameter.fallback {
          scope.values[parameter.name] = try value(fallback, scope)
        } else {
          scope.values[parameter.name] = .undefined("parameter '\(parameter.name)' was not provided")
        }
      }
      let rest = Array(arguments.positional.dropFirst(macro.parameters.count))
      if macro.uses.contains("varargs") {
        scope.values["varargs"] = .list(rest, .tuple)
      } else if !rest.isEmpty {
        throw TemplateError.failure("macro '\(macro.name)' takes not more than \(macro.parameters.count) argument(s)")
      }
      if macro.uses.contains("caller") {
        let place = named.firstIndex { $0.name == "caller" }
        scope.values["caller"] = place.map { named.remove(at: $0).value } ?? .undefined("No caller defined")
      }
      if macro.uses.contains("kwargs") {
        var dictionary = TemplateDictionary()
        for one in named { dictionary.set(one.name, one.value) }
        scope.values["kwargs"] = .dictionary(dictionary)
      } else if let unknown = named.first {
        throw TemplateError.failure(
          unknown.name == "caller"
            ? "macro '\(macro.name)' was invoked with two values for the special caller argument. This is most likely a bug."
            : "macro '\(macro.name)' takes no keyword argument '\(unknown.name)'")
      }
      return .string(try capture(macro.body, scope))
    }
  }

  // MARK: expressions

  private func applied(_ filter: TemplateExpression, _ text: TemplateValue, _ scope: Scope) throws -> TemplateValue {
    guard case .filter(let inner, let name, let call) = filter else { throw TemplateError.failure("a filter is expected") }
    let input = try inner.map { try applied($0, text, scope) } ?? text
    return try TemplateFilters.apply(name, input, arguments(call, scope), self)
  }

  private func arguments(_ call: TemplateExpression.Call, _ scope: Scope) throws -> TemplateFunction.Arguments {
    var result = TemplateFunction.Arguments()
    result.positional = try call.positional.map { try value($0, scope) }
    if let spread = call.spread { result.positional += try value(spread, scope).elements() }
    result.named = try call.named.map { ($0.name, try value($0.value, scope)) }
    if let spread = call.spreadNamed {
      guard case .dictionary(let dictionary) = try value(spread, scope) else { throw TemplateError.failure("argument after ** must be a mapping") }
      for (key, value) in zip(dictionary.keys, dictionary.values) { result.named.append((key.text, value)) }
    }
    return result
  }

  func value(_ expression: TemplateExpression, _ scope: Scope) throws -> TemplateValue {
    try step()
    switch expression {
    case .constant(let value): return value
    case .name(let name): return scope.find(name) ?? .undefined("'\(name)' is undefined")
    case .list(let items, let isTuple): return .list(try items.map { try value($0, scope) }, isTuple ? .tuple : .list)
    case .dictionary(let members):
      var dictionary = TemplateDictionary()
      for member in members { try dictionary.set(value(member.key, scope), value(member.value, scope)) }
      return .dictionary(dictionary)
    case .attribute(let owner, let name): return try TemplateMembers.attribute(value(owner, scope), name)
    case .item(let owner, let key): return try TemplateMembers.item(value(owner, scope), value(key, scope))
    case .slice(let owner, let start, let stop, let step):
      return try TemplateMembers.slice(
        value(owner, scope), start.map { try value($0, scope) }, stop.map { try value($0, scope) }, step.map { try value($0, scope) })
    case .call(let callee, let call):
      let target = try value(callee, scope)
      let arguments = try arguments(call, scope)
      return try self.call(target, arguments)
    case .filter(let input, let name, let call):
      guard let input else { throw TemplateError.failure("filter '\(name)' has no input") }
      return try TemplateFilters.apply(name, value(input, scope), arguments(call, scope), self)
    case .test(let subject, let name, let call):
      return .bool(try TemplateTests.holds(name, value(subject, scope), arguments(call, scope)))
    case .not(let inner): return .bool(try !value(inner, scope).isTrue)
    case .negative(let inner):
      let inner = try value(inner, scope)
      if let whole = inner.wholeNumber {
        let (result, overflow) = (0).subtractingReportingOverflow(whole)
        guard !overflow else { throw TemplateError.failure("a number is too large") }
        return .int(result)
      }
      guard let number = inner.number else { throw inner.undefinedError() ?? TemplateError.failure("bad operand type for unary -: '\(inner.typeName)'") }
      return .float(-number)
    case .positive(let inner):
      let inner = try value(inner, scope)
      guard inner.number != nil else { throw inner.undefinedError() ?? TemplateError.failure("bad operand type for unary +: '\(inner.typeName)'") }
      return inner.whole ?? inner
    case .both(let left, let right):
      let first = try value(left, scope)
      return first.isTrue ? try value(right, scope) : first
    case .either(let left, let right):
      let first = try value(left, scope)
      return first.isTrue ? first : try value(right, scope)
    case .arithmetic(let left, let operation, let right):
      return try TemplateArithmetic.apply(operation, value(left, scope), value(right, scope), self)
    case .concatenation(let items):
      let texts = try items.map { try value($0, scope).text }
      try reserve(texts.reduce(0) { $0 + $1.utf8.count })
      return .string(texts.joined())
    case .comparison(let first, let parts):
      var left = try value(first, scope)
      for (comparison, expression) in parts {
        let right = try value(expression, scope)
        guard try TemplateArithmetic.holds(comparison, left, right) else { return .bool(false) }
        left = right
      }
      return .bool(true)
    case .conditional(let condition, let then, let otherwise):
      if try value(condition, scope).isTrue { return try value(then, scope) }
      return try otherwise.map { try value($0, scope) } ?? .undefined("the inline if-expression evaluated to false and no else section was defined.")
    }
  }

  func call(_ target: TemplateValue, _ arguments: TemplateFunction.Arguments) throws -> TemplateValue {
    switch target {
    case .function(let function): return try deeper { try function.call(arguments, self) }
    case .namespace(let space):
      if case .function(let function)? = space.values["__call__"] { return try deeper { try function.call(arguments, self) } }
      throw TemplateError.failure("'Namespace' object is not callable")
    case .undefined(let what): throw TemplateError.failure(what)
    default: throw TemplateError.failure("'\(target.typeName)' object is not callable")
    }
  }
}
