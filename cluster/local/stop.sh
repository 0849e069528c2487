#!/usr/bin/env bash
# Stops what start.sh started on this machine, and no other Ray.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"

# `ray start --block` ends its own processes when it is told to end.
stop() {
    kill "$1"
    for _ in {1..120}; do
        is_ours "$1" || return 0
        sleep 0.5
    done
    die "process $1 does not end; see the logs in $state"
}

stopped=0
for handle in "$state"/*.handle; do
    [[ -e $handle ]] || continue
    pid=$(basename "$handle" .handle)
    if is_ours "$pid"; then
        stop "$pid"
        stopped=$((stopped + 1))
    fi
    rm -f "$handle"
done
echo "stopped $stopped"
