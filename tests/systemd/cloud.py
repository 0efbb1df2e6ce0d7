"""AWS IoT Jobs for the thing of the container, as a client of its broker: tests/support/cloud has the whole of it.

What it knows is in a file after each change, so that it is there at the next boot.
"""

import json
import subprocess
import threading
import time
import unicodedata

from machine import THING, WORK, eventually

PREFIX = f"$aws/things/{THING}/jobs/"
IS_OVER = ("SUCCEEDED", "FAILED", "REJECTED")
# What an update may hold.
FIELDS = {"status", "statusDetails", "expectedVersion", "executionNumber", "includeJobExecutionState", "includeJobDocument",
          "stepTimeoutInMinutes", "clientToken"}


class Cloud:
    FILE = WORK / "jobs.json"

    def __init__(self, broker):
        self.broker = broker
        # The executions in the order in which they were created: each is the first of its job, and the thing's only one.
        self.executions = json.loads(self.FILE.read_text()) if self.FILE.exists() else []
        self.first = None
        # What AWS would have refused of what it was told; no test wants any.
        self.violations = []
        self.lock = threading.Lock()
        self.requests = None

    def start(self):
        """Answers what is asked, until the broker is stopped."""
        self.requests = self.broker.subscriber(PREFIX + "#", "%t %p")
        threading.Thread(target=self.answer_all, daemon=True).start()

    def create(self, job, document, **options):
        with self.lock:
            self.executions.append({"job": job, "document": document, "status": "QUEUED", "details": {}, "version": 1,
                                    "queued_at": int(time.time()), **options})
            self.changed()

    def execution(self, job):
        return next(execution for execution in self.executions if execution["job"] == job)

    def over(self, job, status, seconds=60):
        """The status details of a job, once that has ended, which it must so."""
        execution = self.execution(job)
        eventually(f"{job} is over", lambda: execution["status"] in IS_OVER or self.violations, seconds)
        assert not self.violations, self.violations
        assert execution["status"] == status, execution
        return execution["details"]

    def answer_all(self):
        for line in self.requests.stdout:
            topic, _, payload = line.rstrip("\n").partition(" ")
            what = topic.removeprefix(PREFIX).split("/")
            # The others are answers, and what it says unasked.
            if what[-1] in ("start-next", "get", "update"):
                with self.lock:
                    self.answer(topic, what, json.loads(payload or "{}"))

    def answer(self, topic, what, request):
        if what == ["start-next"]:
            end, answer = "accepted", self.start_next(request)
        elif what[-1] == "update":
            end, answer = self.update(what[0], request)
        elif what == ["$next", "get"]:
            end, answer = "accepted", self.next()
        elif what[-1] == "get" and len(what) == 2:
            end, answer = self.get(what[0])
        else:
            end, answer = "rejected", {"code": "InvalidTopic", "message": f"the test has no {'/'.join(what)}"}
        # A result doesn't wait for the answer to what was told before it, and is told again with the version that is told here.
        if end == "rejected" and answer["code"] != "VersionMismatch":
            self.violations.append((topic, request, answer))
        answer = {"timestamp": int(time.time()), **answer}
        if "clientToken" in request:
            answer["clientToken"] = request["clientToken"]
        self.say(f"{topic}/{end}", answer)
        self.changed()

    def pending(self):
        of = lambda status: [execution for execution in self.executions if execution["status"] == status]
        return of("IN_PROGRESS") + of("QUEUED")

    def next(self):
        return {"execution": self.shown(execution) for execution in self.pending()[:1]}

    def start_next(self, request):
        for execution in self.pending()[:1]:
            if execution["status"] == "QUEUED":
                self.change(execution, "IN_PROGRESS", request)
        return self.next()

    def get(self, job):
        execution = self.execution(job)
        if execution["status"] in IS_OVER:
            return "rejected", {"code": "TerminalStateReached", "message": "it is over"}
        return "accepted", {"execution": self.shown(execution)}

    def update(self, job, request):
        execution = self.execution(job)
        state = {"status": execution["status"], "statusDetails": execution["details"], "versionNumber": execution["version"]}
        refuse = lambda code: ("rejected", {"code": code, "message": "it is refused", "executionState": state})
        if not FIELDS.issuperset(request) or not all(map(is_fit, request.get("statusDetails", {}).values())):
            return refuse("InvalidRequest")
        if execution["status"] in IS_OVER:
            return refuse("InvalidStateTransition")
        if request.get("expectedVersion", execution["version"]) != execution["version"]:
            return refuse("VersionMismatch")
        self.change(execution, request["status"], request)
        state = {"status": execution["status"], "statusDetails": execution["details"], "versionNumber": execution["version"]}
        return "accepted", {"executionState": state} if request.get("includeJobExecutionState") else {}

    def change(self, execution, status, request):
        execution.update(status=status, version=execution["version"] + 1, details=request.get("statusDetails", execution["details"]))

    def shown(self, execution):
        return {"jobId": execution["job"], "thingName": THING, "jobDocument": execution["document"], "status": execution["status"],
                "statusDetails": execution["details"], "queuedAt": execution["queued_at"], "lastUpdatedAt": execution["queued_at"],
                "versionNumber": execution["version"], "executionNumber": 1}

    def changed(self):
        """Says which job is the first now, if that is another, and writes down what there is."""
        part = self.FILE.with_suffix(".part")
        part.write_text(json.dumps(self.executions))
        part.rename(self.FILE)
        first = next((execution["job"] for execution in self.pending()), None)
        if first != self.first:
            self.first = first
            self.say(PREFIX + "notify-next", {"timestamp": int(time.time()), "execution": {}, **self.next()})

    def say(self, topic, payload):
        try:
            self.broker.publish(topic, json.dumps(payload))
        except AssertionError as error:
            # The machine goes down.
            print(f"the cloud isn't heard: {error}", flush=True)


def is_fit(text):
    """A value of status details, as AWS takes it."""
    return isinstance(text, str) and 1 <= len(text) <= 1024 and not any(unicodedata.category(c).startswith("C") for c in text)
