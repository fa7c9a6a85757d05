// SPDX-License-Identifier: Apache-2.0

/// The version of this binary. Nodes of another version are refused by name.
public enum PlatformVersion {
  public static let current = "0.1.0"
}
