"""The tutorial's publisher on the AWS SDK for Python: connects with certificate, key and CA, publishes, disconnects."""

import json
import sys

from awscrt import mqtt
from awsiot import mqtt_connection_builder

port, certificates, client_id, topic, count = sys.argv[1:]
connection = mqtt_connection_builder.mtls_from_path(
    endpoint="localhost",
    port=int(port),
    cert_filepath=f"{certificates}/certificate.pem.crt",
    pri_key_filepath=f"{certificates}/private.pem.key",
    ca_filepath=f"{certificates}/AmazonRootCA1.pem",
    client_id=client_id,
    clean_session=True,
    keep_alive_secs=30,
)
connection.connect().result(20)
for n in range(1, int(count) + 1):
    future, _ = connection.publish(topic=topic, payload=json.dumps(f"Hello World! [{n}]"), qos=mqtt.QoS.AT_LEAST_ONCE)
    future.result(20)
connection.disconnect().result(20)
