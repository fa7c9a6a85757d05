// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Testing

@Suite struct ThreePartNameTests {
  @Test func readsThreePartsAndFillsInDefaults() throws {
    let full = try ThreePartName("main.demo.documents")
    #expect(full == ThreePartName(catalog: "main", schema: "demo", name: "documents"))
    #expect(full.description == "main.demo.documents")
    #expect(try ThreePartName("t", defaults: ("main", "default")).description == "main.default.t")
    #expect(try ThreePartName("demo.t", defaults: ("main", "default")).description == "main.demo.t")
    #expect(try ThreePartName("`main`.\"demo\".t").description == "main.demo.t")
  }

  @Test(arguments: ["", "a", "a.b", "a.b.c.d", "a..c", "a.b.", "a.b.c d", "a.b.`c", "a.b.c;--", "a.b.../etc", "a.b.'x'"])
  func refusesWhatIsNotAName(_ text: String) {
    let error = #expect(throws: PlatformError.self) { try ThreePartName(text) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.number == "PLT-3001")
  }

  @Test func boundsTheLengthInBytes() throws {
    #expect(throws: PlatformError.self) { try ThreePartName("a.b." + String(repeating: "é", count: 65)) }
    #expect(try ThreePartName("a.b." + String(repeating: "é", count: 64)).name.utf8.count == 128)
  }
}
