#!/usr/bin/env bash
# Starts a Ray head on this machine, or joins this machine to a head. stop.sh stops what this started, and nothing else.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"
token=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}

usage() {
    cat <<'END'
usage: start.sh [HEAD_IP:PORT] [options of `ray start`]

  start.sh                    a head on port 6379; prints what other machines run to join
  start.sh 10.0.0.5:6379      a worker of that head
  start.sh --num-cpus=9       options go to `ray start`
END
}

main() {
    case ${1:-} in
    -h | --help) usage && exit ;;
    -* | "") role=(--head --dashboard-host=127.0.0.1) ;;
    *:*) role=(--address="$1") && shift ;;
    *) die "'$1' is no HEAD_IP:PORT; see --help" ;;
    esac
    find_ray
    make_state
    need_token
    launch "$@"
    report
}

find_ray() {
    ray=$(command -v ray || true)
    [[ $ray ]] || ray=$here/../../.venv/bin/ray
    [[ -x $ray ]] || die "no ray here: run 'make run' once, or activate the environment that pneumo-batch is in"
}

make_state() {
    [[ -d $state ]] || mkdir -m 700 "$state"
    [[ -O $state ]] || die "$state belongs to somebody else; set PNEUMO_BATCH_RAY_DIR to a short path of your own"
}

# Without a token, whoever reaches the head's ports can run code on every machine.
need_token() {
    export RAY_AUTH_MODE=token
    [[ ${RAY_AUTH_TOKEN:-} || -s $token ]] && return
    [[ ${role[0]} == --head ]] || die "no token: copy the head's $token here, readable by you alone"
    # Ray itself would make the file readable by everybody
    (umask 077 && "$ray" get-auth-token --generate >/dev/null 2>&1) || die "cannot make a token in $token"
}

# One logical CPU more than there are cores: a run keeps one per machine for reading and writing.
launch() {
    log=$state/$(date +%Y%m%d-%H%M%S)-$$.log
    : >"$log"
    export RAY_USAGE_STATS_ENABLED=0
    setsid "$ray" start "${role[@]}" --block --temp-dir="$state/ray" --num-cpus=$(($(nproc) + 1)) "$@" \
        >"$log" 2>&1 </dev/null &
    pid=$!
    for _ in {1..360}; do
        grep -qF "Ray runtime started." "$log" && break
        kill -0 "$pid" 2>/dev/null || fail
        sleep 0.5
    done
    grep -qF "Ray runtime started." "$log" || fail
    : >"$state/$pid.handle"
}

fail() {
    kill "$pid" 2>/dev/null || true
    tail -n 20 "$log" >&2
    die "Ray did not start; the whole log is $log"
}

report() {
    if [[ ${role[0]} != --head ]]; then
        echo "joined ${role[0]#--address=}"
    else
        local head dashboard
        head=$(sed -n "s/.*ray start --address='\(.*\)'.*/\1/p" "$log")
        dashboard=$(sed -n "s/.*RAY_API_SERVER_ADDRESS='\([^']*\)'.*/\1/p" "$log")
        echo "head       $head"
        [[ -z $dashboard ]] || echo "dashboard  $dashboard (this machine only)"
        echo "join with  cluster/local/start.sh $head   # after copying $token"
        echo "run with   RAY_AUTH_MODE=token pneumo-batch run JOB.toml --address $head"
    fi
    echo "stop with  cluster/local/stop.sh"
}

main "$@"
