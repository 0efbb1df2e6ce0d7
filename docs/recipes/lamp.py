#!/usr/bin/python3
"""Switches a lamp as messages from AWS IoT Core say, `on` or `off`, and publishes what it has become.

    LAMP=/sys/class/leds/ACT/brightness lamp.py

It wants nothing but Python. SOCKETS names another directory than /run/gatewire.
"""

import json
import os
import socket
import sys
import time

LAMP = os.environ["LAMP"]
SOCKETS = os.environ.get("SOCKETS", "/run/gatewire")


class Connection:
    """JSON objects, one a line, over a socket of gatewire."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(f"{SOCKETS}/{name}")
        self.lines = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.lines.close()
        self.socket.close()

    def send(self, value):
        self.socket.sendall(json.dumps(value).encode() + b"\n")

    def receive(self):
        """The next object; an error at the end."""
        line = self.lines.readline()
        # Without a newline it is the rest of one: gatewire has died in the middle.
        if not line.endswith(b"\n"):
            raise ConnectionError("gatewire has closed the connection")
        return json.loads(line)


def switch(message, publish):
    """Does what a message says."""
    state = message.get("payload")  # Bytes that aren't text would be in payload_base64.
    if state not in ("on", "off"):
        print(f"lamp: neither on nor off: {message}", file=sys.stderr)
        return
    # A message may come twice; it does no harm here. Where it does, "duplicate" and "id" help.
    with open(LAMP, "w") as lamp:
        lamp.write("1" if state == "on" else "0")
    publish.send({"topic": message["topic"].removesuffix("/set"), "payload": state})
    answer = publish.receive()
    if answer.get("error") == "shutting_down":
        raise ConnectionError("gatewire is stopping")
    if "error" in answer:
        # Refused, and so it would be again: doing it once more wouldn't help.
        print(f"lamp: not published: {answer['error']}: {answer['detail']}", file=sys.stderr)


def serve():
    with Connection("lamp.sock") as messages, Connection("publish.sock") as publish:
        while True:
            message = messages.receive()
            if "error" in message:  # Such as: it serves no more clients.
                raise ConnectionError(message["detail"])
            switch(message, publish)
            # Only now: what isn't acknowledged when this program or gatewire ends comes again.
            messages.send({"ack": message["id"]})


while True:
    try:
        serve()
    except OSError as error:
        print(f"lamp: {error}; once more in a second", file=sys.stderr)
    time.sleep(1)
