// SPDX-License-Identifier: Apache-2.0

/// The elements of a stream for one consumer at a time: first the route, which decides on the status with it, then the body.
actor FrameSource<Element: Sendable> {
  private var stream: AsyncThrowingStream<Element, any Error>?
  private var iterator: AsyncThrowingStream<Element, any Error>.Iterator?

  init(_ stream: AsyncThrowingStream<Element, any Error>) { self.stream = stream }

  func next() async throws -> Element? {
    guard var own = iterator ?? stream?.makeAsyncIterator() else { return nil }
    let value = try await own.next(isolation: self)
    iterator = own
    return value
  }

  /// Lets go of the stream, which tells whoever fills it that nobody wants more.
  func end() {
    iterator = nil
    stream = nil
  }
}
