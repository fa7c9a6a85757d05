// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// The catalog through its own commands, and through a client that was written for another server.
  @Suite(.serialized) struct CatalogTests {
    @Test func commandsShowAndChangeTheCatalog() throws {
      let cluster = try LocalCluster("catalog")
      #expect(try cluster.start(workers: 1).status == 0)
      #expect(try cluster.cli(["catalogs", "create", "Sales", "--comment", "what we sold", "--property", "team=a"]).status == 0)
      #expect(try cluster.cli(["catalogs", "list", "-o", "name"]).out == "main\nsales\nsystem\n")
      let again = try cluster.cli(["catalogs", "create", "SALES"])
      #expect(again.status == 73 && again.err.contains("PLT-3003"), "\(again.all)")
      #expect(try cluster.cli(["schemas", "create", "sales.eu"]).status == 0)
      #expect(try cluster.cli(["sql", "create table sales.eu.orders as select 1 as id, 'x' as what"]).status == 0)
      #expect(try cluster.cli(["volumes", "create", "sales.eu.raw"]).status == 0)
      let table = try cluster.cli(["tables", "get", "SALES.eu.Orders", "-o", "json"])
      let shape = try JSONValue(parsing: table.out)
      #expect(shape["columns"]?.arrayValue?.map { $0["type_name"] ?? .null } == ["INT", "STRING"], "\(table.all)")
      let text = try cluster.cli(["tables", "get", "sales.eu.orders"]).out
      #expect(text.contains("sales.eu.orders") && text.contains("what"), "\(text)")
      #expect(try cluster.cli(["tables", "list", "sales.eu", "-o", "name"]).out == "sales.eu.orders\n")
      #expect(try cluster.cli(["volumes", "get", "sales.eu.raw", "-o", "yaml"]).out.contains("volume_type: MANAGED"))
      #expect(try cluster.cli(["models", "list", "system.ai", "-o", "name"]).out == "system.ai.minilm\n")

      let location = String(try #require(shape["storage_location"]?.stringValue).dropFirst("file://".count))
      let volume = try JSONValue(parsing: cluster.cli(["volumes", "get", "sales.eu.raw", "-o", "json"]).out)
      let folder = String(try #require(volume["storage_location"]?.stringValue).dropFirst("file://".count))
      #expect(FileManager.default.fileExists(atPath: location) && FileManager.default.fileExists(atPath: folder))
      for command in [["catalogs", "delete", "sales"], ["schemas", "delete", "sales.eu"]] {
        let refused = try cluster.cli(command)
        #expect(refused.status == 64 && refused.err.contains("PLT-1701"), "\(refused.all)")
      }
      #expect(FileManager.default.fileExists(atPath: location))
      // Nobody there to be asked: nothing is destroyed.
      let unasked = try cluster.cli(["catalogs", "delete", "sales", "--force"])
      #expect(unasked.status == 64 && unasked.err.contains("--yes"), "\(unasked.all)")
      let gone = try cluster.cli(["catalogs", "delete", "sales", "--force", "--yes"])
      #expect(gone.status == 0, "\(gone.all)")
      #expect(FileManager.default.fileExists(atPath: location) && FileManager.default.fileExists(atPath: folder), "kept until they are purged")
      let missing = try cluster.cli(["catalogs", "get", "sales"])
      #expect(missing.status == 66 && missing.err.contains("PLT-3002"), "\(missing.all)")
      #expect(try cluster.cli(["catalogs", "delete", "system", "--force", "--yes"]).status == 77)
      #expect(try cluster.cli(["schemas", "get", "nonsense"]).status == 64)
    }

    @Test func everythingIsDescribedAndFilesGoBothWays() throws {
      let cluster = try LocalCluster("files")
      #expect(try cluster.start(workers: 1).status == 0)
      // The document needs no token, and names every route of the catalog.
      let document = try JSONValue(parsing: cluster.http("GET", "/openapi.json", token: nil).body)
      let paths = try #require(document["paths"]?.objectValue)
      for path in ["catalogs", "tables/{name}", "external-locations", "delta/preview/commits", "models/{name}/versions/{version}/finalize"] {
        #expect(paths["/api/2.1/unity-catalog/\(path)"] != nil, "\(path)")
      }
      let submit = paths["/api/2.0/sql/statements"]?["post"]
      #expect(submit?["requestBody"]?["content"]?["application/json"] != nil, "\(submit as Any)")
      for path in ["sql/statements/{statement_id}/result/chunks/{chunk_index}", "fs/files/{path}", "fs/directories/{path}"] {
        #expect(paths["/api/2.0/\(path)"] != nil, "\(path)")
      }
      let bad = try cluster.http("POST", "/api/2.0/sql/statements", token: cluster.token, body: #"{"statement":"select 1","parameters":[{"name":7}]}"#)
      #expect(bad.status == 400 && bad.body.contains(#""path":"parameters[0].name""#), "\(bad.body)")
      let unknown = try cluster.http("GET", "/api/2.0/sql/nothing", token: cluster.token)
      #expect(unknown.status == 404 && unknown.body.contains(#""error_code":"ENDPOINT_NOT_FOUND""#), "\(unknown.body)")
      let wrong = try cluster.http(
        "POST", "/api/2.1/unity-catalog/tables", token: cluster.token,
        body: #"{"name":"t","catalog_name":"main","schema_name":"demo","table_type":"MANAGED","columns":[{"name":"a","type_name":"INTEGERR"}]}"#)
      #expect(wrong.status == 400 && wrong.body.contains("columns[0].type_name: 'INTEGERR' is none of"), "\(wrong.body)")
      let missing = try cluster.http("GET", "/api/2.1/unity-catalog/tables/main.demo.none", token: cluster.token)
      #expect(missing.status == 404 && missing.body.contains("TABLE_DOES_NOT_EXIST"), "\(missing.body)")

      // A table, its past and its rows; renamed, dropped and brought back.
      for sql in ["create table main.demo.t as select i as n from range(30) r(i)", "insert into main.demo.t values (100)"] {
        #expect(try cluster.cli(["sql", sql]).status == 0)
      }
      let history = try cluster.cli(["tables", "history", "main.demo.t"])
      #expect(history.status == 0 && history.out.split(separator: "\n").count == 3, "\(history.all)")
      #expect(try cluster.cli(["tables", "sample", "main.demo.t", "-n", "4"]).out.split(separator: "\n").count == 5)
      #expect(try cluster.cli(["tables", "describe", "MAIN.demo.t"]).out.contains("numFiles"))
      #expect(try cluster.cli(["schemas", "create", "main.archive"]).status == 0)
      #expect(try cluster.cli(["tables", "update", "main.demo.t", "--new-name", "main.archive.old", "--comment", "moved"]).status == 0)
      #expect(try cluster.scalar("select count(*) from main.archive.old") == 31)
      #expect(try cluster.cli(["sql", "drop table main.archive.old"]).status == 0)
      let dropped = try cluster.cli(["tables", "list", "main.archive", "--dropped"])
      #expect(dropped.out.contains("main.archive.old"), "\(dropped.all)")
      #expect(try cluster.cli(["tables", "undrop", "main.archive.old"]).status == 0)
      #expect(try cluster.scalar("select count(*) from main.archive.OLD") == 31, "names are found in any case")

      for arguments in [["create", "main.archive.m"], ["delete", "main.archive.m"], ["undrop", "main.archive.m"], ["get", "main.archive.m"]] {
        let answer = try cluster.cli(["models"] + arguments)
        #expect(answer.status == 0, "\(arguments) \(answer.all)")
      }
      #expect(try cluster.cli(["models", "delete", "main.archive.m"]).status == 0 && cluster.cli(["sql", "undrop model main.archive.M"]).status == 0)

      // Files in and out.
      #expect(try cluster.cli(["volumes", "create", "main.demo.box"]).status == 0)
      let source = cluster.folder.file("tree")
      try FileManager.default.createDirectory(atPath: source + "/in ner", withIntermediateDirectories: true)
      let big = Data((0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) })
      try big.write(to: URL(fileURLWithPath: source + "/big"))
      try Data("hello".utf8).write(to: URL(fileURLWithPath: source + "/in ner/a+b%20.txt"))
      let volume = "/Volumes/main/demo/box"
      let refused = try cluster.cli(["fs", "cp", source, volume + "/tree"])
      #expect(refused.status == 64 && refused.err.contains("-r"), "\(refused.all)")
      let sent = try cluster.cli(["fs", "cp", "-r", source, volume + "/tree"])
      #expect(sent.status == 0 && sent.err.contains("2 files"), "\(sent.all)")
      #expect(try cluster.cli(["fs", "ls", volume + "/tree", "-o", "name"]).out == "\(volume)/tree/big\n\(volume)/tree/in ner\n")
      #expect(try cluster.cli(["fs", "cat", volume + "/tree/in ner/a+b%20.txt"]).out == "hello")
      #expect(try cluster.cli(["fs", "stat", volume + "/tree/big", "-o", "json"]).out.contains("3000000"))
      #expect(try cluster.cli(["fs", "cp", source + "/big", volume + "/tree/big"]).status == 73, "there is one")
      #expect(try cluster.cli(["fs", "cp", "-r", volume + "/tree", volume + "/copy"]).status == 0)
      let target = cluster.folder.file("back")
      #expect(try cluster.cli(["fs", "cp", "-r", volume + "/copy", target]).status == 0)
      #expect(FileManager.default.contents(atPath: target + "/big") == big)
      #expect(FileManager.default.contents(atPath: target + "/in ner/a+b%20.txt") == Data("hello".utf8))
      // A download that broke off goes on: what is there of the same content is not asked for again.
      let tag = try JSONValue(parsing: cluster.cli(["fs", "stat", volume + "/copy/big", "-o", "json"]).out)["etag"]?.stringValue ?? ""
      let part = target + "/resumed.\(SHA256Digest.hex(tag).prefix(12)).part"
      try big.prefix(1_000_000).write(to: URL(fileURLWithPath: part))
      let resumed = try cluster.cli(["fs", "cp", volume + "/copy/big", target + "/resumed"])
      #expect(resumed.status == 0 && resumed.err.contains("2.0 MB"), "\(resumed.all)")
      #expect(FileManager.default.contents(atPath: target + "/resumed") == big)
      #expect(try cluster.cli(["fs", "rm", volume + "/copy"]).status == 64)
      #expect(try cluster.cli(["fs", "rm", "-r", "--yes", volume + "/copy"]).status == 0)
      #expect(try cluster.cli(["fs", "ls", volume + "/copy"]).status == 66)
      #expect(try cluster.cli(["fs", "cp", source + "/big", volume + "/../../x"]).status == 64)
      #expect(try cluster.cli(["locations", "create", "raw", "file://" + cluster.folder.path + "/back"]).status == 0)
      #expect(try cluster.cli(["locations", "list", "-o", "name"]).out == "raw\n")
      #expect(
        try cluster.cli(
          ["connections", "create", "pg", "--type", "POSTGRESQL", "--option", "host=h", "--secret", "password=PW"], environment: ["PW": "hunter2"]
        ).status == 0)
      #expect(try !cluster.cli(["connections", "get", "pg", "-o", "json"]).out.contains("hunter2"))
    }

    @Test(.enabled(if: Peers.python != nil, "no peer environment"))
    func theOpenClientWorksUnchanged() throws {
      let cluster = try LocalCluster("openclient")
      let outside = cluster.folder.file("outside")
      #expect(
        try cluster.cli(
          ["up", "--workers", "1", "--bind", cluster.http, "--node-bind", cluster.nodes], environment: ["PLATFORM_EXTERNAL_LOCATIONS": outside]
        ).status == 0)
      let script = """
        import asyncio, os, sys, json
        from unitycatalog.client import *
        from unitycatalog.client.exceptions import ApiException, NotFoundException
        host, token, outside = sys.argv[1:4]
        os.makedirs(outside, exist_ok=True)
        async def main():
          config = Configuration(host=host + "/api/2.1/unity-catalog")
          async with ApiClient(config) as client:
            client.set_default_header("Authorization", "Bearer " + token)
            async def fails(status, call):
                try: await call
                except ApiException as e:
                    assert e.status == status, e
                    return json.loads(e.body)
                raise AssertionError("did not fail")
            catalogs, schemas, tables, volumes = CatalogsApi(client), SchemasApi(client), TablesApi(client), VolumesApi(client)
            c = await catalogs.create_catalog(CreateCatalog(name="open", comment="c", properties={"a": "b"}))
            assert c.name == "open" and c.id and c.created_by and c.properties == {"a": "b"}
            e = await fails(409, catalogs.create_catalog(CreateCatalog(name="OPEN")))
            assert e["details"][0]["reason"] == "CATALOG_ALREADY_EXISTS", e
            assert (await catalogs.update_catalog("open", UpdateCatalog(new_name="opened", comment="d"))).name == "opened"
            assert "opened" in [x.name for x in (await catalogs.list_catalogs(max_results=0)).catalogs]
            await fails(400, catalogs.list_catalogs(max_results=-1))
            s = await schemas.create_schema(CreateSchema(name="s", catalog_name="opened"))
            assert s.full_name == "opened.s" and s.schema_id
            assert (await schemas.get_schema("opened.s")).name == "s"
            # an external table of columns, whose log is written afterwards
            columns = [ColumnInfo(name="id", type_text="int", type_json='{"name":"id","type":"integer","nullable":true,"metadata":{}}', type_name="INT", position=0, nullable=True),
                       ColumnInfo(name="tags", type_text="array<string>", type_name="ARRAY", type_json='{"type":"array","elementType":"string","containsNull":true}', position=1)]
            t = await tables.create_table(CreateTable(name="ext", catalog_name="opened", schema_name="s", table_type="EXTERNAL", data_source_format="DELTA",
                columns=columns, storage_location="file://" + outside + "/ext"))
            assert [(x.name, x.type_name.value, x.type_text) for x in t.columns] == [("id", "INT", "int"), ("tags", "ARRAY", "array<string>")], t.columns
            import deltalake, pyarrow as pa
            deltalake.write_deltalake(outside + "/ext", pa.table({"id": pa.array([1, 2], pa.int32())}))
            t = await tables.get_table("opened.s.ext")
            assert [x.name for x in t.columns] == ["id"], "the log decides"
            await fails(400, tables.create_table(CreateTable(name="p", catalog_name="opened", schema_name="s", table_type="EXTERNAL", data_source_format="PARQUET", columns=columns, storage_location="file://" + outside + "/p")))
            # a managed table, empty; and one that is staged, written and given its name
            m = await tables.create_table(CreateTable(name="made", catalog_name="opened", schema_name="s", table_type="MANAGED", data_source_format="DELTA", columns=columns))
            assert deltalake.DeltaTable(m.storage_location).schema().fields[1].name == "tags"
            g = await tables.create_staging_table(CreateStagingTable(name="staged", catalog_name="opened", schema_name="s"))
            deltalake.write_deltalake(g.staging_location, pa.table({"n": [1, 2, 3]}))
            await fails(404, tables.create_table(CreateTable(name="else", catalog_name="opened", schema_name="s", table_type="MANAGED", data_source_format="DELTA", columns=columns, storage_location=g.staging_location)))
            p = await tables.create_table(CreateTable(name="staged", catalog_name="opened", schema_name="s", table_type="MANAGED", data_source_format="DELTA", columns=columns, storage_location=g.staging_location))
            assert p.table_id == g.id and p.table_type.value == "MANAGED" and [x.name for x in p.columns] == ["n"]
            assert {x.name for x in (await tables.list_tables("opened", "s", max_results=2)).tables} == {"ext", "made"}
            # credentials of storage
            creds = TemporaryCredentialsApi(client)
            k = await creds.generate_temporary_table_credentials(GenerateTemporaryTableCredential(table_id=p.table_id, operation="READ_WRITE"))
            assert k.url == p.storage_location and deltalake.DeltaTable(k.url).to_pyarrow_table().num_rows == 3
            await fails(403, creds.generate_temporary_path_credentials(GenerateTemporaryPathCredential(url="file:///etc", operation="PATH_READ")))
            k = await creds.generate_temporary_path_credentials(GenerateTemporaryPathCredential(url="file://" + outside + "/x", operation="PATH_READ"))
            # commits
            commits = DeltaCommitsApi(client)
            def commit(v, **kw): return DeltaCommit(table_id=p.table_id, table_uri=p.storage_location, commit_info=DeltaCommitInfo(version=v, timestamp=1700000000000 + v,
                file_name=f"{v:020}.uuid.json", file_size=100, file_modification_timestamp=1700000000000), **kw)
            for v in range(1, 4): await commits.commit(commit(v))
            await fails(409, commits.commit(commit(3)))
            await fails(400, commits.commit(commit(9)))
            # The generated client leaves the body of a GET behind; Spark's does not.
            async def seen():
                import requests
                r = requests.get(host + "/api/2.1/unity-catalog/delta/preview/commits", headers={"Authorization": "Bearer " + token},
                    json={"table_id": p.table_id, "table_uri": p.storage_location, "start_version": 0}).json()
                r = DeltaGetCommitsResponse.from_dict(r)
                return [c.version for c in r.commits], r.latest_table_version
            assert await seen() == ([3, 2, 1], 3)
            # two who give out versions would give out the same one
            def sql(text):
                import requests
                return requests.post(host + "/api/2.0/sql/statements", headers={"Authorization": "Bearer " + token}, json={"statement": text, "wait_timeout": "50s"}).json()["status"]
            s = sql("INSERT INTO opened.s.staged VALUES (4)")
            assert s["state"] == "FAILED" and "given out by the catalog since a client committed version 3" in s["error"]["message"], s
            await fails(409, commits.commit(DeltaCommit(table_id=m.table_id, table_uri=m.storage_location, commit_info=DeltaCommitInfo(version=0, timestamp=1, file_name="x", file_size=1, file_modification_timestamp=1))))
            await fails(400, creds.generate_temporary_table_credentials(GenerateTemporaryTableCredential(table_id=p.table_id, operation="UNKNOWN_TABLE_OPERATION")))
            await commits.commit(DeltaCommit(table_id=p.table_id, table_uri=p.storage_location, latest_backfilled_version=3))
            assert await seen() == ([], 3)
            await commits.commit(commit(4))
            assert await seen() == ([4], 4)
            await fails(400, commits.commit(DeltaCommit(table_id=p.table_id, table_uri="file:///elsewhere", latest_backfilled_version=4)))
            # volumes
            v = await volumes.create_volume(CreateVolumeRequestContent(catalog_name="opened", schema_name="s", name="v", volume_type="MANAGED"))
            assert v.volume_id and (await volumes.update_volume("opened.s.v", UpdateVolumeRequestContent(new_name="w", comment="c"))).name == "w"
            assert (await creds.generate_temporary_volume_credentials(GenerateTemporaryVolumeCredential(volume_id=v.volume_id, operation="READ_VOLUME"))).url == v.storage_location
            os.makedirs(outside + "/vol")
            await volumes.create_volume(CreateVolumeRequestContent(catalog_name="opened", schema_name="s", name="x", volume_type="EXTERNAL", storage_location="file://" + outside + "/vol"))
            assert [x.name for x in (await volumes.list_volumes("opened", "s")).volumes] == ["w", "x"]
            # models
            models, versions = RegisteredModelsApi(client), ModelVersionsApi(client)
            m = await models.create_registered_model(CreateRegisteredModel(name="m", catalog_name="opened", schema_name="s", comment="c"))
            r = await versions.create_model_version(CreateModelVersion(model_name="m", catalog_name="opened", schema_name="s", source="file:///somewhere", run_id="r"))
            assert r.version == 1 and r.status.value == "PENDING_REGISTRATION" and r.source == "file:///somewhere", r
            open(r.storage_location[len("file://"):] + "/weights", "w").write("w")
            k = await creds.generate_temporary_model_version_credentials(GenerateTemporaryModelVersionCredential(catalog_name="opened", schema_name="s", model_name="m", version=1, operation="READ_WRITE_MODEL_VERSION"))
            assert k.url == r.storage_location
            r = await versions.finalize_model_version("opened.s.m", 1, FinalizeModelVersion(full_name="opened.s.m", version=1))
            assert r.status.value == "READY"
            assert (await versions.update_model_version("opened.s.m", 1, UpdateModelVersion(comment="new"))).comment == "new"
            assert [x.version for x in (await versions.list_model_versions("opened.s.m")).model_versions] == [1]
            await fails(400, models.delete_registered_model("opened.s.m"))
            await models.delete_registered_model("opened.s.m", force=True)
            # locations and credentials
            locations, credentials = ExternalLocationsApi(client), CredentialsApi(client)
            k = await credentials.create_credential(CreateCredentialRequest(name="role", purpose="STORAGE", aws_iam_role=AwsIamRoleRequest(role_arn="arn:x")))
            assert k.aws_iam_role.role_arn == "arn:x"
            l = await locations.create_external_location(CreateExternalLocation(name="l", url="s3://bucket-of-ours/p", credential_name="role"))
            assert l.credential_name == "role" and (await locations.update_external_location("l", UpdateExternalLocation(new_name="l2", comment="c"))).name == "l2"
            assert "l2" in [x.name for x in (await locations.list_external_locations()).external_locations]
            await locations.delete_external_location("l2")
            await credentials.delete_credential("role")
            assert (await MetastoresApi(client).summary()).metastore_id
            await fails(400, catalogs.delete_catalog("opened"))
            await catalogs.delete_catalog("opened", force=True)
            await fails(404, catalogs.get_catalog("opened"))
            print("all is well")
        asyncio.run(main())
        """
      #expect(try Peers.run(script, ["http://\(cluster.http)", cluster.token, outside]).contains("all is well"))
    }

    @Test(.enabled(if: Peers.python != nil, "no peer environment"))
    func duckDBAttachesACatalog() throws {
      let cluster = try LocalCluster("attach")
      #expect(try cluster.start(workers: 1).status == 0)
      for sql in [
        "create table main.demo.words as select 'a' as word, 1 as n union all select 'b', 2",
        "create table main.demo.numbers as select i as n from range(1000) r(i)",
      ] { #expect(try cluster.cli(["sql", sql]).status == 0) }
      let script = """
        import sys, duckdb
        import duckdb_extension_httpfs as h, duckdb_extension_delta as d, duckdb_extension_unity_catalog as u
        host, token = sys.argv[1:3]
        db = duckdb.connect()
        for module, name in ((h, "httpfs"), (d, "delta"), (u, "unity_catalog")):
            db.execute(f"LOAD '{module.__path__[0]}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")
        db.execute(f"CREATE SECRET (TYPE unity_catalog, TOKEN '{token}', ENDPOINT '{host}', AWS_REGION 'us-east-1')")
        db.execute("ATTACH 'main' AS lake (TYPE unity_catalog, DEFAULT_SCHEMA 'demo')")
        assert ("demo",) in db.execute("select schema_name from duckdb_schemas() where database_name = 'lake'").fetchall()
        tables = db.execute("select table_name from duckdb_tables() where database_name = 'lake' order by 1").fetchall()
        assert tables == [("numbers",), ("words",)], tables
        assert db.execute("select w.word, n.n from lake.demo.words w join lake.demo.numbers n using (n) order by 1").fetchall() == [("a", 1), ("b", 2)]
        print("all is well")
        """
      #expect(try Peers.run(script, ["http://\(cluster.http)", cluster.token]).contains("all is well"))
    }

    @Test(.enabled(if: Peers.python != nil, "no peer environment"))
    func theDatabricksSDKWorksUnchanged() throws {
      let cluster = try LocalCluster("databricks")
      let outside = cluster.folder.file("outside")
      #expect(
        try cluster.cli(
          ["up", "--workers", "1", "--bind", cluster.http, "--node-bind", cluster.nodes],
          environment: ["PLATFORM_EXTERNAL_LOCATIONS": outside]
        ).status == 0)
      for sql in [
        "create table main.demo.numbers as select i as n, i * 0.5 as half, [i] as list from range(10) t(i)",
        "create table main.demo.words as select 'a' as word",
      ] {
        let made = try cluster.cli(["sql", sql])
        #expect(made.status == 0, "\(made.all)")
      }
      let script = """
        import os, sys
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.errors import NotFound, ResourceAlreadyExists, ResourceConflict, BadRequest, Unauthenticated, PermissionDenied
        from databricks.sdk.service.catalog import VolumeType, TableType, DataSourceFormat
        host, token, outside = sys.argv[1:4]
        w = WorkspaceClient(host=host, token=token, auth_type="pat")
        def fails(kind, call):
            try: call()
            except kind: return
            raise AssertionError("no " + kind.__name__)
        # catalogs and schemas
        made = w.catalogs.create("Shop", comment="c", properties={"a": "b"})
        assert made.name == "shop" and made.properties == {"a": "b"} and made.owner and made.created_at > 1_600_000_000_000, made
        fails(ResourceAlreadyExists, lambda: w.catalogs.create("sHOP"))
        assert w.catalogs.get("SHOP").comment == "c"
        assert w.catalogs.update("shop", comment="d").comment == "d"
        assert w.catalogs.update("shop", new_name="Other").name == "other" and w.catalogs.update("other", new_name="shop").name == "shop"
        fails(ResourceAlreadyExists, lambda: w.catalogs.update("shop", new_name="main"))
        fails(NotFound, lambda: w.catalogs.get("nowhere"))
        for i in range(7): w.catalogs.create(f"extra{i}")
        names = [c.name for c in w.catalogs.list(max_results=3)]
        assert names == sorted(["main", "shop", "system"] + [f"extra{i}" for i in range(7)]), names
        fails(BadRequest, lambda: list(w.catalogs.list(max_results=3, page_token="nonsense")))
        s = w.schemas.create("eu", "shop", comment="x")
        assert s.full_name == "shop.eu" and s.catalog_name == "shop"
        fails(NotFound, lambda: w.schemas.create("eu", "nowhere"))
        assert [x.name for x in w.schemas.list("shop")] == ["eu"]
        # tables
        tables = list(w.tables.list("main", "demo"))
        assert [t.full_name for t in tables] == ["main.demo.numbers", "main.demo.words"], tables
        t = w.tables.get("main.demo.NUMBERS")
        assert t.table_type == TableType.MANAGED and t.data_source_format == DataSourceFormat.DELTA and t.storage_location.startswith("file:///")
        assert [(c.name, c.type_text, c.type_name.value, c.position, c.nullable) for c in t.columns] == [
            ("n", "bigint", "LONG", 0, True), ("half", "decimal(21,1)", "DECIMAL", 1, True), ("list", "array<bigint>", "ARRAY", 2, True)], t.columns
        assert [c.type_text for c in t.columns] == [c.type_text for c in tables[0].columns]
        assert w.tables.exists("main.demo.numbers").table_exists and not w.tables.exists("main.demo.nothing").table_exists
        fails(NotFound, lambda: w.tables.get("main.demo.nothing"))
        # an external table: made by another engine, kept when it is dropped
        try:
            import deltalake, pyarrow as pa
        except ImportError:
            deltalake = None
        if deltalake:
            os.makedirs(outside + "/t")
            deltalake.write_deltalake(outside + "/t", pa.table({"id": pa.array([1, 2], pa.int32()), "p": ["a", "b"]}), partition_by=["p"])
            kw = dict(catalog_name="shop", schema_name="eu", table_type=TableType.EXTERNAL, data_source_format=DataSourceFormat.DELTA)
            e = w.tables.create(name="Ext", storage_location="file://" + outside + "/t", **kw)
            assert e.full_name == "shop.eu.ext" and e.table_type == TableType.EXTERNAL
            assert [(c.name, c.type_name.value, c.partition_index) for c in e.columns] == [("id", "INT", None), ("p", "STRING", 0)], e.columns
            fails(ResourceAlreadyExists, lambda: w.tables.create(name="EXT", storage_location="file://" + outside + "/t", **kw))
            fails(PermissionDenied, lambda: w.tables.create(name="bad", storage_location="file:///etc", **kw))
            fails(ResourceConflict, lambda: w.tables.create(name="same", storage_location=outside + "/t", **kw))
            w.tables.delete("shop.eu.ext")
            assert os.path.exists(outside + "/t/_delta_log")
        # constraints and tags
        from databricks.sdk.service.catalog import (TableConstraint, PrimaryKeyConstraint, ForeignKeyConstraint, EntityTagAssignment, AwsIamRoleRequest,
            CloudflareApiToken, ConnectionType, SystemType)
        w.table_constraints.create("main.demo.numbers", TableConstraint(primary_key_constraint=PrimaryKeyConstraint(name="pk", child_columns=["N"])))
        fk = w.table_constraints.create("main.demo.words", TableConstraint(foreign_key_constraint=ForeignKeyConstraint(
            name="fk", child_columns=["word"], parent_table="main.demo.numbers", parent_columns=["n"])))
        assert fk.foreign_key_constraint.parent_columns == ["n"], fk
        assert w.tables.get("main.demo.numbers").table_constraints[0].primary_key_constraint.child_columns == ["n"]
        fails(ResourceConflict, lambda: w.table_constraints.delete("main.demo.numbers", "pk", False))
        w.table_constraints.delete("main.demo.numbers", "pk", True)
        assert not w.tables.get("main.demo.words").table_constraints
        for kind, name in [("catalogs", "shop"), ("schemas", "shop.eu"), ("tables", "main.demo.words"), ("columns", "main.demo.words.word")]:
            w.entity_tag_assignments.create(EntityTagAssignment(entity_type=kind, entity_name=name, tag_key="pii", tag_value="no"))
            assert w.entity_tag_assignments.update(kind, name, "pii", EntityTagAssignment(entity_type=kind, entity_name=name, tag_key="pii", tag_value="yes"), "tag_value").tag_value == "yes"
            assert [(a.tag_key, a.tag_value) for a in w.entity_tag_assignments.list(kind, name)] == [("pii", "yes")]
            w.entity_tag_assignments.delete(kind, name, "pii")
            fails(NotFound, lambda: w.entity_tag_assignments.get(kind, name, "pii"))
        assert {x.full_name for x in w.tables.list_summaries("main", table_name_pattern="%ords")} == {"main.demo.words"}
        # connections, credentials, locations
        c = w.connections.create("pg", ConnectionType.POSTGRESQL, {"host": "db", "user": "u", "password": "hunter2"}, comment="x")
        assert c.options == {"host": "db", "user": "u"} and "hunter2" not in str(c) and w.connections.get("PG").connection_type == ConnectionType.POSTGRESQL
        assert w.connections.update("pg", {"host": "db2"}, new_name="pg2").options == {"host": "db2"}
        assert [x.name for x in w.connections.list()] == ["pg2"]
        w.connections.delete("pg2")
        fails(NotFound, lambda: w.connections.get("pg2"))
        k = w.storage_credentials.create("keys", cloudflare_api_token=CloudflareApiToken(access_key_id="AK", secret_access_key="hunter2", account_id="acc"))
        assert k.name == "keys" and "hunter2" not in str(w.storage_credentials.get("keys")) + str(list(w.storage_credentials.list())) + str(list(w.credentials.list_credentials()))
        role = w.storage_credentials.create("role", aws_iam_role=AwsIamRoleRequest(role_arn="arn:aws:iam::1:role/x"))
        assert role.aws_iam_role.role_arn.endswith("/x")
        l = w.external_locations.create("bucket", "s3://some-bucket/data/", "keys", comment="c")
        assert l.url == "s3://some-bucket/data" and l.credential_name == "keys"
        fails(ResourceConflict, lambda: w.external_locations.create("inner", "s3://some-bucket/data/in", "keys"))
        fails(BadRequest, lambda: w.storage_credentials.delete("keys"))
        creds = w.temporary_path_credentials.generate_temporary_path_credentials("s3://some-bucket/data/t", __import__("databricks.sdk.service.catalog", fromlist=["PathOperation"]).PathOperation.PATH_READ)
        assert creds.aws_temp_credentials.access_key_id == "AK" and creds.url == "s3://some-bucket/data/t", creds
        fails(PermissionDenied, lambda: w.temporary_path_credentials.generate_temporary_path_credentials("s3://other-bucket/t", __import__("databricks.sdk.service.catalog", fromlist=["PathOperation"]).PathOperation.PATH_READ))
        assert w.external_locations.update("bucket", new_name="store").name == "store"
        w.external_locations.delete("store")
        w.storage_credentials.delete("keys"); w.storage_credentials.delete("role")
        assert any(x.url == "file://" + outside for x in w.external_locations.list())
        # who, and where
        me = w.current_user.me()
        assert me.user_name == "admin" and [u.user_name for u in w.users.list(filter='userName eq "ADMIN"')] == ["admin"] and [g.display_name for g in w.groups.list()] == ["admins"]
        assert w.metastores.current().metastore_id == w.metastores.summary().metastore_id == next(iter(w.metastores.list())).metastore_id
        from databricks.sdk.service.catalog import TableOperation
        tc = w.temporary_table_credentials.generate_temporary_table_credentials(operation=TableOperation.READ, table_id=t.table_id)
        assert tc.url == t.storage_location and tc.aws_temp_credentials is None
        folder = t.storage_location[len("file://"):]
        assert os.path.exists(folder)
        w.tables.delete("main.demo.numbers")
        assert os.path.exists(folder), "kept until it is purged"
        fails(NotFound, lambda: w.tables.delete("main.demo.numbers"))
        # volumes
        v = w.volumes.create("shop", "eu", "Raw", VolumeType.MANAGED)
        assert v.full_name == "shop.eu.raw" and v.volume_type == VolumeType.MANAGED
        fails(ResourceAlreadyExists, lambda: w.volumes.create("shop", "eu", "raw", VolumeType.MANAGED))
        assert [x.name for x in w.volumes.list("shop", "eu")] == ["raw"] and w.volumes.read("shop.eu.RAW").volume_id == v.volume_id
        assert w.volumes.update("shop.eu.raw", comment="hello").comment == "hello"
        # files of volumes
        import hashlib, io, tempfile
        base = "/Volumes/shop/eu/raw"
        data = bytes(range(256)) * 40_000
        w.files.create_directory(base + "/a/b")
        w.files.upload(base + "/a/one two+.bin", io.BytesIO(data))
        assert w.files.download(base + "/a/one two+.bin").contents.read() == data
        meta = w.files.get_metadata(base + "/a/one two+.bin")
        assert meta.content_length == len(data) and meta.last_modified, meta
        fails(ResourceAlreadyExists, lambda: w.files.upload(base + "/a/one two+.bin", io.BytesIO(b"x"), overwrite=False))
        w.files.upload(base + "/a/one two+.bin", io.BytesIO(b"0123456789"), overwrite=True)
        import requests
        url, auth = host + "/api/2.0/fs/files" + base + "/a/one%20two%2B.bin", {"Authorization": "Bearer " + token}
        for asked, status, body in [("bytes=2-4", 206, b"234"), ("bytes=7-", 206, b"789"), ("bytes=-3", 206, b"789"), ("bytes=99-", 416, b""),
                                    ("bytes=8-99", 206, b"89"), ("nonsense", 200, b"0123456789")]:
            r = requests.get(url, headers={**auth, "Range": asked})
            assert (r.status_code, r.content) == (status, body), (asked, r.status_code, r.content)
        for i in range(5): w.files.upload(f"{base}/many/{i}", io.BytesIO(b"x"))
        assert [e.path for e in w.files.list_directory_contents(base + "/many", page_size=2)] == [f"{base}/many/{i}" for i in range(5)]
        assert [(e.name, e.is_directory) for e in w.files.list_directory_contents(base)] == [("a", True), ("many", True)]
        fails(BadRequest, lambda: w.files.delete_directory(base + "/many"))
        fails(NotFound, lambda: w.files.download(base + "/nothing"))
        fails(NotFound, lambda: w.files.download("/Volumes/shop/eu/nowhere/x"))
        w.files.get_directory_metadata(base + "/a/b")
        fails(NotFound, lambda: w.files.get_directory_metadata(base + "/c"))
        w.files.delete(base + "/many/0")
        fails(NotFound, lambda: w.files.delete(base + "/many/0"))
        w.files.delete_directory(base + "/a/b")
        for path in ["/../../../../etc/passwd", "/%2e%2e/%2e%2e/x", "/a/./x"]:
            r = requests.Request("GET", host, headers=auth).prepare()
            r.url = host + "/api/2.0/fs/files" + base + path
            assert requests.Session().send(r).status_code == 400, path
        os.symlink("/etc", v.storage_location[len("file://"):] + "/etc")
        fails(PermissionDenied, lambda: w.files.download(base + "/etc/hostname"))
        # conditions, a large file in one piece although the client would send parts
        r = requests.get(url, headers=auth)
        tag = r.headers["ETag"]
        assert requests.get(url, headers={**auth, "If-None-Match": tag}).status_code == 304
        assert requests.get(url, headers={**auth, "If-Match": '"other"'}).status_code == 412
        r = requests.get(url, headers={**auth, "Range": "bytes=2-4", "If-Range": tag}); assert (r.status_code, r.content) == (206, b"234")
        r = requests.get(url, headers={**auth, "Range": "bytes=2-4", "If-Range": '"other"'}); assert (r.status_code, r.content) == (200, b"0123456789")
        r = requests.head(url, headers=auth); assert r.headers["Content-Length"] == "10" and r.headers["Last-Modified"] and r.headers["ETag"] == tag
        large = os.urandom(1 << 20) * 60
        w.files.upload(base + "/large", io.BytesIO(large))
        assert hashlib.sha256(w.files.download(base + "/large").contents.read()).digest() == hashlib.sha256(large).digest()
        w.files.delete(base + "/large")
        # models
        m = w.registered_models.get("system.ai.minilm")
        assert m.name == "minilm" and m.schema_name == "ai"
        assert "system.ai.minilm" in [x.full_name for x in w.registered_models.list()]
        versions = list(w.model_versions.list("system.ai.minilm"))
        assert [x.version for x in versions] == [1] and versions[0].status.value == "READY", versions
        assert w.registered_models.set_alias("system.ai.minilm", "champion", 1).version_num == 1
        assert w.model_versions.get_by_alias("system.ai.minilm", "champion").version == 1
        assert [a.alias_name for a in w.registered_models.get("system.ai.minilm", include_aliases=True).aliases] == ["champion"]
        fails(NotFound, lambda: w.registered_models.set_alias("system.ai.minilm", "champion", 99))
        w.registered_models.delete_alias("system.ai.minilm", "champion")
        fails(NotFound, lambda: w.model_versions.get_by_alias("system.ai.minilm", "champion"))
        fails(BadRequest, lambda: w.registered_models.delete("system.ai.minilm"))
        w.registered_models.create(name="fresh", catalog_name="shop", schema_name="eu")
        assert w.registered_models.update("shop.eu.fresh", comment="hm", new_name="fresher").name == "fresher"
        w.registered_models.update("shop.eu.fresher", new_name="fresh")
        fails(BadRequest, lambda: w.schemas.delete("shop.eu"))
        w.registered_models.delete("shop.eu.fresh")
        # removal
        fails(BadRequest, lambda: w.catalogs.delete("shop"))
        fails(BadRequest, lambda: w.schemas.delete("shop.eu"))
        w.volumes.delete("shop.eu.raw")
        fails(NotFound, lambda: w.volumes.read("shop.eu.raw"))
        w.schemas.delete("shop.eu")
        w.catalogs.delete("shop")
        for i in range(7): w.catalogs.delete(f"extra{i}", force=True)
        assert w.metastores.summary().metastore_id == w.metastores.current().metastore_id
        assert w.metastores.current().default_catalog_name == "main"
        fails(Unauthenticated, lambda: list(WorkspaceClient(host=host, token="plt_wrong", auth_type="pat").catalogs.list()))
        print("fine")
        """
      try FileManager.default.createDirectory(atPath: outside, withIntermediateDirectories: true)
      let answer = try Peers.run(script, ["http://\(cluster.http)", cluster.token, outside]).trimmingCharacters(in: .whitespacesAndNewlines)
      #expect(answer == "fine")
    }
  }
}
