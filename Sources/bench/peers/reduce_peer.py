# SPDX-License-Identifier: Apache-2.0
"""Two processes with gloo: this one, and this file run as a program."""
import os
import subprocess
import sys
import time

import torch
import torch.distributed as dist


def join(folder, rank):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/gloo", rank=rank, world_size=2)


def reduce(count, repeats):
    torch.set_num_threads(1)
    numbers = torch.full((count,), float(dist.get_rank() + 1))
    dist.all_reduce(numbers)
    total = numbers[count // 2].item()
    numbers.zero_()
    dist.barrier()
    began = time.perf_counter()
    for _ in range(repeats):
        dist.all_reduce(numbers)
    return {"seconds": time.perf_counter() - began, "sum": total}


def start(folder):
    global other
    other = subprocess.Popen([sys.executable, __file__, folder], stdin=subprocess.PIPE, text=True)
    join(folder, 0)


def run(count, repeats):
    other.stdin.write(f"{count} {repeats}\n")
    other.stdin.flush()
    return reduce(count, repeats)


def stop():
    other.stdin.close()
    other.wait(30)
    dist.destroy_process_group()


if __name__ == "__main__":
    join(sys.argv[1], 1)
    for line in sys.stdin:
        reduce(*map(int, line.split()))
    os._exit(0)
