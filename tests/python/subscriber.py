"""The tutorial's subscriber on the AWS SDK for Python: says `ready`, prints what arrives, ends after so many messages."""

import sys
import threading

from awscrt import mqtt
from awsiot import mqtt_connection_builder

port, certificates, client_id, topic, count = sys.argv[1:]
left = int(count)
done = threading.Event()


def on_message(topic, payload, **_):
    global left
    print(topic, payload.decode(), flush=True)
    left -= 1
    if left == 0:
        done.set()


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
connection.subscribe(topic=topic, qos=mqtt.QoS.AT_LEAST_ONCE, callback=on_message)[0].result(20)
print("ready", flush=True)
done.wait(60)
connection.disconnect().result(20)
