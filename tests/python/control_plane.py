"""AWS's control plane, by moto: prints its port. Each line of standard input is what it can't know, and is answered by a line: an
execution of a job as the thing has told it, {"job":ID,"thing":NAME,"status":"..","details":{}}, or a thing that fleet provisioning has
registered, {"thing":NAME,"certificate":PEM}."""

import json
import os
import sys

os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

# pylint: disable=wrong-import-position
from moto.core import DEFAULT_ACCOUNT_ID
from moto.iot.models import iot_backends
from moto.server import ThreadedMotoServer

import beyond_moto  # pylint: disable=unused-import

REGION = "eu-west-1"

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
_, port = server.get_host_and_port()
print(port, flush=True)
for line in sys.stdin:
    told = json.loads(line)
    backend = iot_backends[DEFAULT_ACCOUNT_ID][REGION]
    if "job" in told:
        execution = backend.job_executions[(told["job"], told["thing"])]
        execution.status, execution.status_details_map = told["status"], told["details"]
    else:
        backend.create_thing(told["thing"], None, None)
        certificate = backend.register_certificate_without_ca(told["certificate"], "ACTIVE")
        backend.attach_thing_principal(told["thing"], certificate.arn)
    print("told", flush=True)
