// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// A chat template: the subset of Jinja that public models' templates are written in, with the settings and helpers of the
/// reference implementation (`apply_chat_template` of `transformers`).
///
/// Templates come from model files and are not trusted: there is no access to anything but the given values, and output, steps and
/// depth have limits.
public struct ChatTemplate: Sendable {
  /// What a rendering gave.
  public struct Rendering: Sendable, Equatable {
    public var text: String
    /// Ranges of `text`'s UTF-8 bytes that `{% generation %}` marks as the assistant's.
    public var assistantRanges: [Range<Int>]
  }

  private let nodes: [TemplateNode]

  /// - Throws: `invalidArgument` with the line of a fault (PLT-4120).
  public init(_ source: String) throws {
    guard source.utf8.count <= 1 << 20 else { throw TemplateError.syntax("the template is longer than 1 MB", line: 1) }
    nodes = try TemplateParser.parse(source)
  }

  /// - Parameters:
  ///   - context: a JSON object with `messages`, `tools`, `add_generation_prompt`, `bos_token` and whatever else the template asks for.
  ///     Its members' order is kept where the template prints them.
  ///   - now: what `strftime_now` tells, in the local time zone.
  /// - Throws: `invalidArgument` when the template refuses the conversation or fails (PLT-4121), `resourceExhausted` beyond a limit
  ///   (PLT-4122), `invalidArgument` when `context` is no JSON object.
  public func render(contextJSON context: [UInt8], now: Date = Date()) throws -> Rendering {
    guard case .dictionary(let values) = try TemplateJSON.parse(context) else {
      throw PlatformError(.invalidArgument, "a chat template's values are a JSON object", number: "PLT-4121")
    }
    return try render(values, now: now)
  }

  /// Like `render(contextJSON:now:)`; members of objects come in the order of their names.
  public func render(_ context: [String: JSONValue], now: Date = Date()) throws -> Rendering {
    var values = TemplateDictionary()
    for (key, value) in context.sorted(by: { $0.key < $1.key }) { values.set(key, TemplateValue(value)) }
    return try render(values, now: now)
  }

  private func render(_ values: TemplateDictionary, now: Date) throws -> Rendering {
    var globals = Self.globals(now)
    for (key, value) in zip(values.keys, values.values) { globals[key.text] = value }
    let interpreter = TemplateInterpreter(limits: .init())
    try interpreter.run(nodes, globals: globals)
    return Rendering(text: interpreter.output, assistantRanges: interpreter.generated)
  }

  private static func globals(_ now: Date) -> [String: TemplateValue] {
    let functions = [
      TemplateFunction("raise_exception") { arguments, _ in
        throw PlatformError(.invalidArgument, arguments.value(0, "message")?.text ?? "", number: "PLT-4123")
      },
      TemplateFunction("strftime_now") { arguments, _ in
        guard case .string(let format)? = arguments.value(0, "format") else { throw TemplateError.failure("strftime_now needs a format") }
        return .string(strftime(format, now))
      },
      TemplateFunction("range") { arguments, interpreter in
        let numbers = try arguments.positional.map { value in
          guard let number = value.wholeNumber else { throw TemplateError.failure("'\(value.typeName)' object cannot be interpreted as an integer") }
          return number
        }
        guard (1...3).contains(numbers.count) else { throw TemplateError.failure("range expected 1 to 3 arguments, got \(numbers.count)") }
        let (start, stop) = numbers.count == 1 ? (0, numbers[0]) : (numbers[0], numbers[1])
        let step = numbers.count == 3 ? numbers[2] : 1
        guard step != 0 else { throw TemplateError.failure("range() arg 3 must not be zero") }
        let span = stop.subtractingReportingOverflow(start)
        guard !span.overflow, abs(Double(span.partialValue) / Double(step)) <= 100_000 else {
          throw TemplateError.failure("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).")
        }
        let items = Array(stride(from: start, to: stop, by: step))
        try interpreter.reserve(items.count * 16)
        return .list(items.map { .int($0) })
      },
      TemplateFunction("namespace") { arguments, _ in
        let space = TemplateNamespace()
        if case .dictionary(let dictionary)? = arguments.positional.first { space.values = dictionary }
        for one in arguments.named { space.values.set(one.name, one.value) }
        return .namespace(space)
      },
      TemplateFunction("dict") { arguments, _ in
        var dictionary = TemplateDictionary()
        if case .dictionary(let given)? = arguments.positional.first { dictionary = given }
        for one in arguments.named { dictionary.set(one.name, one.value) }
        return .dictionary(dictionary)
      },
    ]
    return Dictionary(uniqueKeysWithValues: functions.map { ($0.name, .function($0)) })
  }

  private static func strftime(_ format: String, _ now: Date) -> String {
    var seconds = time_t(now.timeIntervalSince1970)
    var parts = tm()
    localtime_r(&seconds, &parts)
    var buffer = [CChar](repeating: 0, count: 4096)
    // An empty result is told from a full buffer by the mark at the end.
    let count = Foundation.strftime(&buffer, buffer.count, format + "|", &parts)
    return String(decoding: buffer.prefix(max(0, count - 1)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
