// SPDX-License-Identifier: Apache-2.0

/// Finds e-mail addresses, phone numbers, payment cards and bank accounts, and puts `[EMAIL]` and the like in their place.
///
/// Scanners by hand, linear in the text. Cards must satisfy Luhn's check (ISO/IEC 7812) and IBANs their length and
/// remainder (ISO 13616), so that version numbers, dates and digests stay. What counts as a phone number is a convention:
/// an international number with `+`, a North American one in groups of 3-3-4, or one with a leading 0 in groups.
public enum PersonalDataMasker {
  public enum Kind: String, Codable, Sendable, CaseIterable, CodingKeyRepresentable {
    case email, phone, card, iban
    public var tag: String {
      switch self {
      case .email: "[EMAIL]"
      case .phone: "[PHONE]"
      case .card: "[CARD]"
      case .iban: "[IBAN]"
      }
    }
  }

  public struct Masked: Sendable, Equatable {
    public var text: String
    public var counts: [Kind: Int]
  }

  public static func mask(_ text: String, kinds: Set<Kind> = Set(Kind.allCases)) -> Masked {
    var text = text
    var out: [UInt8] = []
    var counts: [Kind: Int] = [:]
    let unchanged = text.withUTF8 { bytes in
      let found = spans(bytes).filter { kinds.contains($0.kind) }
      guard !found.isEmpty else { return true }
      var copied = 0
      for span in found {
        out.append(contentsOf: bytes[copied..<span.start])
        out.append(contentsOf: Array(span.kind.tag.utf8))
        counts[span.kind, default: 0] += 1
        copied = span.end
      }
      out.append(contentsOf: bytes[copied...])
      return false
    }
    return Masked(text: unchanged ? text : String(decoding: out, as: UTF8.self), counts: counts)
  }

  struct Span: Equatable {
    var kind: Kind
    var start: Int
    var end: Int
  }

  /// Non-overlapping, in order.
  static func spans(_ bytes: UnsafeBufferPointer<UInt8>) -> [Span] {
    let emails = emailSpans(bytes)
    var out: [Span] = []
    var nextEmail = 0
    var index = 0
    while index < bytes.count {
      if nextEmail < emails.count, index >= emails[nextEmail].start {
        out.append(emails[nextEmail])
        index = emails[nextEmail].end
        nextEmail += 1
        continue
      }
      let limit = nextEmail < emails.count ? emails[nextEmail].start : bytes.count
      let byte = bytes[index]
      let startsWord = index == 0 || !isAlphanumeric(bytes[index - 1])
      if startsWord, isUpper(byte), let end = ibanEnd(bytes, index, limit) {
        out.append(Span(kind: .iban, start: index, end: end))
        index = end
      } else if isDigit(byte) || ((byte == 0x2B || byte == 0x28) && index + 1 < limit && isDigit(bytes[index + 1])) {
        let end = numberRun(bytes, index, limit, startsWord: startsWord, &out)
        index = max(end, index + 1)
      } else {
        index += 1
      }
    }
    return out
  }

  // MARK: E-mail

  private static func emailSpans(_ bytes: UnsafeBufferPointer<UInt8>) -> [Span] {
    var out: [Span] = []
    var floor = 0
    for at in bytes.indices where bytes[at] == 0x40 {
      guard at >= floor else { continue }
      var start = at
      while start > floor, at - start < 65, isLocal(bytes[start - 1]) { start -= 1 }
      while start < at, bytes[start] == 0x2E || bytes[start] == 0x2D { start += 1 }  // punctuation before the address
      guard at - start >= 1, at - start <= 64, bytes[at - 1] != 0x2E else { continue }
      // The domain: labels of letters, digits and inner hyphens, at least two, the last one of letters.
      var end = at + 1
      var labelStart = end
      var accepted = 0
      while end <= bytes.count, end - at <= 254 {
        let byte = end < bytes.count ? bytes[end] : 0
        if isAlphanumeric(byte) || byte == 0x2D || byte >= 0x80 {
          end += 1
          continue
        }
        let length = end - labelStart
        guard length > 0, length <= 63, bytes[labelStart] != 0x2D, bytes[end - 1] != 0x2D else { break }
        if labelStart > at + 1, length >= 2, bytes[labelStart..<end].allSatisfy({ !isDigit($0) && $0 != 0x2D }) {
          accepted = end
        }
        guard byte == 0x2E, end < bytes.count else { break }
        end += 1
        labelStart = end
      }
      guard accepted > 0 else { continue }
      out.append(Span(kind: .email, start: start, end: accepted))
      floor = accepted
    }
    return out
  }

