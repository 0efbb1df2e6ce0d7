"""gatewire and what it is compared with: the bare program on rumqttc (benches/floor) and mosquitto's bridge, each beside the same
broker with mutual TLS on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAYLOAD = "x" * 200
PROTOCOLS = ("3.1.1", "5")
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port):
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.01)


def end(process):
    if process and process.poll() is None:
        process.terminate()
        process.wait(30)


def feed(pipe, count, pause=0.0, is_timed=False):
    """Writes so many lines, one each so many seconds or as fast as they are taken. A timed one begins with the time."""
    line = (PAYLOAD + "\n").encode()
    start = time.monotonic()
    for n in range(count):
        pipe.write(b"%.6f " % time.time() + line if is_timed else line)
        if pause:
            pipe.flush()
            time.sleep(max(0, start + (n + 1) * pause - time.monotonic()))
    pipe.flush()


class Process:
    """What the kernel tells about a process."""

    def __init__(self, pid):
        self.pid = pid

    def value(self, file, key):
        with open(f"/proc/{self.pid}/{file}") as lines:
            return int(next(line.split()[1] for line in lines if line.startswith(key)))

    def status(self, key):
        return self.value("status", key)

    def threads(self):
        return [f"/proc/{self.pid}/task/{thread}" for thread in os.listdir(f"/proc/{self.pid}/task")]

    def cpu(self):
        """Seconds of CPU so far, to the nanosecond where the kernel counts that."""
        try:
            return sum(int(open(f"{thread}/schedstat").read().split()[0]) for thread in self.threads()) / 1e9
        except OSError:
            with open(f"/proc/{self.pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
                return (int(fields[11]) + int(fields[12])) / TICKS

    def settle(self):
        """Waits until what DNS was asked on has gone: the runtime and the store are left."""
        while len(self.threads()) > 2:
            time.sleep(0.1)

    def wakeups(self):
        lines = [line for thread in self.threads() for line in open(f"{thread}/status")]
        return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

    def written(self):
        """Bytes that it has had written to the disk."""
        return self.value("io", "write_bytes")


class Broker:
    """mosquitto in the place of IoT Core, and the credentials for it."""

    def __init__(self, directory):
        self.directory, self.port, self.process = directory, free_port(), None
        subprocess.run([f"{ROOT}/certs/make-dev-certs", directory, "thing-bench"], check=True, stdout=subprocess.DEVNULL)
        self.write("mosquitto.conf", f"""
user root
listener {self.port} 127.0.0.1
cafile {self.path('AmazonRootCA1.pem')}
certfile {self.path('server.crt')}
keyfile {self.path('server.key')}
require_certificate true
use_identity_as_username true
max_inflight_messages 0
max_queued_messages 0
log_type error
""")

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def mosquitto(self, config):
        broker = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        return subprocess.Popen([broker, "-c", self.path(config)], stderr=subprocess.DEVNULL)

    def start(self):
        self.process = self.mosquitto("mosquitto.conf")
        wait_for_port(self.port)

    def stop(self):
        end(self.process)

    def client(self, program, *arguments, **pipes):
        """A command of mosquitto's at this broker."""
        tls = ["--cafile", self.path("AmazonRootCA1.pem"), "--cert", self.path("certificate.pem.crt"),
               "--key", self.path("private.pem.key")]
        return subprocess.Popen([program, "-h", "localhost", "-p", str(self.port), *tls, *arguments], **pipes)

    def publisher(self):
        return self.client("mosquitto_pub", "-i", "test-bench", "-q", "1", "-t", "down", "-l", stdin=subprocess.PIPE)


class Peer:
    """Holds a connection to the broker. `up` and `down` have it carry so many messages, one each `pause` seconds or as fast as
    it goes, and return its CPU seconds a message and the messages a second."""

    daemon = process = None
    # Whether `start` returns the seconds from start to CONNACK.
    tells = True

    def __init__(self, broker, protocol):
        self.broker, self.protocol = broker, protocol
        self.name = f"{type(self).__name__.lower()}{protocol}"
        # A thing's name has no dots.
        self.thing = self.name.replace(".", "-")
        self.path = lambda name: broker.path(f"{self.name}.{name}")

    def measured(self, count, work):
        cpu, start = self.process.cpu(), time.monotonic()
        work()
        return (self.process.cpu() - cpu) / count, count / (time.monotonic() - start)

    def stop(self):
        end(self.daemon)


