// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Certificates that nobody trusts unless told.
public enum SelfSigned {
  /// - Returns: a file with a certificate for 127.0.0.1 and localhost, and its key.
  public static func certificate(in folder: TemporaryDirectory) throws -> String {
    let file = folder.file("certificate.pem")
    let made = try Program.run(
      "/usr/bin/env",
      [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", file, "-out", folder.file("only"),
      ], timeout: 60)
    guard made.status == 0 else { throw Peers.PeerError(text: "no certificate: \(made.all)") }
    var both = try Data(contentsOf: URL(fileURLWithPath: file))
    both.append(try Data(contentsOf: URL(fileURLWithPath: folder.file("only"))))
    try both.write(to: URL(fileURLWithPath: file))
    return file
  }
}
