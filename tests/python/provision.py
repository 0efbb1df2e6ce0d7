"""The fleet provisioning client of the AWS SDK for Python: PORT CA CLAIM_CERTIFICATE CLAIM_KEY SERIAL_NUMBER VERSION.

Over MQTT 3 or 5, with a key and a request of openssl's, as a device makes them: a certificate, a thing with a token that is none, a thing,
a connection with the new certificate. Then keys that AWS makes. A line of JSON for each step."""

import json
import subprocess
import sys
import tempfile
import threading

import awscrt.mqtt_request_response
from awsiot import V2ServiceException, iotidentity, mqtt5_client_builder, mqtt_connection_builder

port, ca, claim_certificate, claim_key, serial, version = sys.argv[1:]
directory = tempfile.mkdtemp()


def say(**what):
    print(json.dumps(what), flush=True)


def write(name, text):
    path = f"{directory}/{name}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def connect(certificate, key, client_id):
    """A connection, and what ends it."""
    options = {"endpoint": "localhost", "port": int(port), "ca_filepath": ca, "client_id": client_id}
    options |= {"cert_filepath": certificate, "pri_key_filepath": key}
    if version == "3":
        connection = mqtt_connection_builder.mtls_from_path(clean_session=True, keep_alive_secs=30, **options)
        connection.connect().result(20)
        return connection, lambda: connection.disconnect().result(20)
    connected, stopped = threading.Event(), threading.Event()
    client = mqtt5_client_builder.mtls_from_path(
        on_lifecycle_connection_success=lambda _: connected.set(), on_lifecycle_stopped=lambda _: stopped.set(), **options
    )
    client.start()
    if not connected.wait(20):
        sys.exit("no connection")

    def end():
        client.stop()
        stopped.wait(20)

    return client, end


def register(token):
    request = iotidentity.RegisterThingRequest(
        template_name="gateways", certificate_ownership_token=token, parameters={"SerialNumber": serial}
    )
    return client.register_thing(request).result(20)


connection, end = connect(claim_certificate, claim_key, f"claim-{serial}")
limits = awscrt.mqtt_request_response.ClientOptions(max_request_response_subscriptions=8, max_streaming_subscriptions=2)
limits.operation_timeout_in_seconds = 20
client = iotidentity.IotIdentityClientV2(connection, limits)

subprocess.run(
    ["openssl", "req", "-new", "-newkey", "rsa:2048", "-noenc", "-subj", "/CN=device", "-keyout", f"{directory}/device.key"]
    + ["-out", f"{directory}/device.csr"],
    check=True,
    capture_output=True,
)
with open(f"{directory}/device.csr", encoding="utf-8") as file:
    request = iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=file.read())
created = client.create_certificate_from_csr(request).result(20)
say(certificate=created.certificate_id)
try:
    register("not a token")
except V2ServiceException as refusal:
    error = refusal.modeled_error
    say(status=error.status_code, code=error.error_code, message=error.error_message)
thing = register(created.certificate_ownership_token)
say(thing=thing.thing_name, configuration=thing.device_configuration)
own = write("device.crt", created.certificate_pem)
connect(own, f"{directory}/device.key", thing.thing_name)[1]()
say(connected=thing.thing_name)

kept = client.create_keys_and_certificate(iotidentity.CreateKeysAndCertificateRequest()).result(20)
register(kept.certificate_ownership_token)
certificate, key = write("kept.crt", kept.certificate_pem), write("kept.key", kept.private_key)
connect(certificate, key, thing.thing_name)[1]()
say(certificate=kept.certificate_id)
end()
