# shellcheck shell=bash
# Three nodes of the real program, and writers that know what was acknowledged to them:
# what the shell tests share. A test sources it from the top of the repository, defines
# `main`, and ends with `run_test NAME`. It has then
#
#   $work     a directory of its own, removed at the end
#   $binary   the program: $QUORATE_BINARY, or the release build
#   ${pids[ID]} the process of each node
#
# Each background job is a process group of its own (`set -m`), and all are killed at the end.

set -euo pipefail -m

first_port=${FIRST_PORT:-19760}
pids=()
# What nodes are told of keys.
key_flags=(--insecure-no-key)

# Runs `main` with these arguments, and cleans up however it ends.
run_test() {
    test_name=$1
    shift
    work=${NAMESPACE_WORK:-$(mktemp -d)}
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    find_binary
    QUORATE_SERVERS=$(address 1),$(address 2),$(address 3)
    export QUORATE_SERVERS
    main "$@"
}

find_binary() {
    binary=${QUORATE_BINARY:-}
    if [ -z "$binary" ]; then
        cargo build --release --quiet
        binary=${CARGO_TARGET_DIR:-target}/release/quorate
    fi
    binary=$(realpath "$binary")
}

clean_up() {
    local code=$? job
    trap '' INT TERM HUP
    [ "$code" -eq 0 ] || show_logs
    exec 2>/dev/null
    if declare -F before_clean_up >/dev/null; then before_clean_up || true; fi
    for job in $(jobs -p); do kill -9 -- "-$job" || true; done
    wait || true
    # A test may have mounted file systems for the nodes.
    umount -q "$work"/data-* "$work"/disk || true
    rm -rf "$work"
}

show_logs() {
    local log
    for log in "$work"/log-* "$work"/console-*; do
        [ -e "$log" ] || continue
        echo "-- the end of $(basename "$log")"
        tail -n 8 "$log"
    done >&2
}

fail() {
    echo "tests/$test_name/run: FAILED: $*" >&2
    exit 1
}

# What this machine cannot do is said, and is no failure: tests/run knows the code.
skip() {
    echo "tests/$test_name/run: SKIPPED: $*" >&2
    exit 77
}

## Guests

# Where guests have their memory.
memory() { if [ -w /dev/shm ]; then echo /dev/shm; else echo /tmp; fi; }

# Makes what lets a guest's kernel set the registers of its processes, and says where it is.
make_registers() {
    local library=$work/registers.so
    [ -e "$library" ] || cc -O2 -shared -fPIC -o "$library" tests/processes/registers.c
    echo "$library"
}

## Namespaces

# Runs the test again, as root of a network, mounts and processes of its own: all that runs or
# is mounted there is gone when it ends. NAMESPACE_WORK tells it that it is there.
enter_namespace() {
    in_namespace env NAMESPACE_WORK="$work" QUORATE_BINARY="$binary" "tests/$test_name/run" "$@" &
    wait $!
}

in_namespace() {
    local user=()
    [ "$(id -u)" -eq 0 ] || user=(--user --map-root-user)
    unshare "${user[@]}" --net --mount --pid --mount-proc --fork --kill-child "$@"
}

## Nodes

address() { echo "127.0.0.1:$((first_port + $1))"; }

peers() { local id; for id in 1 2 3; do echo "--peer" "$id=$(address "$id")"; done; }

# Starts a node, by a command such as `env` with these words, if there are any.
start() {
    local id=$1
    shift
    # shellcheck disable=SC2046 # The peers are words.
    "$@" "$binary" run --id "$id" --data-dir "$work/data-$id" --listen "$(address "$id")" \
        $(peers) "${key_flags[@]}" 2>>"$work/log-$id" &
    pids[id]=$!
}

# Starts all nodes by `start`, or by the function of this name.
start_all() {
    local id
    for id in 1 2 3; do "${1:-start}" "$id"; done
    until_well
}

