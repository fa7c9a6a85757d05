// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Transport

@Suite struct KeyTests {
  @Test func storeKeepsThePairAndItsSecrecy() throws {
    let folder = TemporaryDirectory("keys")
    let store = KeyPairStore(path: folder.file("sub/node.key"))
    let first = try store.loadOrCreate()
    let again = try store.loadOrCreate()
    #expect(first.publicKey == again.publicKey)
    #expect(first.secretKey == again.secretKey)
    let mode = try FileManager.default.attributesOfItem(atPath: store.path)[.posixPermissions] as? Int
    #expect(mode == 0o600)
    #expect(!"\(first)".contains(first.secretKey.hexadecimal))

    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: store.path)
    #expect { try store.load() } throws: { ($0 as? PlatformError)?.number == "PLT-2104" }
  }

  @Test func storeRefusesForeignAndMixedFiles() throws {
    let folder = TemporaryDirectory("keys")
    let a = try CurveKeyPair.generate()
    let b = try CurveKeyPair.generate()
    for text in [
      "", "hello", "platform-curve-key-1\n\(a.publicKey)\n",
      "platform-curve-key-1\n\(a.publicKey)\n\(b.secretKey.hexadecimal)\n",
    ] {
      let store = KeyPairStore(path: folder.file("k"))
      unlink(store.path)
      _ = FileManager.default.createFile(
        atPath: store.path, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
      #expect { try store.load() } throws: { ($0 as? PlatformError)?.number == "PLT-2105" }
    }
    #expect { try KeyPairStore(path: folder.file("none")).load() } throws: { ($0 as? PlatformError)?.code == .notFound }
  }

  @Test func publicKeyText() throws {
    let key = try CurveKeyPair.generate().publicKey
    #expect(try CurvePublicKey(key.description) == key)
    #expect(key.fingerprint.count == 16)
    #expect(throws: PlatformError.self) { try CurvePublicKey("zz") }
    #expect(throws: PlatformError.self) { try CurvePublicKey(String(repeating: "g", count: 64)) }
    #expect(throws: PlatformError.self) { try CurvePublicKey(bytes: [1, 2]) }
  }
}

@Suite struct JoinTokenTests {
  @Test func textFormComesBack() throws {
    let token = JoinToken(coordinatorKey: try CurveKeyPair.generate().publicKey)
    #expect(try JoinToken(token.text) == token)
    #expect(try JoinToken("  \(token.text)\n") == token)
    #expect(token.text.hasPrefix("pt1.") && token.text.count == 96)
    #expect(!"\(token)".contains(token.secret.base64EncodedString()))
  }

  @Test func everyChangedCharacterIsNoticed() throws {
    let text = JoinToken(coordinatorKey: try CurveKeyPair.generate().publicKey).text
    for index in text.indices {
      var changed = text
      changed.replaceSubrange(index...index, with: text[index] == "A" ? "B" : "A")
      #expect { try JoinToken(changed) } throws: { ($0 as? PlatformError)?.number == "PLT-2101" }
    }
    for wrong in ["", "pt1.", String(text.dropLast()), text + "A", "pt2." + text.dropFirst(4)] {
      #expect { try JoinToken(wrong) } throws: { ($0 as? PlatformError)?.number == "PLT-2101" }
    }
  }

  @Test func tokenOfAnotherCoordinatorIsRefusedByFingerprint() throws {
    let one = try CurveKeyPair.generate().publicKey
    let other = try CurveKeyPair.generate().publicKey
    let token = JoinToken(coordinatorKey: one)
    try token.verify(coordinator: one)
    #expect { try token.verify(coordinator: other) } throws: {
      let error = $0 as? PlatformError
      return error?.number == "PLT-2102" && error?.message.contains(other.fingerprint) == true
    }
  }
}
