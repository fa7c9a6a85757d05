# SPDX-License-Identifier: Apache-2.0
"""Load on the statement service: INLINE statements over HTTP, one connection a client.

    eval "$(platform env)"; python3 statement_load.py "$PLATFORM_HOST" "$PLATFORM_TOKEN" [CLIENTS [SECONDS [STATEMENT]]]

Prints statements a second and the latencies' quantiles. The generator itself takes part of the machine.
"""
import json, multiprocessing, socket, sys, time
from urllib.parse import urlparse


def connect(host, port):
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def client(host, port, request, seconds, start, results):
    connection = connect(host, port)
    start.wait()
    end = time.perf_counter() + seconds
    latencies, failures = [], 0
    while (begun := time.perf_counter()) < end:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = connection.recv(65536)
            if not piece:  # the connection of a statement that took long is not used again
                connection = connect(host, port)
                connection.sendall(request)
            answer += piece
        head, body = answer.split(b"\r\n\r\n", 1)
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        while len(body) < length:
            body += connection.recv(65536)
        latencies.append(time.perf_counter() - begun)
        failures += b'"SUCCEEDED"' not in body
    results.put((latencies, failures))


def main():
    url, token = urlparse(sys.argv[1]), sys.argv[2]
    clients = int(sys.argv[3]) if len(sys.argv) > 3 else 16
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 10
    statement = sys.argv[5] if len(sys.argv) > 5 else "select 1"
    body = json.dumps({"statement": statement, "warehouse_id": "platform", "wait_timeout": "10s", "disposition": "INLINE"}).encode()
    request = (
        f"POST /api/2.0/sql/statements HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    start, results = multiprocessing.Event(), multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=client, args=(url.hostname, url.port or 80, request, seconds, start, results)) for _ in range(clients)
    ]
    for worker in workers:
        worker.start()
    time.sleep(0.5)
    start.set()
    gathered = [results.get() for _ in workers]
    latencies = sorted(latency for part, _ in gathered for latency in part)
    failures = sum(count for _, count in gathered)
    at = lambda share: latencies[min(len(latencies) - 1, int(share * len(latencies)))] * 1000
    print(
        f"{len(latencies) / seconds:.0f} statements/s  p50 {at(0.5):.2f} ms  p90 {at(0.9):.2f} ms  p99 {at(0.99):.2f} ms  "
        f"max {latencies[-1] * 1000:.1f} ms  failures {failures}  clients {clients}"
    )


if __name__ == "__main__":
    main()
