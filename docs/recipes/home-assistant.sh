#!/bin/bash
# Hands each message of a forward to a webhook of Home Assistant, as the JSON object that the socket gives.
#
#   WEBHOOK=http://localhost:8123/api/webhook/ID home-assistant.sh
#
# It wants socat and curl. SOCKETS names another directory than /run/gatewire.
set -u -o pipefail
: "${WEBHOOK:?the address of the webhook}"

while true; do
    socat -u "UNIX-CONNECT:${SOCKETS:-/run/gatewire}/home-assistant.sock,forever,interval=1" - |
        while IFS= read -r message; do
            # From standard input: an argument could be too long, and a message that begins with @ would name a file.
            curl --silent --show-error --fail --retry 5 --retry-connrefused --max-time 30 --output /dev/null \
                --header 'Content-Type: application/json' --data-binary @- "$WEBHOOK" <<< "$message"
        done
    sleep 1
done
