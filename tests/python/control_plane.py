"""AWS's control plane, by moto: prints its port. Each line of standard input is what it can't know, and is answered by a line: an
execution of a job as the thing has told it, {"job":ID,"thing":NAME,"status":"..","details":{}}, or a thing that fleet provisioning has
registered, {"thing":NAME,"certificate":PEM}."""

import json
import os
import sys

os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

# pylint: disable=wrong-import-position
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.iam.models import iam_backends
from moto.iot.exceptions import InvalidRequestException, ResourceNotFoundException
from moto.iot.models import iot_backends
from moto.iot.responses import IoTResponse
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"
templates = {}


def create_provisioning_template(response):
    """Moto has none: the role must be there, and the template have what each must have."""
    name, body = response._get_param("templateName"), json.loads(response._get_param("templateBody"))
    roles = iam_backends[DEFAULT_ACCOUNT_ID]["aws"].roles.values()
    arn = response._get_param("provisioningRoleArn")
    role = next((role for role in roles if role.arn == arn), None)
    if role is None or "iot.amazonaws.com" not in json.dumps(role.assume_role_policy_document):
        raise InvalidRequestException(f"AWS IoT can't assume {arn}")
    if not any("AWSIoTThingsRegistration" in policy for policy in role.managed_policies):
        raise InvalidRequestException(f"{arn} may not register things")
    for resource in body["Resources"].values():
        if resource["Type"] == "AWS::IoT::Policy":
            response.iot_backend.get_policy(resource["Properties"]["PolicyName"])
    templates[name] = {
        "templateName": name,
        "templateArn": f"arn:aws:iot:{REGION}:{DEFAULT_ACCOUNT_ID}:provisioningtemplate/{name}",
        "templateBody": json.dumps(body),
        "enabled": response._get_param("enabled"),
        "defaultVersionId": 1,
    }
    return ActionResult(templates[name])


def describe_provisioning_template(response):
    name = response.path.rsplit("/", 1)[1]
    if name not in templates:
        raise ResourceNotFoundException(f"no template {name}")
    return ActionResult(templates[name])


IoTResponse.create_provisioning_template = create_provisioning_template
IoTResponse.describe_provisioning_template = describe_provisioning_template
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
