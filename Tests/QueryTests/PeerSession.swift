// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport

/// The Python package `deltalake` at work on one table: one process that takes orders, so that each does not pay for a start.
final class PeerSession {
  private let process: Program

  init(table: String) throws {
    guard let python = Peers.python else { throw PlatformError(.notFound, "no peer environment") }
    process = try Program(python, ["-c", Self.script, table], takesInput: true, output: .pipe)
  }

  deinit {
    process.signal(SIGKILL)
    process.wait()
  }

  /// - Returns: the member `ok` of the answer.
  /// - Throws: what the peer says, as `invalidArgument`.
  @discardableResult func send(_ order: JSONValue) throws -> JSONValue {
    try process.write(order.sortedText + "\n")
    let answer = try JSONValue(parsing: process.line(atMost: 300))
    if let refusal = answer["error"]?.stringValue { throw PlatformError(.invalidArgument, refusal) }
    return answer["ok"] ?? .null
  }

  private static let script = """
    import sys, json, datetime, decimal, os, pyarrow as pa
    from deltalake import DeltaTable, Field, QueryBuilder, WriterProperties, write_deltalake
    path = sys.argv[1]
    SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("score", pa.float64()), ("p", pa.string()), ("day", pa.date32())])
    def day(text): return None if text is None else datetime.date.fromisoformat(text)
    def rows(given):
        return pa.table([[r[0] for r in given], [r[1] for r in given], [r[2] for r in given], [r[3] for r in given], [day(r[4]) for r in given]], schema=SCHEMA)
    def writer(o): return WriterProperties(compression=o.get("compression", "SNAPPY"), max_row_group_size=o.get("row_group"), write_batch_size=o.get("row_group"))
    def text(value):
        if isinstance(value, bytes): return value.hex()
        if isinstance(value, datetime.datetime): return value.isoformat()
        return str(value)
    def lines(table): return sorted(json.dumps(r, sort_keys=True, default=text, ensure_ascii=False) for r in table.to_pylist())
    def source(o):
        given = o["source"]
        return pa.table({"id": pa.array([r[0] for r in given], pa.int64()), "name": pa.array([r[1] for r in given], pa.string()),
            "score": pa.array([r[2] for r in given], pa.float64()), "p": pa.array([r[3] for r in given], pa.string()),
            "gone": pa.array([r[4] for r in given], pa.bool_())})
    def table(o={}): return DeltaTable(path, version=o.get("version"))
    def select(t, what="*"): return pa.table(QueryBuilder().register("t", t).execute("select " + what + " from t").read_all())
    def perform(o):
        op = o["op"]
        if op == "create": return write_deltalake(path, rows(o["rows"]), partition_by=o.get("partition_by") or None, configuration=o.get("configuration"))
        if op == "append": return write_deltalake(path, rows(o["rows"]), mode="append", writer_properties=writer(o))
        if op == "append_file":
            import pyarrow.parquet as pq
            return write_deltalake(path, pq.read_table(o["from"]), mode="append")
        if op == "write_rows":
            import pyarrow.parquet as pq
            return pq.write_table(table(o).to_pyarrow_table(), o["to"])
        if op == "overwrite": return write_deltalake(path, rows(o["rows"]), mode="overwrite", predicate=o.get("predicate"), writer_properties=writer(o))
        if op == "delete": return table().delete(o["predicate"])
        if op == "update": return table().update(predicate=o["predicate"], updates=o["updates"])
        if op == "merge":
            m = table().merge(source(o), o["on"], source_alias="s", target_alias="t")
            for c in o["clauses"]:
                if c["kind"] == "matched_delete": m = m.when_matched_delete(c.get("if"))
                if c["kind"] == "matched_update": m = m.when_matched_update(c["set"], predicate=c.get("if"))
                if c["kind"] == "insert": m = m.when_not_matched_insert(c["set"], predicate=c.get("if"))
                if c["kind"] == "source_delete": m = m.when_not_matched_by_source_delete(c.get("if"))
                if c["kind"] == "source_update": m = m.when_not_matched_by_source_update(c["set"], predicate=c.get("if"))
            return m.execute()
        if op == "compact": return table().optimize.compact()
        if op == "zorder": return table().optimize.z_order(o["columns"])
        if op == "restore": return table().restore(o["version"])
        if op == "checkpoint": return table().create_checkpoint()
        if op == "compact_logs": return table().compact_logs(o["from"], o["to"])
        if op == "cleanup": return table().cleanup_metadata()
        if op == "vacuum": return table().vacuum(dry_run=False)
        if op == "properties": return table().alter.set_table_properties(o["values"])
        if op == "constraint": return table().alter.add_constraint(o["values"])
        if op == "drop_constraint": return table().alter.drop_constraint(o["name"])
        if op == "add_column": return table().alter.add_columns([Field(o["name"], o["type"])])
        if op == "rows": return lines(select(table(o), o.get("what", "*")))
        if op == "file_rows":
            import pyarrow.parquet as pq
            return lines(pa.concat_tables([pq.read_table(f, partitioning=None).select(SCHEMA.names).cast(SCHEMA) for f in o["files"]] or [SCHEMA.empty_table()]))
        if op == "plain_rows": return lines(table(o).to_pyarrow_table())
        if op == "changes": return lines(pa.table(table().load_cdf(0).read_all()).drop_columns(["_commit_timestamp"]))
        if op == "version": return table().version()
        raise ValueError(op)
    for line in sys.stdin:
        try: answer = {"ok": perform(json.loads(line))}
        except Exception as e: answer = {"error": (type(e).__name__ + ": " + str(e))[:2000]}
        try: text_line = json.dumps(answer)
        except TypeError: text_line = json.dumps({"ok": str(answer["ok"])})
        print(text_line, flush=True)
    os._exit(0)
    """
}
