// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Pipelines

@Suite struct MaskingTests {
  @Test(arguments: [
    ("write to jane.doe+x@mail.example.org.", "write to [EMAIL]."), ("<a@b.co>", "<[EMAIL]>"),
    ("mailto:x_y@sub-domain.example.com?s=1", "mailto:[EMAIL]?s=1"),
    ("a@b, @handle, x@localhost, a@@b.com", "a@b, @handle, x@localhost, a@@b.com"), ("user@example.c1", "user@example.c1"),
    ("two@x.org,three@y.org", "[EMAIL],[EMAIL]"), ("jürgen@bücher.de", "[EMAIL]"),
    ("git@github.com:owner/repo", "[EMAIL]:owner/repo"),
    ("call +49 30 901820 now", "call [PHONE] now"), ("+1 (555) 010-9999", "[PHONE]"), ("(155) 010-9999", "(155) 010-9999"),
    ("(415) 555-2671", "[PHONE]"),
    ("415-555-2671", "[PHONE]"), ("415.555.2671", "[PHONE]"), ("1-800-555-0199", "[PHONE]"), ("+442079460958", "[PHONE]"),
    ("030 1234 5678", "[PHONE]"),
    ("2024-01-15 and 1.2.3.4 and 192.168.100.200", "2024-01-15 and 1.2.3.4 and 192.168.100.200"),
    ("1234567890", "1234567890"), ("v3.14.159-265", "v3.14.159-265"),
    ("ISBN 978-3-16-148410-0", "ISBN 978-3-16-148410-0"), ("2024-01-15 10:30:00 +0200", "2024-01-15 10:30:00 +0200"),
    ("1998-2004, 2006-2010", "1998-2004, 2006-2010"),
    ("card 4111 1111 1111 1111.", "card [CARD]."), ("4111-1111-1111-1111", "[CARD]"), ("378282246310005", "[CARD]"),
    ("4111111111111112", "4111111111111112"),
    ("4111 1111 1111 1111 12 times", "[CARD] 12 times"), ("x4111111111111111", "x4111111111111111"),
    ("0000000000000000", "0000000000000000"),
    ("DE89 3704 0044 0532 0130 00", "[IBAN]"), ("GB82WEST12345698765432,", "[IBAN],"),
    ("DE89370400440532013001", "DE89370400440532013001"),
    ("XX89370400440532013000", "XX89370400440532013000"), ("FR14 2004 1010 0505 0001 3M02 606", "[IBAN]"),
    ("aDE89370400440532013000", "aDE89370400440532013000"),
    ("", ""), ("@", "@"), ("+", "+"), ("(", "("), ("plain text with nothing", "plain text with nothing"),
  ]) func textIsMasked(_ text: String, _ expected: String) {
    #expect(PersonalDataMasker.mask(text).text == expected)
  }

  @Test func countsAreKeptByKindAndKindsCanBeLeftAlone() {
    let text = "a@b.org, c@d.org, +49 30 901820, 4111111111111111"
    #expect(PersonalDataMasker.mask(text).counts == [.email: 2, .phone: 1, .card: 1])
    #expect(PersonalDataMasker.mask(text, kinds: [.card]).text == "a@b.org, c@d.org, +49 30 901820, [CARD]")
  }

  @Test func everyValidCardIsFoundAndNoneWithAChangedDigit() {
    var random = SplitMix64(seed: 5)
    for round in 0..<400 {
      let length = [13, 15, 16, 16, 19][round % 5]
      var digits = [UInt8(0x32 + random.next() % 5)] + (0..<(length - 2)).map { _ in UInt8(0x30 + random.next() % 10) }
      let check = (0x30...0x39).first { PersonalDataMasker.luhn(digits + [UInt8($0)]) }!  // exactly one digit fits
      digits.append(UInt8(check))
      let valid = String(decoding: digits, as: UTF8.self)
      #expect(PersonalDataMasker.mask("n \(valid) n").text == "n [CARD] n", "\(valid)")
      let place = Int(random.next() % UInt64(length - 1)) + 1
      digits[place] = digits[place] == 0x39 ? 0x30 : digits[place] + 1
      let invalid = String(decoding: digits, as: UTF8.self)
      #expect(PersonalDataMasker.mask("n \(invalid) n").text == "n \(invalid) n")
    }
  }

  @Test func everyValidIBANIsFoundAndNoneWithAChangedCharacter() {
    var random = SplitMix64(seed: 6)
    for (country, length) in [("DE", 22), ("FR", 27), ("NO", 15), ("MT", 31), ("GB", 22)] {
      for _ in 0..<40 {
        let account = (0..<(length - 4)).map { _ in UInt8(0x30 + random.next() % 10) }
        let check = 98 - PersonalDataMasker.ibanRemainder(Array("\(country)00".utf8) + account)
        var characters = Array("\(country)\(check < 10 ? "0" : "")\(check)".utf8) + account
        let valid = String(decoding: characters, as: UTF8.self)
        #expect(PersonalDataMasker.mask("to \(valid).").text == "to [IBAN].")
        let place = Int(random.next() % UInt64(account.count)) + 4
        characters[place] = characters[place] == 0x39 ? 0x30 : characters[place] + 1
        #expect(PersonalDataMasker.mask(String(decoding: characters, as: UTF8.self)).counts[.iban] == nil)
      }
    }
  }

  @Test(arguments: ["1 ", "1-1.", "a@", "@a.", "DE89 ", "+1(", "4111 ", "((((", "a.b@c.", "999999999999"])
  func hostileTextTakesLinearTime(_ unit: String) {
    let clock = ContinuousClock()
    let text = String(repeating: unit, count: 60_000 / unit.utf8.count)
    // Quadratic work would take minutes here; the bound only tells the two apart.
    #expect(clock.measure { _ = PersonalDataMasker.mask(text) } < .seconds(30))
  }
}
