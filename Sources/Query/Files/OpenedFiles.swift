// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Files that are open for the engine under names that hold no pattern and cannot be exchanged: `/proc/self/fd/N`.
final class OpenedFiles {
  struct File {
    /// Position in `FileRead.files`.
    var index: Int
    var descriptor: Int32
    /// What the engine opens; text in another encoding, or with several kinds of line ends, is a copy.
    var path: String
    /// Whether positions in `path` are not those in the file.
    var isRewritten = false
    var sizeBytes: Int64
    var modifiedMicroseconds: Int64
    var compression: String
    /// Begins comments in `path`, where the files have any.
    var comment: String
    /// What the file is a copy of, byte for byte but for a mark in long records.
    var shielded: Shielded?
    /// Whether the engine opens the file itself.
    var isOriginal: Bool { path == Self.path(descriptor) }

    static func path(_ descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }
  }

  struct Shielded {
    var path: String
    var compression: String
    var mark: Unicode.Scalar
  }

  private(set) var files: [File] = []
  /// Files of this machine as they were when they were opened, by position.
  private(set) var found: [Int: (sizeBytes: Int64, modifiedMilliseconds: Int64)] = [:]
  /// Why files could not be opened, by position.
  private(set) var problems: [FileProblem] = []
  private var copies: [String] = []
  private var descriptors: [Int32] = []

  deinit {
    for descriptor in descriptors { close(descriptor) }
    for copy in copies { unlink(copy) }
  }

  /// Of a text in another encoding, and of a packed one, in memory.
  private static let transcodeLimit = 1 << 30

