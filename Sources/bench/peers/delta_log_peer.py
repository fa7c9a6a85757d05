# SPDX-License-Identifier: Apache-2.0
import threading
import time

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from durable import Durable


def start(folder):
    global root
    root = folder


def open(table):
    began = time.perf_counter()
    files = DeltaTable(f"{root}/{table}").file_uris()
    return {"seconds": time.perf_counter() - began, "files": len(files)}


def ids(table):
    return {"ids": len(set(DeltaTable(f"{root}/{table}").to_pyarrow_table()["id"].to_pylist()))}


def append(table, writers, each, held, durable):
    place = f"{root}/{table}"
    schema = pa.schema([("id", pa.int64()), ("name", pa.string())])
    write_deltalake(place, pa.table({"id": [], "name": []}, schema=schema))
    disk = Durable(place)

    def run(writer):
        # Given its path, a table is opened for each row; one that is held open is only read on.
        target = DeltaTable(place) if held else place
        for index in range(each):
            row = pa.table({"id": [writer * each + index], "name": ["a name"]}, schema=schema)
            try:
                write_deltalake(target, row, mode="append")
            except Exception:  # too many lost races: this row is not counted
                continue
            if durable:
                disk.sync()

    threads = [threading.Thread(target=run, args=(writer,)) for writer in range(writers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "rows": DeltaTable(place).to_pyarrow_table().num_rows}
