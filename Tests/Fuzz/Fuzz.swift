// SPDX-License-Identifier: Apache-2.0

import Foundation
import FuzzTargets

/// What the fuzzer calls with its bytes; `FUZZ_TARGET` names who reads them. `main` is the fuzzer's.
private let target: FuzzTarget = {
  let name = ProcessInfo.processInfo.environment["FUZZ_TARGET"] ?? ""
  guard let found = FuzzTarget.all.first(where: { $0.name == name }) else {
    fatalError("FUZZ_TARGET is one of \(FuzzTarget.all.map(\.name).joined(separator: ", "))")
  }
  return found
}()

/// Writes the samples into the folder that `FUZZ_CORPUS` names, and the words beside it, before the fuzzer reads them.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(_ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutableRawPointer) -> CInt {
  guard let folder = ProcessInfo.processInfo.environment["FUZZ_CORPUS"] else { return 0 }
  do {
    for (number, sample) in try target.samples().enumerated() { try Data(sample).write(to: URL(fileURLWithPath: "\(folder)/\(number)")) }
    let words = target.words.map { word in "\"" + word.utf8.map { "\\x" + String(0x100 + Int($0), radix: 16).suffix(2) }.joined() + "\"\n" }
    try Data(words.joined().utf8).write(to: URL(fileURLWithPath: folder + ".words"))
  } catch { fatalError("\(error)") }
  return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func test(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  if let complaint = target.complaint(about: Array(UnsafeBufferPointer(start: start, count: count))) { fatalError(complaint) }
  return 0
}
