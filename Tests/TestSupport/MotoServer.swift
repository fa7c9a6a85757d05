// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// A server that speaks S3 (`moto`), on a free port of this machine, for as long as this process lives.
public final class MotoServer: Sendable {
  public let port: Int
  public var endpoint: String { "http://127.0.0.1:\(port)" }
  public static let accessKey = "test-access"
  public static let secretKey = "test-secret"

  /// The end of its standard input tells the server that this process is gone.
  private let process: Program

  private static let running = Mutex<MotoServer?>(nil)

  /// The one of this test process; the first call starts it.
  public static func shared() throws -> MotoServer {
    try running.withLock { held in
      if let held { return held }
      let server = try MotoServer()
      held = server
      return server
    }
  }

  /// Whether the peers' Python has moto.
  public static let isThere: Bool = (try? Peers.run("import moto.server")) != nil  // any failure means that it is not

  private init() throws {
    guard let python = Peers.python else { throw Peers.PeerError(text: "no peer environment; run make peers") }
    process = try Program(python, ["-c", Self.script], takesInput: true, output: .pipe)
    let text = try process.line(atMost: 120)
    guard let port = Int(text) else { throw Peers.PeerError(text: "moto said: \(text)") }
    self.port = port
  }

  /// moto looks for the condition and writes in two steps, so conditional writes take turns here. Buckets whose names begin
  /// with `careless` ignore conditions, as some older stores do. `/__requests` tells how many requests there were, by method.
  private static let script = """
    import collections, json, os, sys, threading
    def watch():
        sys.stdin.read()
        os._exit(0)
    threading.Thread(target=watch, daemon=True).start()
    import logging
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server
    inner = DomainDispatcherApplication(create_backend_app)
    turn = threading.Lock()
    counts = collections.Counter()
    def app(environ, start_response):
        if environ.get("PATH_INFO", "") == "/__requests":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(counts).encode()]
        counts["LIST" if "list-type=" in environ.get("QUERY_STRING", "") else environ.get("REQUEST_METHOD")] += 1
        if environ.get("PATH_INFO", "").startswith("/careless"):
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if environ.get("REQUEST_METHOD") == "PUT":
            with turn:
                return list(inner(environ, start_response))
        return inner(environ, start_response)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(server.port, flush=True)
    server.serve_forever()
    """
}
