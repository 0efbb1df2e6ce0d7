"""What the tests need of AWS's control plane and moto doesn't have: provisioning templates; stacks with them, with thing groups and
with topic rules, and what of a stack is left out or can't be deleted; jobs for groups and by a template; the endpoint of this server.
Importing it adds them to moto."""

import json

from moto.cloudformation.models import CloudFormationBackend
from moto.core.common_models import CloudFormationModel
from moto.core.responses import ActionResult
from moto.iam.models import Role, iam_backends
from moto.iot.exceptions import InvalidRequestException, ResourceNotFoundException
from moto.iot.models import FakeJobExecution, FakeJobTemplate, FakePolicy, FakeThingType, iot_backends
from moto.iot.responses import IoTResponse

# Where moto looks for which service a model is of.
OF_IOT = "moto.iot.models"
templates = {}


def add_template(backend, name, body, role_arn, enabled=True, hook=None):
    """Refuses what AWS does: a role that it can't assume or that may not register, a policy, type or group that isn't there."""
    if name in templates:
        raise InvalidRequestException(f"there is a template {name} already")
    roles = iam_backends[backend.account_id]["aws"].roles.values()
    role = next((role for role in roles if role.arn == role_arn), None)
    if role is None or "iot.amazonaws.com" not in json.dumps(role.assume_role_policy_document):
        raise InvalidRequestException(f"AWS IoT can't assume {role_arn}")
    if not any("AWSIoTThingsRegistration" in policy for policy in role.managed_policies):
        raise InvalidRequestException(f"{role_arn} may not register things")
    for resource in body["Resources"].values():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::IoT::Policy":
            backend.get_policy(properties["PolicyName"])
        if "ThingTypeName" in properties:
            backend.describe_thing_type(properties["ThingTypeName"])
        for group in properties.get("ThingGroups", []):
            backend.describe_thing_group(group)
    templates[name] = {
        "templateName": name,
        "templateArn": f"arn:aws:iot:{backend.region_name}:{backend.account_id}:provisioningtemplate/{name}",
        "templateBody": json.dumps(body),
        "enabled": enabled,
        "defaultVersionId": 1,
        "provisioningRoleArn": role_arn,
        "preProvisioningHook": hook,
    }
    return templates[name]


def create_provisioning_template(response):
    get = response._get_param
    body = json.loads(get("templateBody"))
    return ActionResult(
        add_template(response.iot_backend, get("templateName"), body, get("provisioningRoleArn"), get("enabled"))
    )


def describe_provisioning_template(response):
    name = response.path.rsplit("/", 1)[1]
    if name not in templates:
        raise ResourceNotFoundException(f"no template {name}")
    return ActionResult(templates[name])


def list_provisioning_templates(_response):
    return ActionResult({"templates": list(templates.values())})


IoTResponse.create_provisioning_template = create_provisioning_template
IoTResponse.describe_provisioning_template = describe_provisioning_template
IoTResponse.list_provisioning_templates = list_provisioning_templates


def register(backend, thing, pem, parameters):
    """What the only template makes of a thing that has asked: as AWS does, but that the thing is named already."""
    (template,) = templates.values()
    resources = [resource["Properties"] for resource in json.loads(template["templateBody"])["Resources"].values()]
    (of_thing,) = (properties for properties in resources if "ThingName" in properties)
    attributes = {key: parameters[value["Ref"]] for key, value in of_thing["AttributePayload"].items()}
    backend.create_thing(thing, of_thing.get("ThingTypeName"), {"attributes": attributes})
    certificate = backend.register_certificate_without_ca(pem, "ACTIVE")
    backend.attach_thing_principal(thing, certificate.arn)
    for properties in resources:
        if "PolicyName" in properties:
            backend.attach_policy(properties["PolicyName"], certificate.arn)
    for group in of_thing.get("ThingGroups", []):
        backend.add_thing_to_thing_group(group, None, thing, None)


