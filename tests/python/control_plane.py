"""AWS's control plane, by moto: prints its port. Each line of standard input is what it can't know, and is answered by a line: an
execution of a job as the thing has told it, {"job":ID,"thing":NAME,"status":"..","details":{}}; a thing that fleet provisioning has
registered, {"thing":NAME,"certificate":PEM,"parameters":{}}. {"published":true} asks what was published by it, [[TOPIC,PAYLOAD],..];
{"account":true} makes another account of it, with one of each."""

import json
import os
import sys

os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

# pylint: disable=wrong-import-position
from moto.core import DEFAULT_ACCOUNT_ID
from moto.iot.models import iot_backends
from moto.iotdata.models import iotdata_backends
from moto.server import ThreadedMotoServer

import beyond_moto

REGION = "eu-west-1"

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
_, port = server.get_host_and_port()
beyond_moto.endpoint = f"localhost:{port}"
print(port, flush=True)
for line in sys.stdin:
    told = json.loads(line)
    backend = iot_backends[DEFAULT_ACCOUNT_ID][REGION]
    answer = "told"
    if "published" in told:
        published = iotdata_backends[DEFAULT_ACCOUNT_ID][REGION].published_payloads
        answer = json.dumps([[topic, payload.decode()] for topic, payload in published])
    elif "account" in told:
        answer = json.dumps(beyond_moto.account(DEFAULT_ACCOUNT_ID, REGION))
    elif "job" in told:
        execution = backend.job_executions[(told["job"], told["thing"])]
        execution.status, execution.status_details_map = told["status"], told["details"]
    else:
        beyond_moto.register(backend, told["thing"], told["certificate"], told["parameters"])
    print(answer, flush=True)
