"""The tutorial's publisher on the AWS SDK for Python: connects with certificate, key and CA, publishes, disconnects."""

import json

from awscrt import mqtt
from tutorial import connect

connection, topic, count = connect()
for n in range(1, count + 1):
    future, _ = connection.publish(topic=topic, payload=json.dumps(f"Hello World! [{n}]"), qos=mqtt.QoS.AT_LEAST_ONCE)
    future.result(20)
connection.disconnect().result(20)