class Gatewire(Peer):
    binary = "gatewire"
    # What else is in its configuration.
    more = ""

    def start(self):
        with open(self.path("toml"), "w") as file:
            file.write(f"""
[connection]
endpoint = "localhost"
port = {self.broker.port}
client_id = "{self.name}"
protocol = "{self.protocol}"
thing = "{self.thing}"
rate_limit = {{ messages_per_second = 4000000000, bytes_per_second = "60 GiB", burst = 1000000, connects_per_second = 100 }}
[tls]
ca_file = "{self.broker.path('AmazonRootCA1.pem')}"
cert_file = "{self.broker.path('certificate.pem.crt')}"
key_file = "{self.broker.path('private.pem.key')}"
[[forward]]
name = "down"
filters = ["down"]
socket = "{self.path('down.sock')}"
[[ingest]]
name = "up"
socket = "{self.path('up.sock')}"
topics = ["up"]
[status]
socket = "{self.path('status.sock')}"
[outbox]
path = "{self.path('db')}"
max_size = "1 GiB"
{self.more}
""")
        return self.run()

    def run(self):
        """Starts the daemon: the seconds until it is connected."""
        start = time.monotonic()
        self.daemon = subprocess.Popen([self.binary, "--config", self.path("toml"), "run"], stderr=subprocess.PIPE, text=True)
        for line in self.daemon.stderr:
            if "connected to" in line:
                break
        else:
            sys.exit(f"{self.binary} has ended with exit code {self.daemon.wait()}")
        took = time.monotonic() - start
        threading.Thread(target=self.daemon.stderr.read, daemon=True).start()
        self.process = Process(self.daemon.pid)
        return took

    def unix(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.path(name))
        return s

    def status(self):
        with self.unix("status.sock") as s:
            s.sendall(b"{}\n")  # a silent client is waited for
            return json.loads(s.makefile().read())

    def wait_for(self, condition):
        """Waits until the status is as wanted."""
        while not condition(self.status()["outbox"]):
            time.sleep(0.01)

    def up(self, count, pause=0.0):
        """From a local client to PUBACK and its answer."""
        s = self.unix("up.sock")
        answers = s.makefile("rb")
        line = ('{"topic":"up","payload":"%s"}\n' % PAYLOAD).encode()

        def paced():
            start = time.monotonic()
            for n in range(count):
                s.sendall(line)
                answers.readline()
                time.sleep(max(0, start + (n + 1) * pause - time.monotonic()))

        def flat_out():
            writer = threading.Thread(target=lambda: [s.sendall(line * 100) for _ in range(count // 100)])
            writer.start()
            for _ in range(count):
                answers.readline()
            writer.join()

        return self.measured(count, paced if pause else flat_out)

    def reader(self):
        s = self.unix("down.sock")
        time.sleep(0.3)  # past the time in which it might have become an observer
        return s.makefile("rb")

    def down(self, count, pause=0.0):
        """From the broker to a local reader."""
        lines, publisher = self.reader(), self.broker.publisher()
        feed(publisher.stdin, 1)
        lines.readline()

        def carry():
            writer = threading.Thread(target=feed, args=(publisher.stdin, count, pause))
            writer.start()
            for _ in range(count):
                lines.readline()
            writer.join()

        result = self.measured(count, carry)
        publisher.stdin.close()
        publisher.wait()
        return result


class Services(Gatewire):
    """With jobs and commands, of which there are none."""

    asked = None
    more = """
[jobs]
[commands]
[[action]]
name = "nothing"
run = ["/bin/true"]
"""

    def start(self):
        self.asked = self.broker.client("mosquitto_sub", "-q", "1", "-t", self.topic(), stdout=subprocess.PIPE)
        threading.Thread(target=self.answer, args=(self.asked.stdout,), daemon=True).start()
        time.sleep(0.5)  # until it is subscribed
        took = super().start()
        while any(service["outstanding"] or service["state"] != "ready" for service in self.services()):
            time.sleep(0.01)
        return took

    def stop(self):
        super().stop()
        end(self.asked)

    def topic(self):
        return f"$aws/things/{self.thing}/jobs/start-next"

    def answer(self, requests):
        """As AWS IoT Jobs does where there is no job."""
        for request in requests:
            answer = json.dumps({"clientToken": json.loads(request)["clientToken"], "timestamp": int(time.time())})
            self.broker.client("mosquitto_pub", "-q", "1", "-t", f"{self.topic()}/accepted", "-m", answer).wait()

    def services(self):
        with self.unix("status.sock") as s:
            s.sendall(b"{}\n")
            return json.loads(s.makefile().read())["services"].values()


class Glance(Gatewire):
    """With a listener for Prometheus, and bytes counted."""

    def __init__(self, broker, protocol):
        super().__init__(broker, protocol)
        self.more = f'[metrics]\nlisten = "unix:{self.path("metrics.sock")}"\n[meter]\n'


class Floor(Peer):
    binary = "floor"

    def start(self):
        start = time.monotonic()
        self.daemon = subprocess.Popen([self.binary, self.protocol, str(self.broker.port), self.broker.directory, self.name],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.daemon.stdout.readline() == "connected\n"
        took = time.monotonic() - start
        self.process = Process(self.daemon.pid)
        return took

    def say(self, line):
        self.daemon.stdin.write(line + "\n")
        self.daemon.stdin.flush()
        assert self.daemon.stdout.readline() == "ready\n"

    def done(self):
        assert self.daemon.stdout.readline() == "done\n"

    def up(self, count, pause=0.0):
        """From the program itself to PUBACK."""
        def carry():
            self.say(f"up {count} {round(pause * 1e6)}")
            self.done()
        return self.measured(count, carry)

    def down(self, count, pause=0.0):
        """From the broker to the program itself."""
        publisher = self.broker.publisher()
        self.say("down 1")
        feed(publisher.stdin, 1)
        self.done()

        def carry():
            self.say(f"down {count}")
            feed(publisher.stdin, count, pause)
            self.done()
        result = self.measured(count, carry)
        publisher.stdin.close()
        publisher.wait()
        return result


class Bridge(Peer):
    """A mosquitto for local clients with a connection to the broker."""

    tells = False
    # Saves its database on each change, the nearest it comes to `stored`.
    durable = False

    def start(self):
        self.port = free_port()
        version = "mqttv50" if self.protocol == "5" else "mqttv311"
        persistence = f"""
persistence true
persistence_location {self.broker.directory}/
persistence_file {self.name}.db
autosave_on_changes true
autosave_interval 1
"""
        self.broker.write(f"{self.name}.conf", f"""
user root
listener {self.port} 127.0.0.1
allow_anonymous true
max_inflight_messages 0
max_queued_messages 0
log_type error
{persistence if self.durable else ''}
connection {self.name}
address localhost:{self.broker.port}
remote_clientid {self.name}
bridge_protocol_version {version}
bridge_cafile {self.broker.path('AmazonRootCA1.pem')}
bridge_certfile {self.broker.path('certificate.pem.crt')}
bridge_keyfile {self.broker.path('private.pem.key')}
cleansession false
topic up out 1
topic down in 1
""")
        self.daemon = self.broker.mosquitto(f"{self.name}.conf")
        wait_for_port(self.port)
        self.process = Process(self.daemon.pid)
        time.sleep(1)  # until it is connected: it doesn't say so

    def carry(self, count, pause, publisher, subscriber):
        time.sleep(0.5)  # until it is subscribed

        def carry():
            feed(publisher.stdin, count, pause)
            subscriber.wait()
        result = self.measured(count, carry)
        publisher.stdin.close()
        publisher.wait()
        return result

    def up(self, count, pause=0.0):
        """From a local client to a subscriber of the broker."""
        subscriber = self.broker.client("mosquitto_sub", "-q", "1", "-t", "up", "-C", str(count), stdout=subprocess.DEVNULL)
        publisher = subprocess.Popen(["mosquitto_pub", "-p", str(self.port), "-q", "1", "-t", "up", "-l"], stdin=subprocess.PIPE)
        return self.carry(count, pause, publisher, subscriber)

    def down(self, count, pause=0.0):
        """From the broker to a local subscriber."""
        subscriber = subprocess.Popen(["mosquitto_sub", "-p", str(self.port), "-q", "1", "-t", "down", "-C", str(count)],
                                      stdout=subprocess.DEVNULL)
        return self.carry(count, pause, self.broker.publisher(), subscriber)

    def store(self, count):
        """With the broker away: messages stored a second, bytes written a message."""
        written, start = self.process.written(), time.monotonic()
        subprocess.run(["mosquitto_pub", "-p", str(self.port), "-q", "1", "-t", "up", "-l"], check=True,
                       input=(PAYLOAD + "\n") * count, text=True)
        return count / (time.monotonic() - start), (self.process.written() - written) / count
