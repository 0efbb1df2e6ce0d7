#!/bin/sh
# install-model.sh FILE: puts a model where its program looks for it. gatewire runs it as root for a job (install-model.toml), with
# the file that it has downloaded.
set -eu
models=/var/lib/models

# Root trusts what is signed, not what was downloaded: with a signature, check it here.
[ "$(head -c 4 "$1")" = MODL ] || { echo "this isn't a model" >&2; exit 1; }

# The old one is there until the new one is whole.
mkdir -p "$models"
install -m 644 "$1" "$models/model.bin.new"
sync "$models/model.bin.new"
mv "$models/model.bin.new" "$models/model.bin"
echo "installed for ${GATEWIRE_EXECUTION:-nobody}"
