"""AWS's control plane, by moto: prints its port. Each line of standard input is an execution of a job as the thing has told it,
{"job":ID,"thing":NAME,"status":"..","details":{}}, and is answered by a line."""

import json
import sys

from moto.core import DEFAULT_ACCOUNT_ID
from moto.iot.models import iot_backends
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
_, port = server.get_host_and_port()
print(port, flush=True)
for line in sys.stdin:
    told = json.loads(line)
    backend = iot_backends[DEFAULT_ACCOUNT_ID]["eu-west-1"]
    execution = backend.job_executions[(told["job"], told["thing"])]
    execution.status, execution.status_details_map = told["status"], told["details"]
    print("told", flush=True)
