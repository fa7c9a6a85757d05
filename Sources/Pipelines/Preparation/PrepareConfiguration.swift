// SPDX-License-Identifier: Apache-2.0

import Core

/// Everything that decides which rows preparation gives. Equal values and equal input give equal rows.
public struct PrepareConfiguration: Codable, Sendable, Equatable {
  public var quality = QualityRules()
  /// Documents whose estimated Jaccard similarity reaches this are duplicates.
  public var duplicateThreshold = 0.72
  /// Which personal data is replaced by tags.
  public var masked: [PersonalDataMasker.Kind] = PersonalDataMasker.Kind.allCases
  /// Tokens a chunk at most, without the model's template.
  public var chunkTokens = 200
  /// Tokens that neighbouring chunks share at most.
  public var overlapTokens = 32
  /// Share of documents in the split `train`; the others are in `test`.
  public var trainShare = 0.9
  public var splitSeed: UInt64 = 17

  public init() {}

  /// - Throws: `invalidArgument` naming the value that is out of range.
  public func validate() throws {
    func refuse(_ what: String) -> PlatformError {
      PlatformError(.invalidArgument, "preparation: \(what)", number: "PLT-3102")
    }
    guard trainShare >= 0, trainShare <= 1 else { throw refuse("trainShare \(trainShare) is not between 0 and 1") }
    guard duplicateThreshold > 0, duplicateThreshold <= 1 else {
      throw refuse("duplicateThreshold must be above 0 and at most 1")
    }
    guard chunkTokens >= 8, overlapTokens >= 0, overlapTokens * 2 < chunkTokens else {
      throw refuse("overlapTokens must be below half of chunkTokens, which must be at least 8")
    }
    guard quality.minimumWords >= 0, quality.maximumWords >= quality.minimumWords else {
      throw refuse("word limits are reversed")
    }
  }
}
