// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A few lines of SMTP on a free port of this machine, for as long as the value lives. It refuses `nobody` for good and `busy` for now.
public final class MailServer: Sendable {
  public let port: Int
  /// One JSON object a line: `auth`, `to` and `text` of a message that was taken.
  public let file: String
  /// File with its certificate, which is for 127.0.0.1 and signed by itself; nil: it has none.
  public let certificate: String?
  private let folder = TemporaryDirectory("mail")
  private let process: Program

  /// How its connections are secured.
  public enum Security: String, Sendable {
    case none
    /// When the client asks for it (STARTTLS); before that it takes nothing.
    case upgrade
    /// From the start.
    case immediate
  }

  public init(_ security: Security = .none) throws {
    file = folder.file("taken")
    _ = FileManager.default.createFile(atPath: file, contents: nil)
    certificate = security == .none ? nil : try SelfSigned.certificate(in: folder)
    process = try Program(
      "/usr/bin/env", ["python3", "-c", Self.script, file, security.rawValue, certificate ?? ""], takesInput: true, output: .pipe)
    let text = try process.line()
    guard let port = Int(text) else { throw Peers.PeerError(text: "the mail server said: \(text)") }
    self.port = port
  }

  deinit { process.signal(SIGKILL) }

  public var taken: [String] {
    String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self).split(separator: "\n").map(String.init)
  }

  private static let script = #"""
    import json, os, socket, ssl, sys, threading
    security = sys.argv[2]
    if security != "none":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[3], sys.argv[3])
    def watch():
        sys.stdin.read()
        os._exit(0)
    threading.Thread(target=watch, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    def serve(peer):
        try: talk(peer)
        except OSError: pass  # a client that does not trust it, or hangs up
    def talk(peer):
        if security == "immediate": peer = tls.wrap_socket(peer, server_side=True)
        isOpen = security != "upgrade"
        lines = peer.makefile("rb")
        def say(text): peer.sendall(text.encode() + b"\r\n")
        auth = to = ""
        say("220 test ESMTP")
        while True:
            line = lines.readline().decode().strip()
            word = line.split(" ")[0].upper()
            if not line: break
            if word == "QUIT":
                say("221 bye")
                break
            elif word == "EHLO": peer.sendall(b"250-test\r\n250 AUTH PLAIN\r\n" if isOpen else b"250-test\r\n250 STARTTLS\r\n")
            elif word == "STARTTLS" and not isOpen:
                say("220 go on")
                peer = tls.wrap_socket(peer, server_side=True)
                lines = peer.makefile("rb")
                isOpen = True
            elif not isOpen: say("530 must become secure first")
            elif word == "AUTH":
                auth = line
                say("235 welcome")
            elif word == "RCPT" and "nobody" in line: say("550 no such user")
            elif word == "RCPT" and "busy" in line: say("451 later")
            elif word == "RCPT":
                to = line
                say("250 ok")
            elif word == "DATA":
                say("354 go on")
                text = b""
                while (part := lines.readline()) not in (b".\r\n", b""): text += part
                with open(sys.argv[1], "a") as out: out.write(json.dumps({"auth": auth, "to": to, "text": text.decode()}) + "\n")
                say("250 taken")
            else: say("250 ok")
        peer.close()
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=serve, args=(peer,), daemon=True).start()
    """#
}
