#!/bin/bash
# Switches a lamp as messages from AWS IoT Core say, `on` or `off`, and publishes what it has become.
#
#   LAMP=/sys/class/leds/ACT/brightness lamp.sh
#
# It wants socat, jq and gatewire. SOCKETS names another directory than /run/gatewire.
set -u -o pipefail
export LAMP=${LAMP:?the file that 1 or 0 is written to} SOCKETS=${SOCKETS:-/run/gatewire}

if [ "${1-}" != messages ]; then
    # socat runs this script once more for each connection, with the socket as its standard input and output. It waits
    # until there is a socket; when gatewire is restarted, the connection ends, and here comes the next.
    while true; do
        socat "UNIX-CONNECT:$SOCKETS/lamp.sock,forever,interval=1" "EXEC:$0 messages"
        sleep 1
    done
fi

while IFS= read -r message; do
    id=$(jq .id <<< "$message") topic=$(jq -r .topic <<< "$message") state=$(jq -r '.payload // ""' <<< "$message")
    # Such as: it serves no more clients.
    [ "$id" != null ] || { echo "lamp: $message" >&2; exit 1; }
    case $state in
        on) value=1 ;;
        off) value=0 ;;
        *) value='' ;;
    esac
    if [ -z "$value" ]; then
        echo "lamp: neither on nor off: $message" >&2
    else
        echo "$value" > "$LAMP" || exit
        # Comes back when IoT Core or the disk has it.
        gatewire publish --socket "$SOCKETS/publish.sock" "${topic%/set}" "$state" > /dev/null
        # 1: refused, and so it would be again. Else gatewire isn't there: without our acknowledgement the message comes again.
        [ $? -le 1 ] || exit
    fi
    printf '{"ack":%s}\n' "$id"
done
