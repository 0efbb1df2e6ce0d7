#!/bin/bash
# Hands each message of a forward to a webhook of Home Assistant, as the JSON object that the socket gives, and acknowledges it
# once Home Assistant has it: what comes while Home Assistant is away waits.
#
#   WEBHOOK=http://localhost:8123/api/webhook/ID home-assistant.sh
#
# It wants socat, jq and curl. SOCKETS names another directory than /run/gatewire.
set -u -o pipefail
export WEBHOOK=${WEBHOOK:?the address of the webhook} SOCKETS=${SOCKETS:-/run/gatewire}
# With a token the script asks whether Home Assistant has started: before that, Home Assistant accepts webhooks but ignores them.
token=${CREDENTIALS_DIRECTORY:-}/home-assistant.curl

if [ "${1-}" != messages ]; then
    # socat runs this script once more for each connection, with the socket as its standard input and output.
    while true; do
        socat "UNIX-CONNECT:$SOCKETS/home-assistant.sock,forever,interval=1" "EXEC:$0 messages"
        sleep 1
    done
fi

runs() {
    [ ! -r "$token" ] || curl --silent --fail --max-time 30 --config "$token" "${WEBHOOK%/api/webhook/*}/api/config" |
        jq --exit-status '.state == "RUNNING"' > /dev/null
}

# post MESSAGE: prints the status code of the answer, 000 if there was none.
post() {
    # From standard input: an argument could be too long, and a message that begins with @ would name a file.
    curl --silent --max-time 30 --output /dev/null --write-out '%{http_code}' \
        --header 'Content-Type: application/json' --data-binary @- "$WEBHOOK" <<< "$1"
}

while IFS= read -r message; do
    id=$(jq .id <<< "$message")
    # Such as: it serves no more clients.
    [ "$id" != null ] || { echo "home-assistant: $message" >&2; exit 1; }
    pause=1
    while true; do
        code=000
        ! runs || code=$(post "$message")
        case $code in
            2??) break ;;
            # This message is at fault: it would be the same the next time.
            400 | 413 | 422) echo "home-assistant: refused with $code: $message" >&2; break ;;
        esac
        # Once, not for each try.
        [ "$pause" -gt 1 ] || echo "home-assistant: $WEBHOOK isn't there ($code); the message waits" >&2
        sleep "$pause"
        pause=$((pause < 16 ? pause * 2 : 30))
    done
    printf '{"ack":%s}\n' "$id"
done
