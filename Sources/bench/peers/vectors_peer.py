# SPDX-License-Identifier: Apache-2.0
import time

import hnswlib
import numpy as np


def load(rows, queries, exact, dimension, k, m, ef_construction, ef):
    global data, asked, settings, index
    data = np.fromfile(rows, dtype=np.float32).reshape(-1, dimension)
    asked = np.fromfile(queries, dtype=np.float32).reshape(-1, dimension)
    settings = dict(dimension=dimension, k=k, m=m, ef_construction=ef_construction, ef=ef)
    build(1)
    labels = index.knn_query(asked, k=k, num_threads=1)[0]
    true = np.fromfile(exact, dtype=np.int32).reshape(-1, k)
    return {"recall": float(np.mean([len(set(a) & set(b)) / k for a, b in zip(labels.tolist(), true.tolist())]))}


def build(threads):
    global index
    began = time.perf_counter()
    index = hnswlib.Index(space="cosine", dim=settings["dimension"])
    index.init_index(max_elements=len(data), ef_construction=settings["ef_construction"], M=settings["m"], random_seed=100)
    index.add_items(data, num_threads=threads)
    seconds = time.perf_counter() - began
    index.set_ef(settings["ef"])
    return {"seconds": seconds}


def search():
    began = time.perf_counter()
    index.knn_query(asked, k=settings["k"], num_threads=1)
    return {"seconds": time.perf_counter() - began}
