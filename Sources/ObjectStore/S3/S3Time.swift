// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The two ways in which S3 writes moments.
enum S3Time {
  /// `2026-01-31T12:00:00.000Z`.
  static func milliseconds(iso text: String) -> Int64? {
    let bytes = Array(text.utf8)
    guard bytes.count >= 19, bytes[4] == UInt8(ascii: "-"), bytes[10] == UInt8(ascii: "T") else { return nil }
    func number(_ range: Range<Int>) -> Int32? { Int32(String(decoding: bytes[range], as: UTF8.self)) }
    guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13), let minute = number(14..<16),
      let second = number(17..<19)
    else { return nil }
    var fraction: Int64 = 0
    if bytes.count > 20, bytes[19] == UInt8(ascii: ".") {
      let digits = bytes[20...].prefix { (48...57).contains($0) }.prefix(3)
      fraction = (Int64(String(decoding: digits, as: UTF8.self)) ?? 0) * [1, 100, 10, 1][digits.count]
    }
    return seconds(year, month, day, hour, minute, second).map { $0 * 1000 + fraction }
  }

  /// `Wed, 21 Oct 2015 07:28:00 GMT`.
  static func milliseconds(http text: String) -> Int64? {
    let parts = text.split(separator: " ")
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    guard parts.count == 6, let day = Int32(parts[1]), let month = months.firstIndex(of: String(parts[2])), let year = Int32(parts[3]) else { return nil }
    let time = parts[4].split(separator: ":").compactMap { Int32($0) }
    guard time.count == 3 else { return nil }
    return seconds(year, Int32(month + 1), day, time[0], time[1], time[2]).map { $0 * 1000 }
  }

  private static func seconds(_ year: Int32, _ month: Int32, _ day: Int32, _ hour: Int32, _ minute: Int32, _ second: Int32) -> Int64? {
    guard (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day), (0...23).contains(hour), (0...59).contains(minute),
      (0...60).contains(second)
    else { return nil }
    var parts = tm()
    (parts.tm_year, parts.tm_mon, parts.tm_mday) = (year - 1900, month - 1, day)
    (parts.tm_hour, parts.tm_min, parts.tm_sec) = (hour, minute, second)
    return Int64(timegm(&parts))
  }
}
