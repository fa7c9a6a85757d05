// SPDX-License-Identifier: Apache-2.0

import CConsoleAssets

/// The console's static files: page shell, style, scripts. The browser does the rest through the API.
public enum ConsoleAssets {
  public struct Asset: Sendable {
    /// Route under which it is served.
    public var path: String
    public var contentType: String
    public var bytes: [UInt8]
  }

  public static let all: [Asset] = (0..<pc_asset_count()).map { index in
    let asset = pc_asset_at(index)
    return Asset(
      path: String(cString: asset.path), contentType: String(cString: asset.content_type),
      bytes: Array(UnsafeBufferPointer(start: asset.bytes, count: asset.count)))
  }

  /// The text of `cluster/workflows/lifecycle.yml`, which `platform demo` submits.
  public static let lifecycleWorkflow: String = {
    let file = pc_lifecycle_workflow()
    return String(decoding: UnsafeBufferPointer(start: file.bytes, count: file.count), as: UTF8.self)
  }()
}
