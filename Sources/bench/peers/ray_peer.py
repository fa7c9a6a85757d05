# SPDX-License-Identifier: Apache-2.0
import time


def start(cpus, folder):
    global nothing
    import os

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20, _temp_dir=folder)

    @ray.remote(num_cpus=1, max_retries=0)
    def nothing(milliseconds):
        began = time.time_ns()
        if milliseconds:
            time.sleep(milliseconds / 1000)
        return began

    # All its processes are there before anything is measured.
    ray.get([nothing.remote(50) for _ in range(4 * cpus)])
    return {"version": ray.__version__}


def run(count, milliseconds):
    import ray

    began = time.perf_counter()
    answers = ray.get([nothing.remote(milliseconds) for _ in range(count)])
    return {"seconds": time.perf_counter() - began, "tasks": len(answers)}


def latency(count, pause):
    """Of one task after the other: until it runs, and until its result is there."""
    import ray

    starts, ends = [], []
    for _ in range(count):
        time.sleep(pause)
        sent = time.time_ns()
        began = ray.get(nothing.remote(0))
        ends.append((time.time_ns() - sent) / 1e9)
        starts.append((began - sent) / 1e9)
    return {"starts": starts, "ends": ends}


def stop():
    import ray

    ray.shutdown()
