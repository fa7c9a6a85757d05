// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

@testable import ObjectStore

@Suite(.enabled(if: MotoServer.isThere, "no peer environment")) struct S3StoreTests {
  static let slow = FaultProxy.Fault.answer(status: 503, body: "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>")
  static let broken = FaultProxy.Fault.answer(status: 500, body: "")

  /// A store behind a proxy that passes everything on, its conditional writes probed.
  func proxied(_ change: (inout S3Configuration) -> Void = { _ in }) throws -> (S3ObjectStore, FaultProxy) {
    let proxy = try FaultProxy(to: MotoServer.shared().port)
    var configuration = try S3Fixture.configuration(endpoint: proxy.endpoint)
    configuration.requestTimeout = .seconds(5)
    change(&configuration)
    let store = try S3ObjectStore(configuration)
    try store.putIfAbsent(ObjectPath("first"), Data())
    return (store, proxy)
  }

  @Test func passingTroubleIsOvercome() throws {
    let (store, proxy) = try proxied()
    let path = try ObjectPath("a/b")
    let faults: [FaultProxy.Fault] = [.drop, Self.slow, Self.broken, .loseAnswer]
    for fault in faults {
      proxy.plan([fault, fault])
      try store.put(path, Data("hello".utf8))
      #expect(proxy.requests.count == 3, "\(fault)")
      proxy.plan([fault, fault])
      #expect(try store.get(path) == Data("hello".utf8))
      proxy.plan([fault])
      #expect(try store.list(nil).map(\.path.text) == ["a/b", "first"])
      proxy.plan([fault])
      #expect(try store.head(path)?.size == 5)
      proxy.plan([fault])
      try store.delete(path)
      #expect(try store.head(path) == nil)
    }
    try store.put(path, Data(repeating: 7, count: 50_000))
    for cut in [0, 1, 49_999] {
      proxy.plan([.truncate(cut)])
      #expect(try store.get(path).count == 50_000, "\(cut)")
      #expect(proxy.requests.count == 2)
    }
    proxy.plan([.truncate(100)])
    #expect(try store.get(path, range: 10..<40_000).count == 39_990)
    proxy.plan([.truncate(100)])
    #expect(try store.list(nil).count == 2)
  }

  @Test func lostAnswersOfConditionalWritesAreNoLostRaces() throws {
    let (store, proxy) = try proxied()
    for (index, faults) in [[FaultProxy.Fault.loseAnswer], [.loseAnswer, Self.slow], [Self.broken, .loseAnswer, .drop]].enumerated() {
      let path = try ObjectPath("log/\(index)")
      proxy.plan(faults)
      try store.putIfAbsent(path, Data("mine".utf8))
      #expect(try store.get(path) == Data("mine".utf8))
      proxy.plan(faults)
      #expect(code { try store.putIfAbsent(path, Data("mine".utf8)) } == .alreadyExists)
    }
  }

  @Test func lastingTroubleIsAnErrorThatNamesThings() throws {
    let (store, proxy) = try proxied { $0.attempts = 3 }
    let path = try ObjectPath("a/b")
    let place = "s3://\(store.configuration.bucket)/a/b"
    proxy.plan([FaultProxy.Fault?](repeating: Self.slow, count: 9))
    let slow = try #require(failure { try store.put(path, Data("x".utf8)) })
    #expect(slow.code == .unavailable && slow.path == place && slow.message.contains("SlowDown") && slow.message.contains("3 attempts"))
    #expect(proxy.requests.count == 3)
    proxy.plan([FaultProxy.Fault?](repeating: .drop, count: 9))
    let dropped = try #require(failure { _ = try store.get(path) })
    #expect(dropped.code == .unavailable && dropped.path == place && dropped.number == "PLT-3403")
    // Not repeated: it will not become better.
    proxy.plan([.answer(status: 403, body: "<Error><Code>AccessDenied</Code><Message>No</Message></Error>")])
    let denied = try #require(failure { try store.put(path, Data()) })
    #expect(denied.code == .permissionDenied && denied.message.contains("AccessDenied") && denied.path == place && proxy.requests.count == 1)
    proxy.plan([.answer(status: 301, body: "")])
    #expect(failure { _ = try store.get(path) }?.code == .badConfiguration)
    proxy.plan([.answer(status: 403, body: "<!DOCTYPE x [<!ENTITY a \"b\">]><Error><Code>&a;</Code></Error>")])
    #expect(failure { _ = try store.get(path) }?.message == "cannot read: HTTP 403")
    proxy.plan([.answer(status: 200, body: "<ListBucketResult><Contents><Key>x</Key")])
    #expect(failure { _ = try store.list(nil) }?.code == .invalidFile)
    proxy.plan([.answer(status: 200, body: "<html></html>")])
    #expect(failure { _ = try store.list(nil) }?.message.contains("html") == true)
    #expect(failure { _ = try S3ObjectStore(other(store, bucket: "no-such-bucket-here")).get(path) }?.number == "PLT-3404")
    for text in [slow, dropped, denied].map(\.description) { #expect(!text.contains(MotoServer.secretKey) && !text.contains("Signature")) }
  }

  func other(_ store: S3ObjectStore, bucket: String) -> S3Configuration {
    var configuration = store.configuration
    configuration.bucket = bucket
    return configuration
  }

  @Test func silenceEndsAtTheDeadline() throws {
    let (store, proxy) = try proxied {
      $0.requestTimeout = .milliseconds(150)
      $0.operationTimeout = .milliseconds(400)
    }
    proxy.plan([FaultProxy.Fault?](repeating: .hang, count: 9))
    let start = ContinuousClock.now
    #expect(failure { _ = try store.get(ObjectPath("x")) }?.code == .timeout)
    #expect(ContinuousClock.now - start < .seconds(3))
    #expect((1...3).contains(proxy.requests.count))
    proxy.plan([.hang])
    try store.put(ObjectPath("x"), Data("y".utf8))
  }

  @Test func anObjectOfOnePieceIsOneRequest() throws {
    let (store, proxy) = try proxied { $0.partSize = 5 << 20 }
    let folder = TemporaryDirectory("fetched")
    let data = Data((0..<(11 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) })
    for (name, size, requests) in [("small", 5, 1), ("piece", 5 << 20, 1), ("large", 11 << 20, 3), ("empty", 0, 2)] {
      let path = try ObjectPath(name)
      try store.put(path, data.prefix(size))
      let known = try #require(try store.head(path))
      proxy.plan([])
      let info = try store.fetch(path, to: folder.file(name))
      #expect(info.tag == known.tag && info.size == size && info.modifiedMilliseconds / 1000 == known.modifiedMilliseconds / 1000)
      #expect(proxy.requests.count == requests && (size == 0 || proxy.requests.allSatisfy { $0.hasPrefix("GET") }), "\(proxy.requests)")
      #expect(FileManager.default.contents(atPath: folder.file(name)) == data.prefix(size), "\(name)")
      proxy.plan([])
      #expect(try store.download(path, to: folder.file(name)) == size)
      #expect(proxy.requests.count == requests && FileManager.default.contents(atPath: folder.file(name)) == data.prefix(size), "\(name)")
    }
    // Another object has its name before all of it was read.
    let gone = FaultProxy.Fault.answer(status: 412, body: "")
    proxy.plan([nil, gone])
    #expect(try store.fetch(ObjectPath("large"), to: folder.file("x")).size == 11 << 20)
    #expect(FileManager.default.contents(atPath: folder.file("x")) == data)
    proxy.plan([nil, gone, gone, nil, gone, gone, nil, gone, gone])
    #expect(failure { _ = try store.fetch(ObjectPath("large"), to: folder.file("y")) }?.code == .conflict)
    #expect(failure { _ = try store.fetch(ObjectPath("none"), to: folder.file("z")) }?.code == .notFound)
    proxy.plan([.truncate(3)])
    #expect(try store.fetch(ObjectPath("small"), to: folder.file("cut")).size == 5)
  }

  @Test func partsThatFailAreAbortedOrRepeated() throws {
    let (store, proxy) = try proxied {
      $0.partSize = 5 << 20
      // One part may meet all three of them.
      $0.attempts = 4
    }
    let data = Data((0..<(11 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) })
    proxy.plan([nil, Self.slow, .drop, .loseAnswer])
    try store.put(ObjectPath("large"), data)
    #expect(try store.get(ObjectPath("large")) == data)
    // The answer to the completion is lost; the repetition finds the upload gone.
    proxy.plan([nil, nil, nil, nil, .loseAnswer])
    try store.put(ObjectPath("large2"), data)
    #expect(try store.head(ObjectPath("large2"))?.size == data.count)
    // A part that fails for good.
    proxy.plan([nil, .answer(status: 403, body: "<Error><Code>AccessDenied</Code></Error>")])
    #expect(failure { try store.put(ObjectPath("large3"), data) }?.code == .permissionDenied)
    #expect(proxy.requests.last?.hasPrefix("DELETE") == true && proxy.requests.last?.contains("uploadId=") == true)
    #expect(try store.head(ObjectPath("large3")) == nil)
    let open = try store.client.send(S3Client.Call(method: .GET, path: nil, query: [("uploads", "")], verb: "list"))
    #expect(try S3XML.parse(open.body).all("Upload").isEmpty)
    // Success that turns out to be none.
    proxy.plan([nil, nil, nil, nil, .answer(status: 200, body: "<Error><Code>InternalError</Code></Error>")])
    #expect(failure { try store.put(ObjectPath("large4"), data) }?.message.contains("InternalError") == true)
  }

  @Test func aStoreThatIgnoresConditionsIsRefusedForCommits() throws {
    let careless = try S3ObjectStore(S3Fixture.configuration(bucket: "careless"))
    try careless.put(ObjectPath("log/1"), Data("theirs".utf8))
    let error = try #require(failure { try careless.putIfAbsent(ObjectPath("log/1"), Data("mine".utf8)) })
    #expect(error.number == "PLT-3405" && error.code == .badConfiguration)
    #expect(failure { try careless.putIfAbsent(ObjectPath("log/2"), Data()) }?.number == "PLT-3405")
    #expect(try careless.get(ObjectPath("log/1")) == Data("theirs".utf8) && careless.list(nil).count == 1)
    let (store, proxy) = try proxied()
    let fresh = try S3ObjectStore(store.configuration)
    proxy.plan([.answer(status: 501, body: "<Error><Code>NotImplemented</Code></Error>")])
    #expect(failure { try fresh.putIfAbsent(ObjectPath("log/1"), Data()) }?.number == "PLT-3405")
  }

  @Test func presignedURLsWorkWithoutKeys() throws {
    let store = try S3Fixture.store()
    try store.put(ObjectPath("a b/ü+"), Data("shared".utf8))
    let url = try store.presignedURL("GET", ObjectPath("a b/ü+"), lifetime: 60)
    #expect(try Peers.run("import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())", [url]) == "shared\n")
    #expect(code { _ = try store.presignedURL("GET", ObjectPath("a"), lifetime: 604_801) } == .invalidArgument)
  }

  /// Callers on many threads of Swift's pool would starve it; from threads of our own the pool stays free.
  @Test func theCooperativePoolIsNotNeeded() async throws {
    let store = try S3Fixture.store()
    try await BlockingPool.shared.run { try store.put(ObjectPath("x"), Data("1".utf8)) }
    // More callers at once than the pool has threads; each also hops through it.
    try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<24 { group.addTask { try await BlockingPool.shared.run { try store.get(ObjectPath("x")).count } } }
      for try await count in group { #expect(count == 1) }
    }
  }

  @Test func botoReadsAndWritesTheSameObjects() throws {
    let store = try S3Fixture.store()
    try store.put(ObjectPath("ours/ä b"), Data("from us".utf8))
    let script = """
      import boto3, sys
      s = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
      print(s.get_object(Bucket=sys.argv[2], Key="ours/ä b")["Body"].read().decode())
      s.put_object(Bucket=sys.argv[2], Key="theirs/x+y %", Body=b"from boto")
      s.put_object(Bucket=sys.argv[2], Key="theirs/", Body=b"")
      """
    #expect(try Peers.run(script, [MotoServer.shared().endpoint, store.configuration.bucket]) == "from us\n")
    #expect(try store.get(ObjectPath("theirs/x+y %")) == Data("from boto".utf8))
    #expect(try store.list(ObjectPath("theirs")).map(\.path.text) == ["theirs/x+y %"])
  }
}

@Suite struct S3PartsTests {
  @Test func locationsAreParsed() throws {
    #expect(try S3Location(parsing: "s3://bucket/a/b/") == S3Location(bucket: "bucket", path: ObjectPath("a/b")))
    #expect(try S3Location(parsing: "s3a://my.bucket-1").path == nil)
    #expect(try S3Location(parsing: "s3://bucket/a b/ü").description == "s3://bucket/a b/ü")
    for text in [
      "", "s3://", "s3:///a", "/tmp/x", "s3://UPPER/x", "s3://ab/x", "s3://a..b/x", "s3://bucket/../x", "s3://bucket//x", "s3://-bucket/x", "s4://bucket/x",
    ] {
      #expect(code { _ = try S3Location(parsing: text) } == .invalidArgument, "\(text)")
    }
    #expect(S3Location.isS3("s3://bucket/x") && !S3Location.isS3("/data/s3://") && !S3Location.isS3("file:///x"))
  }

  @Test func endpointsAreChecked() throws {
    var configuration = S3Configuration(bucket: "data", region: "eu-west-3", credentials: S3Credentials(accessKey: "a", secretKey: "b"))
    func endpoint(_ text: String?, pathStyle: Bool = true) -> Result<String, PlatformError> {
      configuration.endpoint = text
      configuration.usesPathStyle = pathStyle
      return Result { try S3Endpoint(configuration) }.map { "\($0.scheme)://\($0.authority)\($0.pathPrefix)" }.mapError { PlatformError.from($0) }
    }
    #expect(try endpoint(nil, pathStyle: false).get() == "https://data.s3.eu-west-3.amazonaws.com")
    #expect(try endpoint("https://minio.example:9000").get() == "https://minio.example:9000/data")
    #expect(try endpoint("https://minio.example:443/", pathStyle: false).get() == "https://data.minio.example")
    #expect(try endpoint("http://127.0.0.1:9000").get() == "http://127.0.0.1:9000/data")
    for text in ["http://10.0.0.1:9000", "http://example.com", "http://127.0.0.1.example.com", "http://127.example.com/"] {
      #expect(throws: PlatformError.self, "\(text)") { try endpoint(text).get() }
    }
    for text in ["ftp://x", "https://user:pw@host", "https://host/path", "https://host?q=1", "https://host#x", "host:9000", "", "https://"] {
      #expect(throws: PlatformError.self, "\(text)") { try endpoint(text).get() }
    }
    configuration.allowsPlainHTTP = true
    #expect(try endpoint("http://10.0.0.1:9000").get() == "http://10.0.0.1:9000/data")
    configuration.region = "x\r\ny"
    #expect(throws: PlatformError.self) { try endpoint(nil).get() }
    configuration.region = "eu"
    configuration.bucket = "x/../y"
    #expect(throws: PlatformError.self) { try endpoint(nil).get() }
  }

  @Test func credentialsAreFoundAndNeverShown() throws {
    let folder = TemporaryDirectory("home")
    try FileManager.default.createDirectory(atPath: folder.file(".aws"), withIntermediateDirectories: true)
    let text =
      "# keys\n[default]\naws_access_key_id = AKDEFAULT\naws_secret_access_key=hidden1\n\n[other]\naws_access_key_id=AKOTHER\naws_secret_access_key = hidden=2\naws_session_token=hidden3\n[empty]\n"
    try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file(".aws/credentials")))
    func resolve(_ environment: [String: String]) throws -> S3Credentials { try S3Credentials.resolve(environment: environment, home: folder.path) }
    #expect(try resolve([:]) == S3Credentials(accessKey: "AKDEFAULT", secretKey: "hidden1"))
    #expect(try resolve(["AWS_PROFILE": "other"]) == S3Credentials(accessKey: "AKOTHER", secretKey: "hidden=2", sessionToken: "hidden3"))
    let fromEnvironment = try resolve(["AWS_ACCESS_KEY_ID": "AKENV", "AWS_SECRET_ACCESS_KEY": "hidden4", "AWS_SESSION_TOKEN": ""])
    #expect(fromEnvironment == S3Credentials(accessKey: "AKENV", secretKey: "hidden4"))
    for environment in [["AWS_PROFILE": "empty"], ["AWS_PROFILE": "none"], ["AWS_SHARED_CREDENTIALS_FILE": folder.file("no")]] {
      #expect(failure { _ = try resolve(environment) }?.number == "PLT-3401")
    }
    let all = try resolve(["AWS_PROFILE": "other"])
    var dumped = ""
    dump(all, to: &dumped)
    for shown in ["\(all)", String(reflecting: all), dumped, "\([all])", "\(S3Configuration(bucket: "bbb", credentials: all))"] {
      #expect(!shown.contains("hidden"), "\(shown)")
    }
    let configuration = try S3Configuration(
      bucket: "bbb", environment: ["PLATFORM_S3_ENDPOINT": "http://127.0.0.1:1", "AWS_REGION": "eu", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"],
      home: folder.path)
    #expect(configuration.region == "eu" && configuration.usesPathStyle && configuration.endpoint == "http://127.0.0.1:1" && !configuration.allowsPlainHTTP)
    #expect(failure { _ = try S3Configuration(bucket: "bbb", environment: ["PLATFORM_S3_PATH_STYLE": "maybe"], home: folder.path) }?.number == "PLT-3402")
  }

  @Test func hostileXMLIsRefused() throws {
    let good = try S3XML.parse(
      "\u{FEFF}<?xml version='1.0'?><!-- c --><a:R x='1>2' y=\"</R>\"> <K>a&lt;&#233;&#x1F600;<![CDATA[<&]]></K><E/><K>2</K></a:R>\n".utf8)
    #expect(good.name == "R" && good["K"]?.text == "a<é😀<&" && good.all("K").count == 2 && good["E"]?.text == "")
    let bad = [
      "", "x", "<a>", "<a></b>", "<a", "<a></a><b/>", "<!DOCTYPE a><a/>", "<a><!ENTITY x 'y'></a>", "<a>&x;</a>", "<a>&#xD800;</a>", "<a>&#99999999999;</a>",
      "<a>&amp</a>", "<a x='", "<a><![CDATA[", "<a><!--", "<a></a", "<></>", String(repeating: "<a>", count: 100_000),
      "<a>" + String(repeating: "<b/>", count: 200_000) + "</a>",
    ]
    for text in bad { #expect(code { _ = try S3XML.parse(text.utf8) } == .invalidFile, "\(text.prefix(40))") }
    let sample = Array("<?xml version=\"1.0\"?><L><C><K>a&amp;b</K><S>1</S></C><T>true</T><![CDATA[x]]></L>".utf8)
    var random = SplitMix64(seed: 3)
    for _ in 0..<3000 {
      var bytes = sample
      for _ in 0..<Int.random(in: 1...4, using: &random) { bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random) }
      if Bool.random(using: &random) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
      if let code = code({ _ = try S3XML.parse(bytes) }) { #expect(code == .invalidFile) }
    }
  }
}
