// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Waits for one of some signals without a handler that runs in signal context.
public final class SignalWaiter: @unchecked Sendable {  // the sources are made in init and never touched again
  private let stream: AsyncStream<Int32>
  private let sources: [any DispatchSourceSignal]

  public init(_ signals: [Int32]) {
    let (stream, continuation) = AsyncStream<Int32>.makeStream(bufferingPolicy: .bufferingNewest(1))
    self.stream = stream
    sources = signals.map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { continuation.yield(number) }
      source.resume()
      return source
    }
  }

  public func wait() async {
    for await _ in stream { return }
  }
}
