# SPDX-License-Identifier: Apache-2.0
import shutil
import time

import duckdb
import duckdb_extension_delta
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable, WriterProperties, write_deltalake
from durable import Durable

properties = WriterProperties(compression="ZSTD", compression_level=3)


def start(folder, threads):
    global root, connection
    root = folder
    pa.set_cpu_count(threads)
    connection = duckdb.connect(config={"threads": threads, "memory_limit": "4GB"})
    connection.execute(f"LOAD '{duckdb_extension_delta.__path__[0]}/extensions/v{duckdb.__version__}/delta.duckdb_extension'")
    connection.execute("SET TimeZone='UTC'")


def write(table, files):
    shutil.rmtree(f"{root}/{table}", ignore_errors=True)
    began = time.perf_counter()
    disk = Durable(f"{root}/{table}")
    write_deltalake(f"{root}/{table}", ds.dataset(files).scanner().to_reader(), writer_properties=properties)
    disk.sync()
    return {"seconds": time.perf_counter() - began}


def files_of(table):
    return "read_parquet([" + ", ".join("'" + f.replace("'", "''") + "'" for f in DeltaTable(f"{root}/{table}").file_uris()) + "])"


def sums(table):
    row = connection.execute(
        f"""SELECT count(*), sum(id), sum(key), sum(round(price * 100)::BIGINT), count(DISTINCT name), sum(epoch_us("at")), sum(part), count_if(flag), sum(weight)
        FROM {files_of(table)}""").fetchone()
    return {"sums": [str(value) for value in row]}


def numbers(table):
    """Of a table that may have deletion vectors, which DuckDB's own reader of Delta tables knows."""
    row = connection.execute(f"SELECT count(*), sum(id), sum(round(price * 100)::BIGINT) FROM delta_scan('{root}/{table}')").fetchone()
    return {"sums": [str(value) for value in row]}


def sql(sql, files):
    names = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
    began = time.perf_counter()
    rows = connection.execute(sql.replace("FROM t", f"FROM read_parquet([{names}])")).fetchall()
    return {"seconds": time.perf_counter() - began, "rows": rows}


def merge(table, file):
    source = ds.dataset(file).to_table()
    disk = Durable(f"{root}/{table}")
    began = time.perf_counter()
    (DeltaTable(f"{root}/{table}").merge(source, "t.id = s.id", source_alias="s", target_alias="t", writer_properties=properties)
     .when_matched_update_all().when_not_matched_insert_all().execute())
    disk.sync()
    return {"seconds": time.perf_counter() - began}
