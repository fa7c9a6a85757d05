// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// An open file of a volume. Methods block.
final class VolumeFile: Sendable {
  enum Asked: Equatable {
    case whole
    case part(Range<Int64>)
    /// Begins behind the end.
    case outside
  }

  private static let unfinished = ".upload-"
  private let descriptor: Int32
  private let path: String
  let size: Int64
  let modified: Date
  /// Changes with the content: a file that is written again gets another one.
  let tag: String

  /// - Throws: `notFound` PLT-1703; `invalidArgument` PLT-1704 for a folder.
  init(reading path: String) throws {
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.failure("open", path) }
    self.path = path
    var info = stat()
    guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw Self.isFolder(path)
    }
    size = Int64(info.st_size)
    modified = Date(timeIntervalSince1970: Double(info.st_mtim.tv_sec))
    let facts = [UInt64(info.st_ino), UInt64(info.st_size), UInt64(info.st_mtim.tv_sec), UInt64(info.st_mtim.tv_nsec)]
    tag = "\"" + facts.map { String($0, radix: 16) }.joined(separator: "-") + "\""
  }

  /// A new file beside `path`; folders above it are made.
  init(uploadingTo path: String) throws {
    let folder = (path as NSString).deletingLastPathComponent
    try Self.makeFolder(folder)
    self.path = "\(folder)/\(Self.unfinished)\(UUID().uuidString)"
    descriptor = open(self.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
    guard descriptor >= 0 else { throw Self.failure("write", path) }
    size = 0
    modified = Date()
    tag = ""
  }

  deinit { close(descriptor) }

  func read(at position: Int64, _ count: Int) throws -> [UInt8] {
    let bytes = try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while true {
        let got = pread(descriptor, buffer.baseAddress, count, off_t(position))
        if got < 0 && errno == EINTR { continue }
        guard got > 0 else { throw PlatformError(.unavailable, "the file became shorter while it was read", path: path) }
        filled = got
        return
      }
    }
    return bytes
  }

  func append(_ bytes: [UInt8]) throws {
    var done = 0
    while done < bytes.count {
      let wrote = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + done, bytes.count - done) }
      if wrote < 0 && errno == EINTR { continue }
      guard wrote > 0 else { throw Self.failure("write", path) }
      done += wrote
    }
  }

  /// - Throws: `alreadyExists` PLT-1704 when the name is taken and may not be overwritten, or is a folder.
  func publish(as target: String, overwrite: Bool) throws {
    guard fsync(descriptor) == 0 else { throw Self.failure("write", target) }
    if overwrite {
      guard rename(path, target) == 0 else { throw Self.failure("write", target) }
    } else {
      guard link(path, target) == 0 else { throw Self.failure("write", target) }
      unlink(path)
    }
    // The name is as durable as the bytes.
    let folder = open((target as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if folder >= 0 {
      fsync(folder)
      close(folder)
    }
  }

  func discard() { unlink(path) }

  // MARK: folders

  static func look(_ path: String) throws -> (isDirectory: Bool, size: Int64, modified: Int64)? {
    var info = stat()
    guard lstat(path, &info) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { return nil }
      throw failure("look at", path)
    }
    let kind = info.st_mode & S_IFMT
    guard kind == S_IFREG || kind == S_IFDIR else { return nil }
    return (kind == S_IFDIR, Int64(info.st_size), Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000)
  }

  static func makeFolder(_ path: String) throws {
    if let found = try look(path) {
      guard found.isDirectory else { throw PlatformError(.alreadyExists, "there is a file of this name", number: "PLT-1704", path: path) }
      return
    }
    do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
      throw PlatformError(.invalidArgument, "cannot make the folder: \(error.localizedDescription)", number: "PLT-1704", path: path)
    }
  }

  /// What a folder holds.
  struct Entry: Codable, Sendable {
    var name: String
    var path: String
    var isDirectory: Bool
    /// Milliseconds since 1970.
    var lastModified: Int64
    /// Bytes of a file.
    var fileSize: Int64?
    enum CodingKeys: String, CodingKey {
      case name, path
      case isDirectory = "is_directory"
      case lastModified = "last_modified"
      case fileSize = "file_size"
    }
  }

  /// One page of a folder.
  struct Listing: Codable, Sendable {
    var contents: [Entry]
    var nextPageToken: String?
    enum CodingKeys: String, CodingKey {
      case contents
      case nextPageToken = "next_page_token"
    }
  }

  /// One page of a folder, by name. Links and unfinished uploads are left out.
  /// - Throws: `notFound`; `invalidArgument` for a token that no page gave.
  static func list(_ path: String, shown: String, token: String?, limit: Int) throws -> Listing {
    let after = try token.map { try name(ofToken: $0) }
    guard try look(path)?.isDirectory == true else { throw missing(path) }
    let names: [String]
    do { names = try FileManager.default.contentsOfDirectory(atPath: path) } catch { throw missing(path) }
    let prefix = shown.hasSuffix("/") ? String(shown.dropLast()) : shown
    var entries: [Entry] = []
    var more = false
    for name in names.sorted() where !name.hasPrefix(unfinished) && after.map({ name > $0 }) != false {
      guard let one = try look("\(path)/\(name)") else { continue }
      if entries.count == limit {
        more = true
        break
      }
      entries.append(
        Entry(
          name: name, path: "\(prefix)/\(name)", isDirectory: one.isDirectory, lastModified: one.modified, fileSize: one.isDirectory ? nil : one.size))
    }
    return Listing(contents: entries, nextPageToken: more ? entries.last.map { Self.token(of: $0.name) } : nil)
  }

  /// What a page that ends with a name gives for the next one.
  static func token(of name: String) -> String { Data(name.utf8).base64EncodedString() }

  private static func name(ofToken token: String) throws -> String {
    guard let bytes = Data(base64Encoded: token), let name = String(bytes: bytes, encoding: .utf8), !name.isEmpty, !name.contains("/") else {
      throw PlatformError(.invalidArgument, "page_token is not one that this server gave", hint: "Leave it out for the first page.")
    }
    return name
  }

  // MARK: headers

  /// What a `Range` header asks for. Several ranges, and what is not understood, mean the whole file, as HTTP allows.
  static func range(_ header: String?, size: Int64) -> Asked {
    guard let header, header.hasPrefix("bytes="), !header.contains(",") else { return .whole }
    let parts = header.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2 else { return .whole }
    if parts[0].isEmpty {
      guard let count = Int64(parts[1]), count >= 0 else { return .whole }
      return count == 0 || size == 0 ? .outside : .part(max(0, size - count)..<size)
    }
    guard let first = Int64(parts[0]), first >= 0 else { return .whole }
    if parts[1].isEmpty { return first < size ? .part(first..<size) : .outside }
    guard let last = Int64(parts[1]), last >= first else { return .whole }
    return first < size ? .part(first..<(min(last, size - 1) + 1)) : .outside
  }

  /// Whether a list such as `"a", W/"b"` or `*` names the tag. Weak tags compare by their text.
  static func matches(_ header: String, _ tag: String) -> Bool {
    header.split(separator: ",").contains { one in
      let text = one.trimmingCharacters(in: .whitespaces)
      return text == "*" || text == tag || text == "W/" + tag
    }
  }

  /// The moment of an HTTP date, or nil.
  static func parse(httpDate text: String) -> Date? {
    let parts = text.split(separator: " ").map(String.init)
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    guard parts.count == 6, parts[5] == "GMT", let day = Int32(parts[1]), let month = months.firstIndex(of: parts[2]), let year = Int32(parts[3]) else {
      return nil
    }
    let clock = parts[4].split(separator: ":").compactMap { Int32($0) }
    guard clock.count == 3, (1970...9999).contains(year) else { return nil }
    var moment = tm()
    (moment.tm_mday, moment.tm_mon, moment.tm_year) = (day, Int32(month), year - 1900)
    (moment.tm_hour, moment.tm_min, moment.tm_sec) = (clock[0], clock[1], clock[2])
    return Date(timeIntervalSince1970: Double(timegm(&moment)))
  }

  static func httpDate(_ date: Date) -> String {
    var seconds = time_t(date.timeIntervalSince1970)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let (days, months) = (
      ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
      ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    )
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900) "
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
  }

  // MARK: errors

  static func missing(_ path: String) -> PlatformError {
    PlatformError(.notFound, "there is no such file or folder", number: "PLT-1703", path: path)
  }

  static func isFolder(_ path: String) -> PlatformError {
    PlatformError(.invalidArgument, "this is not a file", number: "PLT-1704", path: path)
  }

  static func failure(_ action: String, _ path: String) -> PlatformError {
    switch errno {
    case ENOENT, ENOTDIR: missing(path)
    case EEXIST: PlatformError(.alreadyExists, "there is a file of this name", number: "PLT-1704", path: path)
    case EISDIR: isFolder(path)
    case ENOTEMPTY: PlatformError(.invalidArgument, "the folder is not empty", number: "PLT-1704", path: path)
    default: PlatformError.system(action, path)
    }
  }
}
