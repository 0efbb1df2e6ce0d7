"""What the tests in the container share: programs, waiting, a broker, what systemd and gatewire say."""

import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
import traceback

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent.parent
WORK = pathlib.Path(sys.argv[1])
THING = "thing-gateway-01"
PORT = 8883
# Seconds that a step may take at most, of which most take one.
STEP = 120


def run(*command, check=True, fails=False, **options):
    """Standard output and standard error of a program, which must succeed, or fail."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options)
    if check and (done.returncode != 0) != fails:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def systemctl(*words, **options):
    return run("systemctl", *words, **options)


def prop(name, unit="gatewire.service"):
    return systemctl("show", "--value", "--property", name, unit).strip()


def eventually(what, probe, seconds=30):
    """What `probe` returns as soon as that isn't nothing."""
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def status():
    return json.loads(subprocess.run(["gatewire", "status", "--json"], check=True, stdout=subprocess.PIPE).stdout)


def is_connected():
    return eventually("connected", lambda: status()["link"]["state"] == "connected")


def replaced(process):
    """Waits until another process is the daemon, and ready."""
    eventually("another process", lambda: int(prop("MainPID")) not in (0, process) and prop("ActiveState") == "active")


def write(path, text, mode=0o644):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def drop_in(name, text, unit="gatewire.service"):
    write(f"/etc/systemd/system/{unit}.d/{name}.conf", text)
    systemctl("daemon-reload")


def remove_drop_in(name, unit="gatewire.service"):
    os.unlink(f"/etc/systemd/system/{unit}.d/{name}.conf")
    systemctl("daemon-reload")


def journal(*options, of=("-u", "gatewire.service")):
    """The records of the service, each with its fields."""
    run("journalctl", "--sync")
    lines = run("journalctl", "-o", "json", *of, *options).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def actions_of_root(*options):
    """What `gatewire act` has written. Not by its unit, which the journal doesn't know of a process that is gone before it looks; and with
    a cursor from all there is, as the next after the cursor is left out if the cursor's own record isn't looked for."""
    records = journal(*options, of=())
    return [record for record in records if record.get("GATEWIRE_EVENT") in ("root_action", "root_action_refused")]


def cursor():
    """Where the journal of all units ends now: for journal(f"--after-cursor={cursor}")."""
    run("journalctl", "--sync")
    return re.search("-- cursor: (.*)", run("journalctl", "-n", "1", "--show-cursor")).group(1)


def events(*options):
    return [record["GATEWIRE_EVENT"] for record in journal(*options) if "GATEWIRE_EVENT" in record]


class Socket:
    """A client of a socket, by lines."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(f"/run/gatewire/{name}.sock")
        self.lines = self.socket.makefile("r")

    def send(self, **message):
        self.socket.sendall((json.dumps(message) + "\n").encode())

    def next(self):
        line = self.lines.readline()
        assert line, "the socket was closed"
        return json.loads(line)


class Broker:
    """mosquitto in the place of IoT Core, with mutual TLS."""

    LOG = pathlib.Path("/run/broker.log")

    def __init__(self):
        certificates = "/etc/gatewire/certs"
        write("/run/broker.conf", f"user root\nlistener {PORT} 127.0.0.1\nlog_type all\nrequire_certificate true\n"
              f"use_identity_as_username true\ncafile {certificates}/AmazonRootCA1.pem\n"
              "certfile /root/server/server.crt\nkeyfile /root/server/server.key\n")

    def start(self):
        self.LOG.unlink(missing_ok=True)
        run("systemd-run", "--quiet", "--collect", "--unit=broker", f"--property=StandardError=append:{self.LOG}",
            f"--property=StandardOutput=append:{self.LOG}", "/usr/sbin/mosquitto", "-c", "/run/broker.conf")
        eventually("mosquitto runs", lambda: "running" in self.log())

    def stop(self):
        systemctl("stop", "broker.service")

    def log(self):
        return self.LOG.read_text() if self.LOG.exists() else ""

    def publish(self, topic, payload):
        run("mosquitto_pub", *self.client("test-publisher"), "-q", "1", "-t", topic, "-m", payload)

    def client(self, name):
        at = "/root/server"
        return ["-h", "localhost", "-p", PORT, "-i", name, "--cafile", f"{at}/AmazonRootCA1.pem", "--cert",
                f"{at}/certificate.pem.crt", "--key", f"{at}/private.pem.key"]

    def subscriber(self, topic, format="%p"):
        """A subscriber, to be asked for `.stdout.readline()`."""
        name = f"test-subscriber-{time.monotonic_ns()}"
        command = ["mosquitto_sub", *map(str, self.client(name)), "-q", "1", "-t", topic, "-F", format]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        eventually("subscribed", lambda: f"Sending SUBACK to {name}" in self.log())
        return process


def runs(command):
    """Whether there is a process with this in its command line."""
    return any(command in command_line(process) for process in pathlib.Path("/proc").glob("[0-9]*"))


def command_line(process):
    try:
        return (process / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def owner(path):
    found = os.stat(path)
    return f"{found.st_mode & 0o7777:04o} {pwd.getpwuid(found.st_uid).pw_name}"


def too_long(*_):
    raise TimeoutError(f"not done within {STEP} s")


def all_steps(steps):
    """Each in turn. What fails shows the journal and ends the boot."""
    signal.signal(signal.SIGALRM, too_long)
    for step in steps:
        began, at = time.monotonic(), int(time.time())
        signal.alarm(STEP)
        try:
            step()
        except BaseException:
            traceback.print_exc()
            print(run("journalctl", f"--since=@{at}", "-o", "short-precise", check=False), flush=True)
            print(f"FAILED  {step.__doc__}", flush=True)
            sys.exit(1)
        print(f"ok  {step.__doc__}  ({time.monotonic() - began:.1f} s)", flush=True)
