# shellcheck shell=bash
# What may happen to links, and what must hold then.

seconds_each=${SECONDS_EACH:-8}
kills=${KILLS:-5}

# The election timeout, in milliseconds.
election_timeout=250

# Where a flow of TCP shares a link: in seconds, how long both send until their shares are measured,
# and for how long that is done.
settled_after=10
shared_for=20

slice=(clean loss20 bursts corrupted cut-off-leader quorum-loss-5)
all_scenarios=(clean loss5 loss10 loss20 loss30 bursts reordered duplicated corrupted narrow
    beside-tcp beside-tcp-far one-way killed-leader killed-leader-30 cut-off-leader cut-off-leader-30
    chained-3 chained-5 quorum-loss-5 constrained-3 constrained-5)

run_scenarios() {
    local scenario
    case ${1:-all} in
        all) set -- "${all_scenarios[@]}" ;;
        slice) set -- "${slice[@]}" ;;
    esac
    build_hosts 5
    echo "scenario           commits       p50       p99   longest  elections  bytes/commit"
    for scenario in "$@"; do
        run_scenario "$scenario"
        end_nodes
    done
}

run_scenario() {
    case $1 in
        clean) under_load "$1" delay 10ms; no_election "$1" ;;
        loss*) under_load "$1" delay 10ms loss "${1#loss}%"; no_election "$1" ;;
        # One way loses 10 % in the mean, and 5 in a row.
        bursts) under_load "$1" delay 10ms loss gemodel 2.2222% 20% 100% 0% ;;
        reordered) under_load "$1" delay 10ms 8ms distribution normal ;;
        duplicated) under_load "$1" delay 10ms duplicate 20% ;;
        corrupted) corrupted ;;
        narrow) under_load "$1" delay 10ms rate 10mbit ;;
        beside-tcp) beside_tcp "$1" 10ms 60 ;;
        beside-tcp-far) beside_tcp "$1" 50ms 200 ;;
        one-way) one_way ;;
        killed-leader) pause_of_writes "$1" kill_leader 0 ;;
        killed-leader-30) pause_of_writes "$1" kill_leader 30 ;;
        cut-off-leader) pause_of_writes "$1" cut_off_leader 0 ;;
        cut-off-leader-30) pause_of_writes "$1" cut_off_leader 30 ;;
        chained-[35]) partitioned "$1" "${1##*-}" chain ;;
        quorum-loss-5) partitioned "$1" 5 leave_only_a_hub ;;
        constrained-[35]) partitioned "$1" "${1##*-}" constrain ;;
        *) fail "there is no scenario '$1'" ;;
    esac
}

## Loads

# Clients on links that are all alike: one that is measured, then four that keep a history.
# NAME NETEM-WORDS...
under_load() {
    local name=$1
    shift
    begin 3
    shape all all "$@"
    sleep 1
    measure
    keep_history
    shape all all
    show "$name"
}

# Where the machine's own stalls do not count, loss alone must not cost an election.
no_election() {
    [ -z "${EXACT:-}" ] || [ "$elections" -eq 0 ] || fail "$1: $elections elections"
}

# One bit in a hundred frames is wrong. None may be accepted, and all must be counted.
corrupted() {
    local received dropped
    begin 3
    remove_udp_checksums
    received=$(datagrams_received)
    shape all all delay 10ms corrupt 1%
    measure
    keep_history
    received=$(($(datagrams_received) - received))
    shape all all
    show corrupted
    dropped=$(drops checksum)
    echo "    $received datagrams came in; dropped for the checksum: $dropped, for other causes:" \
        "$(($(drops '[a-z_]+') - dropped))"
    # Of a flipped bit some hit the headers of the lower layers, and never come in.
    [ $((dropped * 400)) -ge "$received" ] || fail "of 1 % corrupted frames $dropped were counted"
}

# All drops for a cause.
drops() {
    status | grep -oE '"dropped":\{[^}]*\}' | grep -oE "\"$1\":[0-9]+" |
        cut -d: -f2 | paste -sd+ | bc_or_zero
}

bc_or_zero() { local sum; read -r sum; echo $((${sum:-0})); }

measure() {
    bytes_before=$(bytes_sent)
    "$binary" bench --clients 1 --value-size 128 --reads 0 --duration "$seconds_each" \
        --timeout 20 --json >"$work/measured" || fail "no operation was answered"
    bytes_during=$(($(bytes_sent) - bytes_before))
}

