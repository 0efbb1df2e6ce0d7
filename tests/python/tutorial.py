"""What the tutorial's programs on the AWS SDK for Python begin with: PORT CERTIFICATES CLIENT_ID TOPIC COUNT."""

import sys

from awsiot import mqtt_connection_builder


def connect():
    """A connection, the topic, and the count."""
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
    return connection, topic, int(count)
