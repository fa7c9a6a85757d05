// SPDX-License-Identifier: Apache-2.0

/// What one node measures before an endpoint is planned: payload of work of kind `serve.measure`.
public struct ServingMeasureWork: Codable, Sendable, Equatable {
  public static let kind = "serve.measure"
  /// What matrices are multiplied as.
  public var dtype: String
  public init(dtype: String) { self.dtype = dtype }
}

/// What it found, together with the others.
public struct ServingMeasure: Codable, Sendable, Equatable {
  public var hostID: String
  /// Of the machine.
  public var memoryBytes: Int64
  public var processors: Int
  public var bytesPerSecond: Double
  public var multiplicationsPerSecond: Double
  /// Of gathering a small and a large buffer from all nodes; nil for a single node.
  public var smallSeconds: Double?
  public var largeSeconds: Double?
  public var largeBytes: Int

  public init(
    hostID: String, memoryBytes: Int64, processors: Int, bytesPerSecond: Double, multiplicationsPerSecond: Double, smallSeconds: Double?,
    largeSeconds: Double?, largeBytes: Int
  ) {
    self.hostID = hostID
    self.memoryBytes = memoryBytes
    self.processors = processors
    self.bytesPerSecond = bytesPerSecond
    self.multiplicationsPerSecond = multiplicationsPerSecond
    self.smallSeconds = smallSeconds
    self.largeSeconds = largeSeconds
    self.largeBytes = largeBytes
  }
}
