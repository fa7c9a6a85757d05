// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

/// Holds mappings to the table of keys.
extension ProjectReader {
  /// Checks a mapping's keys, and their values as far as they are no references.
  /// - Parameter except: keys whose values are checked elsewhere.
  mutating func checkKeys(_ tree: YAMLTree, _ keys: [ProjectKey], _ place: String, except: Set<String> = []) {
    guard let members = tree.members else {
      if isReference(tree) { return }
      return fail("PLT-1202", tree.line, place, "must be a mapping")
    }
    for member in members {
      let here = place.isEmpty ? member.key : "\(place).\(member.key)"
      guard let key = keys.first(where: { $0.name == member.key }) else {
        unknown(member.key, member.line, place, known: keys.filter { $0.treatment == .honoured }.map(\.name))
        continue
      }
      switch key.treatment {
      case .ignored(let why): ignore(here, member.line, why)
      case .refused(let instead): fail("PLT-4276", member.line, here, "'\(member.key)' is refused", hint: instead)
      case .honoured:
        if !member.value.isNull, !except.contains(member.key) { checkShape(member.value, key.shape, here) }
      }
    }
    for key in keys where key.isRequired && tree[key.name] == nil { fail("PLT-1202", tree.line, place, "'\(key.name)' is missing", hint: key.example) }
  }

  private func isReference(_ tree: YAMLTree) -> Bool { tree.scalar.map { $0.contains("${") } ?? false }

  mutating func checkShape(_ tree: YAMLTree, _ shape: ProjectKey.Shape, _ place: String) {
    if isReference(tree) { return }
    switch shape {
    case .any: return
    case .keys(let keys): checkKeys(tree, keys, place)
    case .named(let keys):
      guard let members = tree.members else { return fail("PLT-1202", tree.line, place, "must be a mapping") }
      for member in members where !member.value.isNull { checkKeys(member.value, keys, "\(place).\(member.key)") }
    case .list(let keys):
      guard let items = tree.items else { return fail("PLT-1202", tree.line, place, "must be a list") }
      for (index, item) in items.enumerated() { checkKeys(item, keys, "\(place)[\(index)]") }
    case .texts:
      guard let items = tree.items else { return fail("PLT-1202", tree.line, place, "must be a list") }
      for (index, item) in items.enumerated() { checkShape(item, .text, "\(place)[\(index)]") }
    case .mapping:
      guard let members = tree.members else { return fail("PLT-1202", tree.line, place, "must be names with texts") }
      for member in members where !member.value.isNull { checkShape(member.value, .text, "\(place).\(member.key)") }
    case .text, .form, .number: if tree.scalar == nil { fail("PLT-1202", tree.line, place, "must be a single value") }
    case .flag:
      guard let text = tree.scalar, ["true", "false", "yes", "no", "on", "off"].contains(text.lowercased()) else {
        return fail("PLT-1202", tree.line, place, "must be true or false")
      }
    case .choice(let words):
      guard let text = tree.scalar else { return fail("PLT-1202", tree.line, place, "must be a single value") }
      guard !words.contains(text) else { return }
      let close = Spelling.suggestion(for: text, among: words) ?? Spelling.suggestion(for: text.uppercased(), among: words)
      fail(
        "PLT-1203", tree.line, place, "'\(text.prefix(80))' is not possible",
        hint: close.map { "Did you mean \($0)?" } ?? "Use \(words.joined(separator: ", ")).")
    case .wholeNumber(let range):
      guard let number = tree.scalar.flatMap({ Int64($0) }) else { return fail("PLT-1202", tree.line, place, "must be a whole number") }
      if !range.contains(number) {
        fail("PLT-1203", tree.line, place, "\(number) is out of range", hint: "Use \(range.lowerBound) to \(range.upperBound).")
      }
    }
  }
}
