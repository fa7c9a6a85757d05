// SPDX-License-Identifier: Apache-2.0

/// What the ranks of one gang do together. Every rank calls the same operations in the same order; a call blocks the
/// calling (compute) thread until all ranks have taken part.
///
/// Sums are always formed in rank order, so that every rank gets the same bits, run after run.
/// A dead peer or a missed deadline throws `PlatformError.unavailable` or `.timeout`; the gang is then restarted as a whole.
public protocol Collective: AnyObject, Sendable {
  var rank: Int { get }
  var worldSize: Int { get }
  /// buffer: [count] f32 on every rank; afterwards the element-wise sum on every rank.
  func allReduceSum(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws
  /// buffer: [count] f32; afterwards the element-wise maximum on every rank.
  func allReduceMax(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws
  /// input: [count] f32; output: [worldSize * count] f32, rank 0's part first.
  func allGather(_ input: UnsafePointer<Float>, count: Int, into output: UnsafeMutablePointer<Float>) throws
  /// `byteCount` bytes from `root` reach every rank's `buffer`.
  func broadcast(_ buffer: UnsafeMutableRawPointer, byteCount: Int, root: Int) throws
  /// Returns when all ranks have called it.
  func barrier() throws
}

/// The collective of a gang of one: every operation is the identity.
public final class SingleRank: Collective {
  public init() {}
  public var rank: Int { 0 }
  public var worldSize: Int { 1 }
  public func allReduceSum(_ buffer: UnsafeMutablePointer<Float>, count: Int) {}
  public func allReduceMax(_ buffer: UnsafeMutablePointer<Float>, count: Int) {}
  public func allGather(_ input: UnsafePointer<Float>, count: Int, into output: UnsafeMutablePointer<Float>) {
    output.update(from: input, count: count)
  }
  public func broadcast(_ buffer: UnsafeMutableRawPointer, byteCount: Int, root: Int) {}
  public func barrier() {}
}