keep_history() {
    start_bench "$((seconds_each / 2))" --clients 4 --keys 20 --reads 40 --timeout 20
    end_history
}

end_history() {
    wait "$bench" || fail "the bench got no answer"
    "$binary" check-history "$work/history" >/dev/null ||
        fail "what clients saw is not linearizable"
}

show() {
    local commits
    commits=$(figure ops)
    elections=$(($(term) - term_before))
    printf '%-17s %8s %7s ms %6s ms %6s ms %10s %13s\n' "$1" "$commits" \
        "$(tenths "$(figure p50_us)")" "$(tenths "$(figure p99_us)")" \
        "$(tenths "$(figure longest_gap_us)")" "$elections" \
        "$((bytes_during / (commits > 0 ? commits : 1)))"
}

# A figure of the bench that was measured.
figure() {
    case $1 in
        ops) grep -oE '"ops":[0-9]+' "$work/measured" | head -n 1 | cut -d: -f2 ;;
        longest_gap_us)
            grep -oE '"longest_gap_ms":[0-9]+(\.[0-9]+)?' "$work/measured" | cut -d: -f2 |
                awk '{ printf "%d\n", $1 * 1000 }'
            ;;
        *) grep -oE "\"$1\":[0-9]+" "$work/measured" | head -n 1 | cut -d: -f2 ;;
    esac
}

# Milliseconds with one decimal, of microseconds.
tenths() { echo "$(($1 / 1000)).$(($1 % 1000 / 100))"; }

## Catching up

# A follower that was away fetches what it lacks over 10 Mbit/s, while its leader's host also
# sends it a flow of this kernel's TCP, which always has more to send. Frames that the queue has
# no room for are lost, and no others. Each must get its part of the link: NAME DELAY FRAMES, of
# which so many may be on the way or wait before it.
beside_tcp() {
    local name=$1 delay=$2 frames=$3 away of_all of_tcp of_ours carried share
    begin 3
    until_one_leads
    away=$(others_than "$leader" | head -n 1)
    kill_node "$away"
    awk 'BEGIN { for (; n < 30000; n++) printf "key-%d\t%1000d\n", n, n }' >"$work/lines"
    "$binary" load "$work/lines" >/dev/null || fail "the load ended early"
    send_whole_packets
    shape all all delay "$delay"
    shape "$leader" "$away" delay "$delay" rate 10mbit limit "$frames"
    start_tcp "$leader" "$away"
    start_on "$away"
    sleep "$settled_after"
    of_all=$(counter "$away" IpExt InOctets) of_tcp=$(tcp_octets "$leader")
    sleep "$shared_for"
    of_tcp=$(($(tcp_octets "$leader") - of_tcp))
    of_ours=$(($(counter "$away" IpExt InOctets) - of_all - of_tcp))
    carried=$((10000000 / 8 * shared_for))
    printf '%-17s of the link: TCP (%s) %s %%, the follower that catches up %s %%\n' "$name" \
        "$(cat /proc/sys/net/ipv4/tcp_congestion_control)" $((of_tcp * 100 / carried)) \
        $((of_ours * 100 / carried))
    for share in "$of_tcp" "$of_ours"; do
        [ $((share * 100)) -ge $((carried * 30)) ] || fail "$name: less than 30 % of the link"
    done
    end_tcp
    shape all all
}

# From one host to another, as much as TCP sends. Every Debian has perl-base.
start_tcp() {
    local take='my $flow = IO::Socket::INET->new(LocalPort => 9, Listen => 1)->accept;
        1 while sysread $flow, my $bytes, 65536'
    on "$2" perl -MIO::Socket::INET -e "$take" &
    tcp_ends=($!)
    sleep 0.2
    on "$1" bash -c "exec cat /dev/zero >/dev/tcp/$(ip_of "$2")/9" &
    tcp_ends+=($!)
}

end_tcp() {
    kill "${tcp_ends[@]}"
    wait "${tcp_ends[@]}" 2>/dev/null || true
}

# What TCP sent from a host and knows to have arrived, with the headers. All segments are full.
tcp_octets() { echo $(($(counter "$1" TcpExt TCPDelivered) * 1500)); }

## Partitions

# A node does not hear the leader, which hears it; then the other way round. Writes go on.
one_way() {
    local other
    begin 3
    until_one_leads
    other=$((leader % 3 + 1))
    shape all all delay 10ms
    cut_way "$leader" "$other"
    measure
    cut_way "$other" "$leader"
    shape "$leader" "$other" delay 10ms
    keep_history
    shape all all
    show one-way
}

