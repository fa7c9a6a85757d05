// SPDX-License-Identifier: Apache-2.0

import Client
import Console
import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// The console's files, its login, and the stream that keeps its first page live.
struct ConsoleRoutes {
  let service: any PlatformService

  private static let policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    let links = LoginLinks()
    // A one-time link signs a browser in; the token goes to a cookie that scripts and other sites cannot use.
    router.post("/api/2.0/login-links") { request, _ in
      guard let token = Authentication.token(of: request) else { throw PlatformError(.unauthenticated, "a token is needed") }
      return try Response.json(LoginLink(path: "/login?t=\(links.create(for: token))", expiresInSeconds: Int(LoginLinks.lifetime)))
    }
    router.get("/login") { request, _ in
      guard let token = links.redeem(try request.requiredQuery("t")) else {
        throw PlatformError(
          .unauthenticated, "this sign-in link was used already, or is too old", hint: "Run 'platform open' for a new one.", number: "PLT-1403")
      }
      _ = try await service.authenticate(token: token)
      return Response(
        status: .seeOther,
        headers: [
          .location: "/", .setCookie: "\(Authentication.cookie)=\(token); Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000",
          .cacheControl: "no-store", .init("Referrer-Policy")!: "no-referrer",
        ])
    }
    for asset in ConsoleAssets.all {
      router.get(RouterPath(stringLiteral: asset.path)) { _, _ in
        Response(
          status: .ok,
          headers: [
            .contentType: asset.contentType, .cacheControl: "no-cache", .init("Content-Security-Policy")!: Self.policy,
            .init("Referrer-Policy")!: "no-referrer", .init("X-Frame-Options")!: "DENY",
          ], body: .init(byteBuffer: ByteBuffer(bytes: asset.bytes)))
      }
    }
    router.get("/api/2.0/console/dashboard") { _, _ in try Response.json(await service.dashboard()) }
    router.get("/api/2.0/console/events") { _, _ in
      Response(
        status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
        body: ResponseBody { writer in
          // A browser reconnects by itself; ending the stream now and then bounds what a forgotten tab costs.
          for _ in 0..<1800 {
            let snapshot = try await service.dashboard()
            try await writer.write(ByteBuffer(string: "event: dashboard\ndata: \(snapshot.sortedText)\n\n"))
            try await Task.sleep(for: .seconds(1))
          }
          try await writer.finish(nil)
        })
    }
  }
}