  init(
    _ list: ArraySlice<FileRead.File>, format: FileRead.Format, options: FileOptions, scratch: String, fetched: FetchedFiles? = nil,
    leavingOut refused: [Int: FileProblem] = [:]
  ) throws {
    let places = try fetched?.provide(list) ?? [:]
    defer { fetched?.release(places) }
    for index in list.indices where refused[index] == nil {
      let given = list[index]
      let place = places[index] ?? .local(given.path)
      guard case .local(let path) = place else {
        problems.append(FileProblem(index: index, reason: FileProblem.gone))
        continue
      }
      let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
      guard descriptor >= 0 else {
        if errno == EMFILE || errno == ENFILE { throw PlatformError.system("open", given.path) }
        problems.append(FileProblem(index: index, reason: errno == ENOENT ? FileProblem.gone : "the file cannot be opened"))
        continue
      }
      descriptors.append(descriptor)
      var info = stat()
      guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
        problems.append(FileProblem(index: index, reason: "not a regular file"))
        continue
      }
      let isLocal = path == given.path
      var file = File(
        index: index, descriptor: descriptor, path: File.path(descriptor), sizeBytes: Int64(info.st_size),
        modifiedMicroseconds: isLocal
          ? Int64(info.st_mtim.tv_sec) * 1_000_000 + Int64(info.st_mtim.tv_nsec) / 1000 : given.modifiedMilliseconds * 1000,
        compression: options.compression.isEmpty ? Self.compression(given.name) : options.compression, comment: options.comment)
      if isLocal { found[index] = (file.sizeBytes, Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000) }
      if format == .csv || format == .json || format == .text {
        do {
          try prepare(&file, format, options, scratch: scratch)
        } catch let problem as Problem {
          problems.append(FileProblem(index: index, reason: problem.reason))
          continue
        } catch let damage as PackedDamage {
          problems.append(FileProblem(index: index, reason: damage.reason))
          continue
        } catch let error as PlatformError where error.code == .invalidFile {
          problems.append(FileProblem(index: index, reason: error.message))
          continue
        }
      }
      files.append(file)
    }
  }

  private struct Problem: Error { var reason: String }

  /// Makes copies where the engine would not read the text as it is: it knows no other encodings, no mixed line ends, looks at no checksums and
  /// does not see whether a packed file ends in the middle.
  private func prepare(_ file: inout File, _ format: FileRead.Format, _ options: FileOptions, scratch: String) throws {
    let text = try UnpackedText(file.path, compression: file.compression)
    if let copy = try Self.transcoded(text, options.encoding, scratch: scratch) {
      copies.append(copy)
      (file.path, file.compression, file.isRewritten) = (copy, "none", true)
    } else if options.wholeText {
      if text.isPacked { throw Problem(reason: "wholeText reads files that are not packed") }
      return
    }
    guard !options.wholeText else { return }
    let isQuoted = format == .csv && !options.quote.isEmpty
    let rules = LineEnds.Rules(
      quoting: isQuoted ? CSVQuoting(delimiter: options.delimiter, quote: options.quote, escape: options.escape) : nil,
      // In JSON a carriage return by itself is white space.
      lone: format == .json ? 32 : 10, comment: format == .csv ? options.comment.utf8.first : nil, skippedLines: format == .csv ? options.skipRows : 0)
    let copy = try Self.newCopy(scratch)
    copies.append(copy)
    let current = file.isRewritten ? try UnpackedText(file.path, compression: "none") : text
    guard let made = try LineEnds.unify(current, rules, copy: copy) else { return }
    (file.path, file.compression) = (copy, "none")
    file.isRewritten = file.isRewritten || made.isMoved
    if let comment = made.comment { file.comment = comment }
  }

  static func compression(_ name: String) -> String {
    let lower = name.lowercased()
    return lower.hasSuffix(".gz") || lower.hasSuffix(".gzip") ? "gzip" : lower.hasSuffix(".zst") || lower.hasSuffix(".zstd") ? "zstd" : "none"
  }

  /// The path of a UTF-8 copy, when the text is in another encoding or begins with a mark of UTF-16.
  private static func transcoded(_ source: UnpackedText, _ encoding: FileOptions.Encoding, scratch: String) throws -> String? {
    if encoding == .utf8 {
      let head = try source.prefix(2)
      guard head == [0xFF, 0xFE] || head == [0xFE, 0xFF] else { return nil }
    }
    guard let data = try source.whole(limit: transcodeLimit) else { throw Problem(reason: "the file is too large for its encoding") }
    let text: [UInt8]
    switch encoding {
    case .utf8, .utf16: text = try utf16(data, isBig: data.starts(with: [0xFE, 0xFF]))
    case .utf16LittleEndian: text = try utf16(data, isBig: false)
    case .utf16BigEndian: text = try utf16(data, isBig: true)
    case .latin1, .windows1252:
      var out: [UInt8] = []
      out.reserveCapacity(data.count + data.count / 8)
      for byte in data {
        if byte < 0x80 {
          out.append(byte)
        } else {
          let scalar = encoding == .windows1252 && byte < 0xA0 ? windows[Int(byte) - 0x80] : UInt16(byte)
          out += Array(String(UnicodeScalar(scalar) ?? "\u{FFFD}").utf8)
        }
      }
      text = out
    }
    let copy = try newCopy(scratch)
    do { try Data(text).write(to: URL(fileURLWithPath: copy)) } catch { throw PlatformError.from(error, context: "writing a copy in UTF-8") }
    return copy
  }

  /// A name for a copy, in a folder that is there.
  static func newCopy(_ scratch: String) throws -> String {
    do { try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true) } catch {
      throw PlatformError.from(error, context: "making a folder for copies of files")
    }
    return "\(scratch)/text-\(UUID().uuidString.lowercased())"
  }

  private static func utf16(_ bytes: [UInt8], isBig: Bool) throws -> [UInt8] {
    func unit(_ index: Int) -> UInt16 {
      isBig ? UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1]) : UInt16(bytes[index + 1]) << 8 | UInt16(bytes[index])
    }
    guard bytes.count % 2 == 0 else { throw Problem(reason: "it ends in the middle of a character of UTF-16, at byte \(bytes.count - 1)") }
    var units: [UInt16] = []
    units.reserveCapacity(bytes.count / 2)
    var index = 0
    while index < bytes.count {
      let first = unit(index)
      units.append(first)
      // What stands for a character together with another unit stands nowhere else.
      if UTF16.isTrailSurrogate(first) || UTF16.isLeadSurrogate(first) {
        guard UTF16.isLeadSurrogate(first), index + 3 < bytes.count, UTF16.isTrailSurrogate(unit(index + 2)) else {
          throw Problem(reason: "it is no UTF-16 at byte \(index)")
        }
        units.append(unit(index + 2))
        index += 2
      }
      index += 2
    }
    if units.first == 0xFEFF { units.removeFirst() }
    return Array(String(decoding: units, as: UTF16.self).utf8)
  }

  /// Windows-1252, 0x80...0x9F (encoding.spec.whatwg.org, index windows-1252).
  private static let windows: [UInt16] = [
    0x20AC, 0x81, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D, 0x017D, 0x8F, 0x90, 0x2018,
    0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D, 0x017E, 0x0178,
  ]
}
