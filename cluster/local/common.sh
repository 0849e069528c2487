# shellcheck shell=bash
# Shared by start.sh and stop.sh: where the handles and logs of what was started here are kept.

# Short, because Ray's sockets are below it and their paths may have 107 characters at most.
state=${PNEUMO_BATCH_RAY_DIR:-/tmp/pneumo-batch-$(id -u)}

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Whether start.sh started this process: its number alone may belong to another process by now.
is_ours() {
    ps -ww -o args= -p "$1" 2>/dev/null | grep -qF -- "--temp-dir=$state/ray"
}