def account(number, region):
    """A new account with a thing, its certificate and policies; a job for it; a group; templates. Their names."""
    templates.clear()
    iot_backends[number].reset()
    backend, thing, policy = iot_backends[number][region], "thing-gateway-01", json.dumps({"Version": "2012-10-17"})
    for name in (thing, "my-gateway-policy"):
        backend.create_policy(name, policy)
    of_thing = backend.create_thing(thing, None, None)
    certificate, _ = backend.create_keys_and_certificate(True)
    backend.attach_thing_principal(thing, certificate.arn)
    backend.attach_policy(thing, certificate.arn)
    rest = ["presigned_url", "job_executions_rollout", "abort", "job_execution_retry", "scheduling", "timeout"]
    backend.create_job(
        job_id="job-1",
        targets=[of_thing.arn],
        document_source=None,
        document="{}",
        description=None,
        target_selection="SNAPSHOT",
        document_parameters={},
        **{f"{name}_config": {} for name in rest},
    )
    templates["gateways"] = {"templateName": "gateways", "templateBody": "{}", "enabled": True}
    return {"thing": thing, "arn": of_thing.arn, "certificate": certificate.certificate_id, "job": "job-1"}


create_job_by_document = IoTResponse.create_job


def create_job(response):
    """By a template of the account, with its document; for the things of a group. The targets must be there."""
    backend, get = response.iot_backend, response._get_param
    arn, targets, things = get("jobTemplateArn"), get("targets"), []
    for target in targets:
        kind, name = target.split(":")[5].split("/", 1)
        things += [backend.describe_thing(name).arn] if kind == "thing" else backend.describe_thing_group(name).things
    if arn:
        template = next((known for known in backend.jobs_templates.values() if known.job_template_arn == arn), None)
        if template is None:
            raise ResourceNotFoundException(f"no job template {arn}")
        response._get_param = lambda name, *rest: template.document if name == "document" else get(name, *rest)
    answer = create_job_by_document(response)
    job = get("jobId")
    for target in targets:
        del backend.job_executions[(job, target.split("/")[-1])]
    for thing in things:
        backend.job_executions[(job, thing.split("/")[-1])] = FakeJobExecution(job, thing)
    return answer


IoTResponse.create_job = create_job

# Of this server: it is told once it listens.
endpoint = None
IoTResponse.describe_endpoint = lambda _response: ActionResult({"endpointAddress": endpoint})

execute_change_set = CloudFormationBackend.execute_change_set


def execute_change_set_with_outputs(backend, change_set_name, stack_name=None):
    """A stack that `aws cloudformation deploy` makes has outputs."""
    execute_change_set(backend, change_set_name, stack_name)
    for stack in backend.stacks.values():
        stack._parse_template()
        stack.output_map = stack._create_output_map()


CloudFormationBackend.execute_change_set = execute_change_set_with_outputs

create_role = Role.create_from_cloudformation_json.__func__


def create_role_of_stack(cls, resource_name, cloudformation_json, account_id, region_name, **rest):
    """With its managed policies, which moto leaves out."""
    role = create_role(cls, resource_name, cloudformation_json, account_id, region_name, **rest)
    for arn in cloudformation_json["Properties"].get("ManagedPolicyArns", []):
        iam_backends[account_id]["aws"].attach_role_policy(arn, role.name)
    return role


def delete_role(role, account_id, _region_name):
    backend = iam_backends[account_id]["aws"]
    for arn in list(role.managed_policies):
        backend.detach_role_policy(arn, role.name)
    for name in list(role.policies):
        backend.delete_role_policy(role.name, name)
    backend.delete_role(role.name)


Role.create_from_cloudformation_json = classmethod(create_role_of_stack)
Role.delete = delete_role

create_policy = FakePolicy.create_from_cloudformation_json.__func__