kill_node() {
    kill -9 "${pids[$1]}"
    wait "${pids[$1]}" 2>/dev/null || true
}

# Waits until a node ends by itself, and sets $code to its exit code.
until_it_ends() {
    wait_for 20 "node $1 ends" ended "${pids[$1]}"
    code=0
    wait "${pids[$1]}" || code=$?
}

ended() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

until_well() { wait_for 60 "all nodes are well" "$binary" status; }

# Waits for a leader, and sets $leader to its id.
until_one_leads() { wait_for 20 "a node leads" find_leader; }

find_leader() {
    leader=$(timeout 5 "$binary" status --json 2>/dev/null | grep -oE '"id":[0-9]+|"role":"leader"' |
        grep -B1 leader | head -n 1 | cut -d: -f2)
    [ -n "$leader" ]
}

# Waits until a command succeeds: SECONDS WHAT COMMAND...
wait_for() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || fail "it never came true that $what"
        sleep 0.02
    done
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

## Writers

# Starts writers that load small batches of new lines. A batch is noted as acknowledged,
# beside the cluster, once its load has ended well.
start_writers() {
    writers=()
    local name
    for name in "$@"; do
        touch "$work/acknowledged-$name"
        write_until_enough "$name" &
        writers+=($!)
    done
}

write_until_enough() {
    local batch=0
    until [ -e "$work/enough" ]; do
        batch=$((batch + 1))
        lines "$1-$batch" >"$work/batch-$1"
        if "$binary" load "$work/batch-$1" --timeout 20 >/dev/null 2>&1; then
            cat "$work/batch-$1" >>"$work/acknowledged-$1"
        fi
        sleep "${WRITER_PAUSE:-0.02}"
    done
}

# Fifty lines, no two alike in the life of a cluster.
lines() {
    for line in {1..50}; do
        printf '%s-%s\tthe value of line %s in batch %s\n' "$1" "$line" "$line" "$1"
    done
}

end_writers() {
    touch "$work/enough"
    for writer in "${writers[@]}"; do wait "$writer"; done
    rm "$work/enough"
}

acknowledged() { cat "$work"/acknowledged-* | wc -l; }

# Every line that was acknowledged is there: read linearizably, and in the committed state
# of each node, which must be equal.
check_acknowledged() {
    local id
    check_cluster
    for id in 1 2 3; do
        wait_for 20 "node $id holds what the cluster holds" holds_all "$id"
    done
}

# The same without asking each node; writers may go on meanwhile.
check_cluster() {
    cat "$work"/acknowledged-* | LC_ALL=C sort >"$work/expected"
    "$binary" dump --timeout 60 >"$work/dump" || fail "the cluster gives no dump"
    nothing_missing "$work/dump" || fail "$lost acknowledged lines are lost"
}

# On the way to its end a dump of one node may be behind.
holds_all() {
    QUORATE_SERVERS=$(address "$1") "$binary" dump --stale >"$work/dump-$1" || return 1
    cmp -s "$work/dump" "$work/dump-$1"
}

nothing_missing() {
    LC_ALL=C sort "$1" | LC_ALL=C comm -23 "$work/expected" - >"$work/lost"
    lost=$(wc -l <"$work/lost")
    [ "$lost" -eq 0 ]
}

# A load that keeps a history, in the background: SECONDS FLAGS...
start_bench() {
    local seconds=$1
    shift
    "$binary" bench --duration "$seconds" --history "$work/history" --json "$@" \
        >"$work/bench" 2>"$work/log-bench" &
    bench=$!
}

# Ends it early if it still runs.
check_history() {
    kill -INT "$bench" 2>/dev/null || true
    wait "$bench" || fail "the bench got no answer"
    bench_figures
    "$binary" check-history "$work/history" || fail "what clients saw is not linearizable"
}

bench_figures() {
    tail -n 1 "$work/bench" |
        grep -oE '"(ops|errors|unknown|p99_us|longest_gap_ms)":[0-9.]+' | head -n 5 | paste -sd ' '
}
