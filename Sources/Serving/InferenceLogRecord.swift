// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// One request to a model as `platform.inference_log` keeps it: also failed, refused and abandoned ones.
public struct InferenceLogRecord: Codable, Sendable, Equatable {
  public var requestID: String
  public var time: Date
  public var endpoint: String
  public var model: String
  /// `chat.completions`, `completions`, `embeddings`, `search`.
  public var operation: String
  /// HTTP status that the client saw.
  public var status: Int
  /// `stop`, `length`, `error`, `disconnected`.
  public var outcome: String
  public var error: String
  public var promptTokens: Int
  public var completionTokens: Int
  /// Milliseconds from the request's arrival to its first token, and to its end.
  public var firstTokenMilliseconds: Double?
  public var totalMilliseconds: Double
  /// Units that worked on it, in order; more than one means that it moved.
  public var replicas: [String]
  public var principal: String
  public var stream: Bool
  /// Prompt and answer, cut at `textLimit` characters.
  public var input: String
  public var output: String

  public static let textLimit = 8_000

  public init(requestID: String, time: Date, endpoint: String, model: String, operation: String, principal: String, stream: Bool) {
    self.requestID = requestID
    self.time = time
    self.endpoint = endpoint
    self.model = model
    self.operation = operation
    self.principal = principal
    self.stream = stream
    status = 200
    outcome = ""
    error = ""
    promptTokens = 0
    completionTokens = 0
    firstTokenMilliseconds = nil
    totalMilliseconds = 0
    replicas = []
    input = ""
    output = ""
  }
}
