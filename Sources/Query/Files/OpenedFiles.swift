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
  }

  private(set) var files: [File] = []
  /// Files of this machine as they were when they were opened, by position.
  private(set) var found: [Int: (sizeBytes: Int64, modifiedMilliseconds: Int64)] = [:]
  /// Why files could not be opened, by position.
  private(set) var problems: [(index: Int, reason: String)] = []
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
    leavingOut refused: [Int: String] = [:]
  ) throws {
    let places = try fetched?.provide(list) ?? [:]
    defer { fetched?.release(places) }
    for index in list.indices where refused[index] == nil {
      let given = list[index]
      let place = places[index] ?? .local(given.path)
      guard case .local(let path) = place else {
        problems.append((index, "the file is gone"))
        continue
      }
      let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
      guard descriptor >= 0 else {
        if errno == EMFILE || errno == ENFILE { throw PlatformError.system("open", given.path) }
        problems.append((index, errno == ENOENT ? "the file is gone" : "the file cannot be opened"))
        continue
      }
      descriptors.append(descriptor)
      var info = stat()
      guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
        problems.append((index, "not a regular file"))
        continue
      }
      var file = File(
        index: index, descriptor: descriptor, path: "/proc/self/fd/\(descriptor)", sizeBytes: Int64(info.st_size),
        modifiedMicroseconds: path == given.path
          ? Int64(info.st_mtim.tv_sec) * 1_000_000 + Int64(info.st_mtim.tv_nsec) / 1000 : given.modifiedMilliseconds * 1000,
        compression: options.compression.isEmpty ? Self.compression(given.name) : options.compression)
      if path == given.path { found[index] = (file.sizeBytes, Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000) }
      if format == .csv || format == .json || format == .text {
        do {
          // The engine does not look at the checksum.
          if file.compression == "gzip" {
            do { try GzipReader.check(descriptor) } catch is GzipReader.Failure { throw Problem(reason: "damaged gzip") }
          }
          // Nor whether a file ends in the middle.
          if file.compression == "zstd", !ZstdFrames.areWhole(descriptor, sizeBytes: file.sizeBytes) { throw Problem(reason: "damaged zstd") }
          if let copy = try Self.transcoded(file, options.encoding, scratch: scratch) {
            copies.append(copy)
            (file.path, file.compression, file.isRewritten) = (copy, "none", true)
          }
          if file.compression == "none", !options.wholeText {
            let isQuoted = format == .csv && !options.quote.isEmpty
            let quoting = isQuoted ? CSVQuoting(delimiter: options.delimiter, quote: options.quote, escape: options.escape) : nil
            let copy = try Self.newCopy(scratch)
            copies.append(copy)
            // In JSON a carriage return by itself is white space.
            if try LineEnds.unify(file.path, quoting: quoting, lone: format == .json ? 32 : 10, copy: copy) { (file.path, file.isRewritten) = (copy, true) }
          }
        } catch let problem as Problem {
          problems.append((index, problem.reason))
          continue
        }
      }
      files.append(file)
    }
  }

  private struct Problem: Error { var reason: String }

  static func compression(_ name: String) -> String {
    let lower = name.lowercased()
    return lower.hasSuffix(".gz") || lower.hasSuffix(".gzip") ? "gzip" : lower.hasSuffix(".zst") || lower.hasSuffix(".zstd") ? "zstd" : "none"
  }

  /// The path of a UTF-8 copy, when the text is in another encoding or begins with a mark of UTF-16.
  private static func transcoded(_ file: File, _ encoding: FileOptions.Encoding, scratch: String) throws -> String? {
    var head = [UInt8](repeating: 0, count: 2)
    let got = pread(file.descriptor, &head, 2, 0)
    let isMarked = got == 2 && (head == [0xFF, 0xFE] || head == [0xFE, 0xFF])
    guard encoding != .utf8 || (isMarked && file.compression == "none") else { return nil }
    guard file.compression != "zstd" else { throw Problem(reason: "zstd can only pack UTF-8 text here") }
    guard file.sizeBytes <= transcodeLimit else { throw Problem(reason: "the file is too large for its encoding") }
    guard var data = FileManager.default.contents(atPath: file.path) else { throw Problem(reason: "the file cannot be read") }
    if file.compression == "gzip" {
      do { data = try GzipReader.unpack(data, limit: transcodeLimit) } catch is GzipReader.Failure { throw Problem(reason: "damaged gzip") }
    }
    let text: [UInt8]
    switch encoding {
    case .utf8, .utf16: text = utf16(data, isBig: data.starts(with: [0xFE, 0xFF]))
    case .utf16LittleEndian: text = utf16(data, isBig: false)
    case .utf16BigEndian: text = utf16(data, isBig: true)
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
  private static func newCopy(_ scratch: String) throws -> String {
    do { try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true) } catch {
      throw PlatformError.from(error, context: "making a folder for copies of files")
    }
    return "\(scratch)/text-\(UUID().uuidString.lowercased())"
  }

  private static func utf16(_ data: Data, isBig: Bool) -> [UInt8] {
    var units: [UInt16] = []
    units.reserveCapacity(data.count / 2)
    data.withUnsafeBytes { raw in
      for index in stride(from: 0, to: raw.count - 1, by: 2) {
        units.append(isBig ? UInt16(raw[index]) << 8 | UInt16(raw[index + 1]) : UInt16(raw[index + 1]) << 8 | UInt16(raw[index]))
      }
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
