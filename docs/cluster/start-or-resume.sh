#!/bin/bash
# Start a sweep, or resume it if an earlier attempt left one: a command that a scheduler may run
# again and again. For storage that is a folder.
#
#   start-or-resume.sh STORAGE NAME [flags of a new sweep]
set -euo pipefail
storage=$1 name=$2
shift 2

if [[ -f $storage/$name/sweep.json ]]; then
    exec python -m sweep.run --resume "$name" --storage-path "$storage" \
        --address auto --wait-for-resources
fi
exec python -m sweep.run --name "$name" --storage-path "$storage" \
    --address auto --wait-for-resources "$@"
