"""The tutorial's subscriber on the AWS SDK for Python: says `ready`, prints what arrives, ends after so many messages."""

import threading

from awscrt import mqtt
from tutorial import connect

connection, topic, left = connect()
done = threading.Event()


def on_message(topic, payload, **_):
    global left
    print(topic, payload.decode(), flush=True)
    left -= 1
    if left == 0:
        done.set()


connection.subscribe(topic=topic, qos=mqtt.QoS.AT_LEAST_ONCE, callback=on_message)[0].result(20)
print("ready", flush=True)
done.wait(60)
connection.disconnect().result(20)