  private static func isLocal(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x2E, 0x5F, 0x25, 0x2B, 0x2D, 0x27, 0x21, 0x23, 0x24, 0x26, 0x2A, 0x3F, 0x5E, 0x7E: true
    default: isAlphanumeric(byte) || byte >= 0x80
    }
  }

  // MARK: IBAN

  /// Length by country (ISO 13616 registry).
  private static let ibanLengths: [String: Int] = {
    let table =
      "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27GB22GE22GI23GL18GR27"
      + "GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27MT31MU30NL18NO15PK24PL28"
      + "PS29PT25QA29RO24RS22SA24SC31SD18SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20"
    var lengths: [String: Int] = [:]
    var rest = Substring(table)
    while rest.count >= 4 {
      lengths[String(rest.prefix(2))] = Int(rest.dropFirst(2).prefix(2))
      rest = rest.dropFirst(4)
    }
    return lengths
  }()

  /// The end of a valid IBAN at `start`, written together or in groups of four.
  private static func ibanEnd(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, _ limit: Int) -> Int? {
    guard start + 15 <= limit, isUpper(bytes[start + 1]), isDigit(bytes[start + 2]), isDigit(bytes[start + 3]),
      let length = ibanLengths[String(decoding: bytes[start..<start + 2], as: UTF8.self)]
    else { return nil }
    var characters: [UInt8] = []
    var index = start
    while index < limit, characters.count < length {
      let byte = bytes[index]
      if isDigit(byte) || isUpper(byte) {
        characters.append(byte)
      } else if byte == 0x20, characters.count % 4 == 0 {
        // a group ends
      } else {
        return nil
      }
      index += 1
    }
    guard characters.count == length, index == bytes.count || !isAlphanumeric(bytes[index]), ibanRemainder(characters) == 1
    else { return nil }
    return index
  }

  static func ibanRemainder(_ characters: [UInt8]) -> Int {
    var remainder = 0
    for byte in characters[4...] + characters[..<4] {
      remainder = isDigit(byte) ? (remainder * 10 + Int(byte - 0x30)) % 97 : (remainder * 100 + Int(byte - 0x37)) % 97
    }
    return remainder
  }

  // MARK: Cards and phones

  private struct Group {
    var start: Int
    var end: Int
    /// The bytes between the group before and this one; empty for the first.
    var separator: [UInt8]
    var count: Int { end - start }
  }

  /// Handles the digits and separators from `start` on, as one run. Returns its end.
  private static func numberRun(
    _ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, _ limit: Int, startsWord: Bool, _ out: inout [Span]
  ) -> Int {
    var groups: [Group] = []
    var index = start
    while index < limit {
      var separatorEnd = index
      while separatorEnd < limit, separatorEnd - index < 3, isSeparator(bytes[separatorEnd]) { separatorEnd += 1 }
      guard separatorEnd < limit, isDigit(bytes[separatorEnd]) else { break }
      var end = separatorEnd
      while end < limit, isDigit(bytes[end]) { end += 1 }
      groups.append(Group(start: separatorEnd, end: end, separator: Array(bytes[index..<separatorEnd])))
      index = end
    }
    guard let last = groups.last else { return start + 1 }
    let endsWord = last.end == bytes.count || !isAlphanumeric(bytes[last.end])
    var first = 0
    while first < groups.count {
      if first == 0 && !startsWord {
        first += 1
        continue
      }
      if let (kind, lastGroup, from) = match(bytes, groups, first, endsWord: endsWord) {
        out.append(Span(kind: kind, start: from, end: groups[lastGroup].end))
        first = lastGroup + 1
      } else {
        first += 1
      }
    }
    return last.end
  }

  private static func match(
    _ bytes: UnsafeBufferPointer<UInt8>, _ groups: [Group], _ first: Int, endsWord: Bool
  ) -> (Kind, Int, Int)? {
    // The groups that can make up one number: at most 19 digits in all.
    var total = 0
    var reach = first
    while reach < groups.count, total + groups[reach].count <= 19 {
      total += groups[reach].count
      reach += 1
    }
    guard reach > first, total >= 7 else { return nil }
    var digits: [UInt8] = []
    for group in groups[first..<reach] { digits.append(contentsOf: bytes[group.start..<group.end]) }
    let start = groups[first].start
    // Cheap tests first, so that long runs of small numbers cost little.
    let mayBeCard = digits[0] >= 0x32 && digits[0] <= 0x36 && (groups[first].count >= 13 || groups[first].count >= 3)
    let before = start > 0 ? bytes[start - 1] : 0
    let mayBePhone =
      before == 0x2B || before == 0x28 || digits[0] == 0x30 || groups[first].count == 3
      || (groups[first].count == 1 && digits[0] == 0x31)
    guard mayBeCard || mayBePhone else { return nil }
    var count = total
    for last in (first..<reach).reversed() {
      if last + 1 < groups.count || endsWord {
        if mayBeCard, count >= 13, isCard(groups[first...last], digits.prefix(count)) { return (.card, last, start) }
        if mayBePhone, count >= 7, count <= 15, last - first < 8,
          let from = phoneStart(bytes, groups, first, last, digits.prefix(count))
        {
          return (.phone, last, from)
        }
      }
      count -= groups[last].count
    }
    return nil
  }

  private static func isCard(_ groups: ArraySlice<Group>, _ digits: ArraySlice<UInt8>) -> Bool {
    guard let first = digits.first, first >= 0x32, first <= 0x36, Set(digits).count > 1 else { return false }
    let inner = groups.dropFirst()
    // Digits together, or groups of four to six with one kind of separator.
    guard inner.allSatisfy({ $0.separator == [0x20] || $0.separator == [0x2D] }), Set(inner.map(\.separator)).count <= 1,
      groups.count == 1 || groups.allSatisfy({ $0.count >= 3 && $0.count <= 7 })
    else { return false }
    return luhn(digits)
  }

  static func luhn(_ digits: some BidirectionalCollection<UInt8>) -> Bool {
    var sum = 0
    for (place, digit) in digits.reversed().enumerated() {
      let value = Int(digit) - 0x30
      sum += place % 2 == 0 ? value : value * 2 > 9 ? value * 2 - 9 : value * 2
    }
    return sum % 10 == 0
  }

  private static func phoneStart(
    _ bytes: UnsafeBufferPointer<UInt8>, _ groups: [Group], _ first: Int, _ last: Int, _ digits: ArraySlice<UInt8>
  ) -> Int? {
    let start = groups[first].start
    let inner = groups[(first + 1)..<(last + 1)]
    let separators = inner.map(\.separator)
    func single(_ separator: [UInt8]) -> Bool { separator.count == 1 && [0x20, 0x2D, 0x2E, 0x2F].contains(separator[0]) }
    func bracketed(_ separator: [UInt8]) -> Bool {
      [") ", ")", ")-", " (", "(", "-("].contains(String(decoding: separator, as: UTF8.self))
    }
    let before = start > 0 ? bytes[start - 1] : 0
    let opened = before == 0x28 ? start - 1 : start
    if before == 0x2B || (before == 0x28 && start > 1 && bytes[start - 2] == 0x2B) {
      guard digits.count >= 8, digits.first != 0x30, separators.allSatisfy({ single($0) || bracketed($0) }),
        inner.allSatisfy({ $0.count >= 2 || $0.separator != [0x2E] })
      else { return nil }
      return before == 0x2B ? start - 1 : start - 2
    }
    let counts = groups[first...last].map(\.count)
    let american = counts == [3, 3, 4] || (counts == [1, 3, 3, 4] && digits.first == 0x31)
    if american, digits.count >= 10 {
      let area = digits[digits.startIndex + (digits.count == 11 ? 1 : 0)]
      let same = Set(separators.suffix(2)).count == 1 && separators.allSatisfy(single)
      let bracket = before == 0x28 || separators.contains(where: bracketed)
      guard area >= 0x32, same || (bracket && separators.allSatisfy { single($0) || bracketed($0) }) else { return nil }
      return bracket && counts.count == 3 ? opened : start
    }
    // National: a trunk 0, then groups with blanks or hyphens (not dots: those are versions), or an area code in brackets.
    guard digits.first == 0x30, digits.count >= 9, digits.count <= 12, counts.count >= 2, counts.count <= 6,
      counts[0] >= 2, counts[0] <= 5, counts.dropFirst().allSatisfy({ $0 >= 2 }),
      separators.allSatisfy({ $0 == [0x20] || $0 == [0x2D] || $0 == [0x2F] || (before == 0x28 && bracketed($0)) })
    else { return nil }
    return opened
  }

  private static func isSeparator(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x20, 0x2D, 0x2E, 0x28, 0x29, 0x2F, 0x2B: true
    default: false
    }
  }
  private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
  private static func isUpper(_ byte: UInt8) -> Bool { byte >= 0x41 && byte <= 0x5A }
  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    isDigit(byte) || isUpper(byte) || (byte >= 0x61 && byte <= 0x7A) || byte >= 0xC3
  }
}
