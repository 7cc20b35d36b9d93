#!/usr/bin/env python3
"""Writes to etcd for a while, and says how that went, as quorate bench does.

etcd-load.py SECONDS CLIENTS BYTES HOST:PORT...

Each client has a connection of its own, to the first host as long as that answers, and one
write outstanding. What is under way at the end may still end. It speaks to etcd's gateway for
JSON, since that takes no library.
"""

import asyncio
import base64
import json
import random
import sys
import time

# How long one write may take, as long as quorate's clients wait.
TIMEOUT = 30


def main():
    seconds, clients, size = (int(word) for word in sys.argv[1:4])
    load = Load(seconds, size, sys.argv[4:])
    asyncio.run(load.run(clients))
    print(json.dumps(load.figures()))


class Load:
    def __init__(self, seconds, size, hosts):
        self.hosts = [host.split(":") for host in hosts]
        self.size = size
        self.started = time.monotonic()
        self.ends_at = self.started + seconds
        self.latencies = []
        self.failed = 0

    async def run(self, clients):
        await asyncio.gather(*(self.client() for _ in range(clients)))

    async def client(self):
        place, connection = 0, None
        while time.monotonic() < self.ends_at:
            began = time.monotonic()
            try:
                async with asyncio.timeout(TIMEOUT):
                    if connection is None:
                        connection = await asyncio.open_connection(*self.hosts[place])
                    await self.put(*connection)
                self.latencies.append(time.monotonic() - began)
            except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
                self.failed += 1
                if connection is not None:
                    connection[1].close()
                place, connection = (place + 1) % len(self.hosts), None
                await asyncio.sleep(0.02)

    async def put(self, reader, writer):
        key = base64.b64encode(b"key-%d" % random.randrange(1000)).decode()
        value = base64.b64encode(random.randbytes(self.size)).decode()
        body = json.dumps({"key": key, "value": value}).encode()
        writer.write(b"POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nContent-Length: %d\r\n\r\n%b"
                     % (len(body), body))
        head = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        lengths = [int(line.split(b":")[1]) for line in head if line.startswith(b"content-length")]
        if b" 200 " not in head[0] or not lengths:
            raise ValueError("the write was refused")
        await reader.readexactly(lengths[0])

    def figures(self):
        latencies = sorted(self.latencies)
        took = time.monotonic() - self.started
        quantile = lambda part: (round(1e6 * latencies[int(part * (len(latencies) - 1))])
                                 if latencies else None)
        return {"ops": len(latencies), "ops_per_s": len(latencies) / took, "p50_us": quantile(0.5),
                "p99_us": quantile(0.99), "max_us": quantile(1), "errors": self.failed}


main()
