// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

/// Plays the hub on two ports: the second is another host's store, to which large files are redirected. The first answer of the store is
/// cut in the middle. Prints the port; `GET /log` lists what was asked.
private let hub = #"""
  import hashlib, json, sys, threading
  from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
  commit = "0123456789abcdef0123456789abcdef01234567"
  large = bytes(range(256)) * 3000
  names = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}" * 40000, "model.safetensors": large, "1_Pooling/config.json": b"{}",
           "onnx/model.onnx": b"x", "README.md": b"hello", "pytorch_model.bin": b"y", "consolidated.safetensors": b"z"}
  models = {"org/tiny": names, "org/false": {**names}, "org/evil": {"../config.json": b"{}"}, "org/stored": {"a-Q4_0.gguf": b"GGUF1", "a-Q8_0.gguf": b"GGUF2"}}
  sha = lambda b: hashlib.sha256(b).hexdigest()
  git = lambda b: hashlib.sha1(b"blob %d\0" % len(b) + b).hexdigest()
  log, cut = [], []
  def serve(handler):
      server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
      threading.Thread(target=server.serve_forever, daemon=True).start()
      return server.server_address[1]
  class Base(BaseHTTPRequestHandler):
      protocol_version = "HTTP/1.1"
      def log_message(self, *_): pass
      def do_HEAD(self): self.do_GET()
      def answer(self, status, body=b"", headers={}):
          self.send_response(status)
          for k, v in headers.items(): self.send_header(k, v)
          if "Content-Length" not in headers: self.send_header("Content-Length", str(len(body)))
          self.end_headers()
          if self.command != "HEAD": self.wfile.write(body)
      def part(self, whole, etag, may_cut):
          begin = 0
          given = self.headers.get("Range")
          if given and self.headers.get("If-Range", etag) == etag: begin = int(given.split("=")[1].split("-")[0])
          body = whole[begin:]
          headers = {"Content-Length": str(len(body)), "ETag": etag}
          if begin: headers["Content-Range"] = f"bytes {begin}-{len(whole) - 1}/{len(whole)}"
          if may_cut and self.command == "GET" and self.path not in cut:
              cut.append(self.path)
              body = body[:len(body) // 2]
              self.close_connection = True
          self.answer(206 if begin else 200, body, headers)
  class Store(Base):
      def do_GET(self):
          log.append([self.command, "store", self.path.split("?")[0], self.headers.get("Range")])
          if self.headers.get("Authorization"): return self.answer(400)
          self.part(large[:-1] + b"!" if self.path.startswith("/false") else large, '"store"', True)
  store = serve(Store)
  class Hub(Base):
      def do_GET(self):
          if self.path == "/log": return self.answer(200, json.dumps(log).encode())
          log.append([self.command, "hub", self.path, self.headers.get("Range")])
          if self.path == "/files/model.gguf": return self.part(large, '"v1"', True)
          if self.headers.get("Authorization") != "Bearer secret": return self.answer(401)
          parts = self.path.split("/")
          if parts[1] == "api":
              model = "/".join(parts[3:5])
              if model not in models or parts[6] not in ("main", "v2%2Fx", commit): return self.answer(404)
              return self.answer(200, json.dumps({"id": model, "sha": commit, "siblings": [{"rfilename": n} for n in models[model]]}).encode())
          model, name = "/".join(parts[1:3]), "/".join(parts[5:])
          body = models[model][name]
          if name == "model.safetensors":
              return self.answer(302, b"moved", {"Location": f"http://127.0.0.1:{store}/{parts[2]}/blob?signature=1", "X-Repo-Commit": commit,
                                                 "X-Linked-Etag": f'"{sha(body)}"', "X-Linked-Size": str(len(body))})
          self.answer(200, body, {"ETag": f'"{git(body)}"', "X-Repo-Commit": commit})
  print(serve(Hub), flush=True)
  sys.stdin.read()
  """#

extension EndToEnd {
  /// `platform pull` against a hub of this machine.
  @Suite(.serialized, .enabled(if: Peers.python != nil, "no peer environment")) final class PullTests {
    private let folder = TemporaryDirectory("pull")
    private let server: Program
    private let port: Int
    private static let commit = "0123456789abcdef0123456789abcdef01234567"

    init() throws {
      server = try Program(try #require(Peers.python), ["-c", Self.unindented(hub)], takesInput: true, output: .pipe)
      port = try #require(Int(try server.line()))
    }

    deinit { server.signal(SIGKILL) }

    private static func unindented(_ text: String) -> String {
      text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.hasPrefix("  ") ? String($0.dropFirst(2)) : String($0) }.joined(separator: "\n")
    }

    private func pull(_ words: String..., token: String? = "secret", offline: Bool = false) throws -> Program.Output {
      try run(["pull"] + words, token: token, offline: offline)
    }

    private func run(_ words: [String], token: String? = "secret", offline: Bool = false) throws -> Program.Output {
      var environment = [
        "HF_HOME": folder.file("hf"), "XDG_CACHE_HOME": folder.file("caches"), "HOME": folder.path,
        "HF_ENDPOINT": offline ? "http://127.0.0.1:1" : "http://127.0.0.1:\(port)", "PATH": "/usr/bin:/bin",
      ]
      environment["HF_TOKEN"] = token
      if offline { environment["HF_HUB_OFFLINE"] = "1" }
      for name in ["LD_LIBRARY_PATH", "TMPDIR"] { environment[name] = ProcessInfo.processInfo.environment[name] }
      return try Program.run(LocalCluster.binary, words, environment: environment, timeout: 60)
    }

    /// What was asked since the last call, as `METHOD HOST PATH RANGE`.
    private var seen = 0
    private func asked() throws -> [String] {
      let output = try Program.run("/usr/bin/curl", ["-s", "--max-time", "30", "http://127.0.0.1:\(port)/log"], timeout: 60)
      let all = try #require(try JSONValue(parsing: output.out).arrayValue)
      defer { seen = all.count }
      return all.dropFirst(seen).map { line in (line.arrayValue ?? []).compactMap(\.stringValue).joined(separator: " ") }
    }

    private func bytes(_ path: String) -> Data? { FileManager.default.contents(atPath: path) }

    @Test func modelsComeOnceAndGoOnWhereTheyWereCut() throws {
      let refused = try pull("hf:org/tiny", token: nil)
      #expect(refused.status == 77 && refused.err.contains("PLT-5222") && refused.err.contains("HF_TOKEN"), "\(refused)")
      _ = try asked()

      let first = try pull("hf:org/tiny")
      let root = folder.file("hf/hub/models--org--tiny")
      let snapshot = root + "/snapshots/" + Self.commit
      #expect(first.status == 0 && first.out == snapshot + "\n" && first.err.contains("fetched 4 files"), "\(first)")
      let large = Data((0..<3000).flatMap { _ in (0..<256).map { UInt8($0) } })
      #expect(bytes(snapshot + "/model.safetensors") == large && bytes(snapshot + "/tokenizer.json")?.count == 80_000)
      #expect(
        try FileManager.default.subpathsOfDirectory(atPath: snapshot).sorted() == [
          "1_Pooling", "1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json",
        ])
      #expect(bytes(root + "/refs/main") == Data(Self.commit.utf8))
      // The store is another host: it gets no token, and the connection that it cut went on in the middle.
      let requests = try asked()
      #expect(requests.contains("GET store /tiny/blob") && requests.contains("GET store /tiny/blob bytes=384000-"), "\(requests)")

      // What is there is not fetched again, by a branch or by its commit.
      for name in ["hf:org/tiny", "hf:org/tiny@\(Self.commit)", "hf:org/tiny@v2/x"] {
        let again = try pull(name)
        #expect(again.status == 0 && again.out == snapshot + "\n" && again.err.contains("already here"), "\(again)")
      }
      #expect(try asked().allSatisfy { $0.contains("/api/models/") })
      let offline = try pull("hf:org/tiny", offline: true)
      #expect(offline.status == 0 && offline.out == snapshot + "\n", "\(offline)")
      let unknown = try pull("hf:org/other", offline: true)
      #expect(unknown.status == 66 && unknown.err.contains("PLT-5225"), "\(unknown)")

      // The reference reads the cache as its own.
      let script =
        "import sys; from huggingface_hub import snapshot_download, scan_cache_dir; print(snapshot_download('org/tiny', cache_dir=sys.argv[1], local_files_only=True)); print(scan_cache_dir(sys.argv[1]).warnings)"
      let reference = try Program.run(try #require(Peers.python), ["-c", script, folder.file("hf/hub")], timeout: 60)
      #expect(reference.out == snapshot + "\n[]\n", "\(reference)")

      // An earlier process left a part.
      let blob = try FileManager.default.destinationOfSymbolicLink(atPath: snapshot + "/model.safetensors")
      let path = snapshot + "/" + blob
      #expect(blob.hasPrefix("../../blobs/"))
      try FileManager.default.removeItem(atPath: snapshot + "/model.safetensors")
      try FileManager.default.removeItem(atPath: path)
      try large.prefix(1000).write(to: URL(fileURLWithPath: path + ".incomplete"))
      #expect(try pull("hf:org/tiny", "-o", "json").out.contains(#""fetched_bytes" : 767000"#))
      #expect(try asked().contains("GET store /tiny/blob bytes=1000-"))
      #expect(bytes(snapshot + "/model.safetensors") == large)
    }

    @Test func whatIsNotAsPromisedIsNotKept() throws {
      let wrong = try pull("hf:org/false")
      #expect(wrong.status == 65 && wrong.err.contains("PLT-5224") && wrong.err.contains("SHA-256"), "\(wrong)")
      let left = try FileManager.default.subpathsOfDirectory(atPath: folder.file("hf/hub"))
      #expect(!left.contains { $0.hasSuffix("model.safetensors") || $0.hasSuffix(".incomplete") }, "\(left)")
      let outside = try pull("hf:org/evil")
      #expect(outside.status == 65 && outside.err.contains("PLT-5224") && outside.err.contains("leaves its folder"), "\(outside)")
      for (name, status, part) in [
        ("hf:org/none", 66, "PLT-5222"), ("hf:org/../x", 64, "PLT-5223"), ("hf:org/tiny@../x", 64, "PLT-5223"), ("hf:a/b/c", 64, "PLT-5223"),
        ("/nowhere", 66, "PLT-5223"), ("http://127.0.0.1:\(port)/", 64, "PLT-5223"),
      ] as [(String, Int32, String)] {
        let output = try pull(name)
        #expect(output.status == status && output.err.contains(part) && output.out.isEmpty, "\(name): \(output)")
      }
    }

    /// Without any cluster.
    @Test func whatWasPulledIsListedToldAndRemoved() throws {
      func models(_ words: String...) throws -> Program.Output { try run(["models"] + words) }
      let nothing = try models("list", "--pulled")
      #expect(nothing.status == 0 && nothing.out.isEmpty && nothing.err.contains("platform pull hf:ORG/NAME"), "\(nothing)")
      #expect(try models("list").status == 69)
      for name in ["hf:org/tiny", "hf:org/tiny@v2/x"] { #expect(try pull(name).status == 0) }
      let url = "http://127.0.0.1:\(port)/files/model.gguf"
      #expect(try pull(url).status == 0)
      for words in [["list"], ["list", "--pulled"]] {
        let list = try run(["models"] + words)
        #expect(list.status == 0 && list.out.contains("hf:org/tiny ") && list.out.contains("main v2/x") && list.out.contains(url), "\(list)")
        #expect(list.out.hasPrefix("PULLED") && (words.count == 2) == !list.err.contains("no cluster"), "\(list)")
      }
      #expect(try models("list", "--pulled", "-o", "name").out == "hf:org/tiny\n\(url)\n")
      let json = try JSONValue(parsing: models("list", "--pulled", "-o", "json").out)
      let first = try #require(json["pulled_models"]?.arrayValue?.first)
      #expect(first["revision"]?.stringValue == Self.commit && first["architecture"]?.stringValue == "llama" && first["size_bytes"]?.intValue == 848_025)

      let one = try models("get", "org/tiny", "--verify")
      #expect(one.status == 0 && one.out.contains("4 of 4 have the hash") && one.out.contains("llama") && one.out.contains(Self.commit), "\(one)")
      // The weights of this hub are none.
      #expect(one.out.contains("problem") && one.out.contains("header"), "\(one)")
      let blob = folder.file("hf/hub/models--org--tiny/snapshots/\(Self.commit)/tokenizer.json")
      try Data("changed".utf8).write(to: URL(fileURLWithPath: blob))
      let broken = try models("get", "hf:org/tiny", "--verify")
      #expect(broken.status == 65 && broken.err.contains("PLT-4544") && broken.err.contains("tokenizer.json"), "\(broken)")

      for (words, status, part) in [
        (["get", "hf:org/tinny"], 66, "Did you mean 'hf:org/tiny'"), (["get", "nobody"], 66, "PLT-4543"), (["delete", "hf:../../x"], 64, "PLT-5223"),
        (["delete", "../../etc/passwd"], 64, "PLT-5223"), (["delete", folder.path], 66, "PLT-4543"), (["delete", "hf:org/tiny"], 64, "--yes"),
        (["delete", "hf:org/tiny", "--version", "1"], 64, "PLT-4543"), (["delete", "main.demo.x", "--partial"], 64, "PLT-4543"),
        (["get", "main.demo.x", "--verify"], 64, "PLT-4543"), (["list", "main.demo", "--pulled"], 64, "PLT-4543"), (["get", "main.demo.x"], 69, "PLT-1501"),
      ] as [([String], Int32, String)] {
        let refused = try run(["models"] + words)
        #expect(refused.status == status && refused.err.contains(part) && refused.out.isEmpty, "\(words): \(refused)")
      }
      let gone = try models("delete", "hf:org/tiny", "--yes")
      #expect(gone.status == 0 && gone.err.contains("deleted, 7") && gone.err.contains("freed"), "\(gone)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.file("hf/hub")).isEmpty)
      #expect(try models("delete", "model.gguf", "--yes").status == 0)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.file("caches/platform/models")).isEmpty)
      #expect(try models("list", "--pulled").out.isEmpty && models("delete", "hf:org/tiny", "--yes").status == 66)
      // What is gone comes again.
      #expect(try pull("hf:org/tiny").err.contains("fetched 4 files"))
    }

    @Test func filesAreChosenByNameOrByTheirURL() throws {
      let none = try pull("hf:org/stored")
      #expect(none.status == 66 && none.err.contains("--include: a-Q4_0.gguf, a-Q8_0.gguf"), "\(none)")
      let one = try pull("hf:org/stored", "--include", "*Q8_0.gguf")
      #expect(one.status == 0 && one.out.hasSuffix("/a-Q8_0.gguf\n") && bytes(String(one.out.dropLast())) == Data("GGUF2".utf8), "\(one)")

      let url = "http://127.0.0.1:\(port)/files/model.gguf"
      let hash = SHA256Digest.hex(Data((0..<3000).flatMap { _ in (0..<256).map { UInt8($0) } }))
      let wrong = try pull(url, "--sha256", String(repeating: "0", count: 64))
      #expect(wrong.status == 65 && wrong.err.contains("PLT-5224"), "\(wrong)")
      _ = try asked()
      let file = try pull(url, "--sha256", hash)
      #expect(file.status == 0 && file.out.hasSuffix("/model.gguf\n") && bytes(String(file.out.dropLast()))?.count == 768_000, "\(file)")
      let again = try pull(url)
      #expect(again.out == file.out && again.err.contains("already here"), "\(again)")
    }
  }
}
