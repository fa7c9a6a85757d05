// SPDX-License-Identifier: Apache-2.0

/// The syntax tree of a template.
indirect enum TemplateExpression: Sendable {
  struct Call: Sendable {
    var positional: [TemplateExpression] = []
    var named: [(name: String, value: TemplateExpression)] = []
    /// `*list` and `**dictionary`.
    var spread: TemplateExpression?
    var spreadNamed: TemplateExpression?
  }
  enum Operator: String, Sendable { case add = "+", subtract = "-", multiply = "*", divide = "/", floorDivide = "//", remainder = "%", power = "**" }
  enum Comparison: String, Sendable {
    case equal = "==", different = "!=", less = "<", lessOrEqual = "<=", greater = ">", greaterOrEqual = ">="
    case isIn = "in", isNotIn = "not in"
  }

  case constant(TemplateValue)
  case name(String)
  case list([TemplateExpression], isTuple: Bool)
  case dictionary([(key: TemplateExpression, value: TemplateExpression)])
  case attribute(TemplateExpression, String)
  case item(TemplateExpression, TemplateExpression)
  case slice(TemplateExpression, start: TemplateExpression?, stop: TemplateExpression?, step: TemplateExpression?)
  case call(TemplateExpression, Call)
  /// nil: the text of the surrounding `{% filter %}`.
  case filter(TemplateExpression?, String, Call)
  case test(TemplateExpression, String, Call)
  case not(TemplateExpression)
  case negative(TemplateExpression)
  case positive(TemplateExpression)
  case both(TemplateExpression, TemplateExpression)
  case either(TemplateExpression, TemplateExpression)
  case arithmetic(TemplateExpression, Operator, TemplateExpression)
  case concatenation([TemplateExpression])
  case comparison(TemplateExpression, [(Comparison, TemplateExpression)])
  case conditional(condition: TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)
}

/// What stands left of `=` in `{% set %}`, or behind `{% for %}`.
indirect enum TemplateTarget: Sendable {
  case name(String)
  case attribute(String, String)
  case tuple([TemplateTarget])
}

struct TemplateMacro: Sendable {
  var name: String
  var parameters: [(name: String, fallback: TemplateExpression?)]
  var body: [TemplateNode]
  /// Which of `varargs`, `kwargs` and `caller` the body uses.
  var uses: Set<String>
}

indirect enum TemplateStatement: Sendable {
  case text(String)
  case show(TemplateExpression)
  case branch([(condition: TemplateExpression, body: [TemplateNode])], otherwise: [TemplateNode])
  case loop(
    target: TemplateTarget, over: TemplateExpression, where: TemplateExpression?, isRecursive: Bool, body: [TemplateNode], otherwise: [TemplateNode])
  case set(TemplateTarget, TemplateExpression)
  case setBlock(TemplateTarget, filter: TemplateExpression?, body: [TemplateNode])
  case macro(TemplateMacro)
  case callBlock(TemplateExpression, TemplateMacro)
  case filterBlock(TemplateExpression, body: [TemplateNode])
  case with([(TemplateTarget, TemplateExpression)], body: [TemplateNode])
  /// `{% generation %}`: what the assistant says.
  case generation([TemplateNode])
  case leave
  case next
}

struct TemplateNode: Sendable {
  var statement: TemplateStatement
  var line: Int
}
