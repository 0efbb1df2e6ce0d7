#!/usr/bin/env python3
"""Fills a database that gatewire has made with messages that wait for IoT Core, faster than any client could.

    backlog.py DATABASE COUNT [--bytes N] [--age SECONDS] [--boot NUMBER --offset MS]

Their topics are up/0, up/1, ...; payloads have N bytes (200). They were accepted SECONDS ago (0), in this boot or in the one
of that number, whose clock was ahead of the time since boot by so many milliseconds.
"""

import argparse
import sqlite3
import struct
import time
import zlib

QOS_1 = 1


def this_boot():
    with open("/proc/sys/kernel/random/boot_id") as file:
        return int(file.read().replace("-", "")[:15], 16)


def checksum(key, *parts):
    content = struct.pack("<qB", key, QOS_1) + b"".join(struct.pack("<I", len(part)) + part for part in parts)
    return zlib.crc32(content)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("count", type=int)
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument("--age", type=float, default=0)
    parser.add_argument("--boot", type=int)
    parser.add_argument("--offset", type=int)
    arguments = parser.parse_args()
    payload = b"x" * arguments.bytes
    boot = arguments.boot or this_boot()
    at = int((time.time() - arguments.age) * 1000)
    since_boot = int((time.clock_gettime(time.CLOCK_BOOTTIME) - arguments.age) * 1000)
    if arguments.offset is not None:
        since_boot = at - arguments.offset
    database = sqlite3.connect(arguments.database, isolation_level=None)
    database.execute("PRAGMA synchronous=OFF")
    database.execute("BEGIN")
    first = database.execute("SELECT coalesce(max(key), 0) + 1 FROM message").fetchone()[0]
    total = 0

    def rows():
        nonlocal total
        for n in range(arguments.count):
            key, topic = first + n, b"up/%d" % n
            size = len(topic) + len(payload)
            total += size
            yield key, at, boot, since_boot, size, QOS_1, checksum(key, topic, payload, b""), topic, payload, b""

    database.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows())
    database.execute("INSERT OR IGNORE INTO queue (id, name, messages, bytes) VALUES (0, 'outbox', 0, 0)")
    database.execute("UPDATE queue SET messages = messages + ?, bytes = bytes + ? WHERE id = 0", (arguments.count, total))
    if arguments.offset is not None:
        database.execute("INSERT OR REPLACE INTO boot VALUES (?, ?)", (boot, arguments.offset))
    database.execute("COMMIT")
    database.close()


main()