# A load runs while links are cut, by the function CUT. Within ten election timeouts one node
# leads, and it goes on leading: NAME NODES CUT.
partitioned() {
    local name=$1 nodes=$2 cut=$3 settled
    begin "$nodes"
    shape all all delay 1ms
    until_one_leads
    bytes_before=$(bytes_sent)
    start_bench 9 --clients 4 --rate 100 --keys 20 --reads 20 --timeout 8
    sleep 1
    "$cut"
    sleep "$(awk "BEGIN { print $election_timeout / 100 }")"
    "$binary" put settled "$name" --timeout 2 >/dev/null ||
        fail "$name: nobody leads after ten election timeouts"
    settled=$(term)
    end_history
    bytes_during=$(($(bytes_sent) - bytes_before))
    [ "$(term)" = "$settled" ] || fail "$name: the leader changed again, $settled to $(term)"
    cp "$work/bench" "$work/measured"
    shape all all
    show "$name"
}

# Who is linked to whom is a chain, with the leader at its end.
chain() {
    local row one other
    mapfile -t row < <(others_than "$leader")
    row=("$leader" "${row[@]}")
    for one in "${!row[@]}"; do
        for other in "${!row[@]}"; do
            [ "$other" -le $((one + 1)) ] || cut_link "${row[one]}" "${row[other]}"
        done
    done
}

# Only one node, which does not lead, reaches the others.
leave_only_a_hub() {
    local hub one other
    hub=$(others_than "$leader" | head -n 1)
    for one in $(others_than "$hub"); do
        for other in $(others_than "$hub"); do
            [ "$one" -ge "$other" ] || cut_link "$one" "$other"
        done
    done
}

# The same, but the leader is cut off from all, and the log of the hub lags: it did not hear
# the leader any more.
constrain() {
    local hub one
    hub=$(others_than "$leader" | head -n 1)
    cut_link "$leader" "$hub"
    sleep 0.1
    leave_only_a_hub
    for one in $(others_than "$leader"); do cut_link "$leader" "$one"; done
}

others_than() { seq "$nodes" | grep -vx "$1"; }

## Leaders that go

# How long writes pause when a leader goes, by the function GO, where PERCENT of all datagrams
# are lost: NAME GO PERCENT.
pause_of_writes() {
    local name=$1 go=$2 percent=$3 round pauses=()
    begin 3
    for round in $(seq "$kills"); do
        until_one_leads
        [ "$percent" -eq 0 ] || lose "$percent"
        start_bench 4 --clients 10 --rate 100 --reads 0 --value-size 128 --keys 50
        sleep 1.5
        "$go"
        end_history
        cp "$work/bench" "$work/measured"
        pauses+=("$(figure longest_gap_us)")
        [ "$percent" -eq 0 ] || lose 0
        if [ "$go" = kill_leader ]; then start_on "$leader"; else unsilence_host "$leader"; fi
        until_well
    done
    mapfile -t pauses < <(printf '%s\n' "${pauses[@]}" | sort -n)
    printf '%-17s writes pause: median %s ms, 9 of 10 within %s ms, longest %s ms (%s times)\n' \
        "$name" "$(tenths "${pauses[kills / 2]}")" "$(tenths "${pauses[kills * 9 / 10]}")" \
        "$(tenths "${pauses[kills - 1]}")" "$kills"
}

kill_leader() { kill_node "$leader"; }

# Its host is silent: nobody is told that it is gone.
cut_off_leader() { silence_host "$leader"; }

## Nodes

address() { echo "10.77.0.$1:9717"; }

peers() { local id; for id in $(seq "$nodes"); do echo "--peer" "$id=$(address "$id")"; done; }

# So many nodes with blank directories on clean links, all well.
begin() {
    local id
    nodes=$1
    rm -rf "$work"/data-* "$work"/history
    QUORATE_SERVERS=$(for id in $(seq "$nodes"); do address "$id"; done | paste -sd,)
    for id in $(seq "$nodes"); do start_on "$id"; done
    until_well
    term_before=$(term)
}

start_on() { start "$1" nsenter --net="/run/netns/host-$1"; }

end_nodes() {
    local id
    for id in "${!pids[@]}"; do kill_node "$id"; done
    pids=()
}

# The newest term that a node knows.
term() {
    status | grep -oE '"term":[0-9]+' | cut -d: -f2 | sort -n | tail -n 1
}

# Also of a cluster that is not well, which the exit code would tell.
status() { "$binary" status --json || true; }
