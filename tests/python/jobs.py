"""The jobs client of the AWS SDK for Python, for a thing that has jobs: PORT CERTIFICATES CLIENT_ID THING COUNT.

Takes one job after the other, as AWS's own example does, tells of progress, tries one update with a version that is out of date, and
ends each with SUCCEEDED. A line of JSON for each step."""

import json
import sys
import threading

from awscrt import mqtt
from awsiot import iotjobs
from tutorial import connect

connection, thing, left = connect()
client = iotjobs.IotJobsClient(connection)
QOS = mqtt.QoS.AT_LEAST_ONCE
events = []
changed = threading.Condition()


def note(kind):
    def callback(event):
        with changed:
            events.append((kind, event))
            changed.notify_all()

    return callback


def take(kind):
    """The next event, which must be of this kind."""
    with changed:
        if not changed.wait_for(lambda: events, 20):
            sys.exit(f"no {kind}")
        found, event = events.pop(0)
    if found != kind:
        sys.exit(f"{found} instead of {kind}: {event}")
    return event


def say(**what):
    print(json.dumps(what), flush=True)


def subscribe(call, request, kind):
    call(request, QOS, note(kind))[0].result(20)


def start():
    request = iotjobs.StartNextPendingJobExecutionRequest(thing_name=thing, client_token="start")
    client.publish_start_next_pending_job_execution(request, QOS).result(20)
    return take("started").execution


def update(execution, status, version, details=None):
    request = iotjobs.UpdateJobExecutionRequest(
        thing_name=thing,
        job_id=execution.job_id,
        status=status,
        status_details=details,
        expected_version=version,
        execution_number=execution.execution_number,
        include_job_execution_state=True,
        client_token=f"update-{version}",
    )
    client.publish_update_job_execution(request, QOS).result(20)


start_next = iotjobs.StartNextPendingJobExecutionSubscriptionRequest(thing_name=thing)
subscribe(client.subscribe_to_start_next_pending_job_execution_accepted, start_next, "started")
subscribe(client.subscribe_to_start_next_pending_job_execution_rejected, start_next, "not started")
updates = iotjobs.UpdateJobExecutionSubscriptionRequest(thing_name=thing, job_id="+")
subscribe(client.subscribe_to_update_job_execution_accepted, updates, "accepted")
subscribe(client.subscribe_to_update_job_execution_rejected, updates, "rejected")
pending = iotjobs.GetPendingJobExecutionsSubscriptionRequest(thing_name=thing)
subscribe(client.subscribe_to_get_pending_job_executions_accepted, pending, "pending")
request = iotjobs.GetPendingJobExecutionsRequest(thing_name=thing, client_token="pending")
client.publish_get_pending_job_executions(request, QOS).result(20)
listed = take("pending")
say(queued=[job.job_id for job in listed.queued_jobs], in_progress=[job.job_id for job in listed.in_progress_jobs])

while left > 0:
    execution = start()
    if execution is None or execution.job_id is None:
        say(none=True)
        break
    version = execution.version_number
    say(job=execution.job_id, document=execution.job_document, status=execution.status, version=version)
    update(execution, iotjobs.JobStatus.IN_PROGRESS, version, {"step": "1"})
    state = take("accepted").execution_state
    say(status=state.status, details=state.status_details, version=state.version_number)
    update(execution, iotjobs.JobStatus.FAILED, version)
    refusal = take("rejected")
    say(code=refusal.code, version=refusal.execution_state.version_number)
    update(execution, iotjobs.JobStatus.SUCCEEDED, refusal.execution_state.version_number)
    state = take("accepted").execution_state
    say(status=state.status, version=state.version_number)
    left -= 1
connection.disconnect().result(20)
