# shellcheck shell=bash
# What start.sh and stop.sh agree on: where the handles and logs of what was started here lie.

# Short, since Ray's sockets lie below it and their paths may have 107 characters at most.
state=${PNEUMO_BATCH_RAY_DIR:-/tmp/pneumo-batch-$(id -u)}

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Whether a process is one that start.sh started: a number alone could be somebody else's by now.
is_ours() {
    ps -ww -o args= -p "$1" 2>/dev/null | grep -qF -- "--temp-dir=$state/ray"
}