def create_policy_of_stack(cls, resource_name, cloudformation_json, account_id, region_name, **rest):
    """With its document as text, as AWS answers it."""
    properties = cloudformation_json["Properties"]
    properties = {**properties, "PolicyDocument": json.dumps(properties["PolicyDocument"])}
    return create_policy(cls, resource_name, {"Properties": properties}, account_id, region_name, **rest)


FakePolicy.create_from_cloudformation_json = classmethod(create_policy_of_stack)
# What `Ref` is.
FakeJobTemplate.physical_resource_id = property(lambda self: self.job_template_id)
FakePolicy.physical_resource_id = property(lambda self: self.name)
FakeThingType.physical_resource_id = property(lambda self: self.thing_type_name)


def deletes(what):
    """How a resource is deleted with its stack: moto looks for a name in the template, where it may be a function."""
    return lambda self, account_id, region_name: what(iot_backends[account_id][region_name], self.physical_resource_id)


FakeJobTemplate.delete = deletes(lambda backend, name: backend.delete_job_template(name))
FakePolicy.delete = deletes(lambda backend, name: backend.delete_policy(name))
FakeThingType.delete = deletes(lambda backend, name: backend.delete_thing_type(name))


class OfStack:
    """A resource of a stack, by its name."""

    def __init__(self, name, attributes):
        self.name, self.attributes = name, attributes

    @property
    def physical_resource_id(self):
        return self.name

    def get_cfn_attribute(self, attribute):
        return self.attributes[attribute]

    def is_created(self):
        return True


class ThingGroup(OfStack, CloudFormationModel):
    __module__ = OF_IOT
    delete = deletes(lambda backend, name: backend.delete_thing_group(name))
    cloudformation_name_type = staticmethod(lambda: "ThingGroupName")
    cloudformation_type = staticmethod(lambda: "AWS::IoT::ThingGroup")
    has_cfn_attr = classmethod(lambda cls, attribute: attribute in ("Arn", "Id"))

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **_rest):
        name = cloudformation_json["Properties"]["ThingGroupName"]
        _, arn, number = iot_backends[account_id][region_name].create_thing_group(name, None, {})
        return cls(name, {"Arn": arn, "Id": number})


class TopicRule(OfStack, CloudFormationModel):
    __module__ = OF_IOT
    delete = deletes(lambda backend, name: backend.delete_topic_rule(name))
    cloudformation_name_type = staticmethod(lambda: "RuleName")
    cloudformation_type = staticmethod(lambda: "AWS::IoT::TopicRule")
    has_cfn_attr = classmethod(lambda cls, attribute: attribute == "Arn")

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **_rest):
        backend, properties = iot_backends[account_id][region_name], cloudformation_json["Properties"]
        name, payload = properties["RuleName"], properties["TopicRulePayload"]
        backend.create_topic_rule(
            rule_name=name,
            sql=payload["Sql"],
            description=payload["Description"],
            actions=payload["Actions"],
            error_action=payload["ErrorAction"],
            rule_disabled=False,
            aws_iot_sql_version=payload["AwsIotSqlVersion"],
        )
        return cls(name, {"Arn": backend.rules[name].arn})


class ProvisioningTemplate(OfStack, CloudFormationModel):
    __module__ = OF_IOT
    delete = deletes(lambda _backend, name: templates.pop(name))
    cloudformation_name_type = staticmethod(lambda: "TemplateName")
    cloudformation_type = staticmethod(lambda: "AWS::IoT::ProvisioningTemplate")
    has_cfn_attr = classmethod(lambda cls, attribute: attribute == "TemplateArn")

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **_rest):
        properties = cloudformation_json["Properties"]
        name, hook = properties["TemplateName"], properties.get("PreProvisioningHook")
        hook = hook and {"payloadVersion": hook["PayloadVersion"], "targetArn": hook["TargetArn"]}
        backend, body = iot_backends[account_id][region_name], json.loads(properties["TemplateBody"])
        made = add_template(backend, name, body, properties["ProvisioningRoleArn"], properties["Enabled"], hook)
        return cls(name, {"TemplateArn": made["templateArn"]})
