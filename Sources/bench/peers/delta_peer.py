# SPDX-License-Identifier: Apache-2.0
import time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable, WriterProperties, write_deltalake


def start(folder, rows, threads):
    global root, batch, connection
    root = folder
    pa.set_cpu_count(threads)
    ids = np.arange(rows, dtype=np.int64)
    batch = pa.table({
        "id": ids,
        "key": (ids * 7919 % 1000).astype(np.int32),
        "name": [f"item {i * 31 % 5000} of the list" for i in range(rows)],
        "price": (ids * 2654435761 % 1000000) / 100.0,
        "at": pa.array(1700000000000000 + ids * 1000000, pa.timestamp("us", "UTC")),
    })
    connection = duckdb.connect(config={"threads": threads, "memory_limit": "1GB"})
    connection.execute("SET TimeZone='UTC'")


def append(table):
    began = time.perf_counter()
    write_deltalake(f"{root}/{table}", batch, mode="append", writer_properties=WriterProperties(compression="ZSTD", compression_level=3))
    return {"seconds": time.perf_counter() - began}


def sums(table):
    rows = DeltaTable(f"{root}/{table}").to_pyarrow_table()
    return {"sums": [rows.num_rows, pc.sum(rows["id"]).as_py(), pc.sum(rows["key"]).as_py(), round(pc.sum(rows["price"]).as_py()),
                     pc.sum(pc.cast(rows["at"], pa.int64())).as_py() % 2**53, len(pc.unique(rows["name"]))]}


def open(table):
    began = time.perf_counter()
    files = DeltaTable(f"{root}/{table}").file_uris()
    return {"seconds": time.perf_counter() - began, "files": len(files)}


def scan(table):
    began = time.perf_counter()
    found = DeltaTable(f"{root}/{table}").to_pyarrow_dataset().to_table(
        columns=["id", "price"], filter=(ds.field("price") > 9000) & (ds.field("key") < 100))
    total = pc.sum(found["price"]).as_py()
    return {"seconds": time.perf_counter() - began, "count": found.num_rows, "sum": total}


def sql(sql, files):
    names = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
    began = time.perf_counter()
    rows = connection.execute(sql.replace("FROM t", f"FROM read_parquet([{names}])")).fetchall()
    return {"seconds": time.perf_counter() - began, "rows": rows}
