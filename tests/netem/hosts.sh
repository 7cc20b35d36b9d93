# shellcheck shell=bash
# Hosts as network namespaces, joined by links of which each direction has a netem of its own.
# The clients' host is the namespace that this runs in; it is called `client`. Host N has the
# address 10.77.0.N, and the clients' has 10.77.0.254.
#
# Neighbours are permanent: a lost ARP would stall a link for a second, which nobody asked for.

hosts=()

# Makes the clients' host and the hosts 1..N, and a clean link between any two.
build_hosts() {
    local id place
    sysctl -q -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 2>/dev/null || true
    hosts=(client)
    ip link set lo up
    ip address add 10.77.0.254/32 dev lo
    for id in $(seq "$1"); do
        ip netns add "host-$id"
        on "$id" sh -c 'for scope in all default; do
            echo 0 >/proc/sys/net/ipv4/conf/$scope/rp_filter; done'
        on "$id" ip link set lo up
        on "$id" ip address add "10.77.0.$id/32" dev lo
        for place in "${hosts[@]}"; do join "$id" "$place"; done
        hosts+=("$id")
    done
}

# Runs a command on a host.
on() {
    local host=$1
    shift
    if [ "$host" = client ]; then "$@"; else nsenter --net="/run/netns/host-$host" "$@"; fi
}

# In a namespace, the device towards host N is called to-N.
join() {
    on "$2" ip link add "to-$1" type veth peer name "to-$2" netns "host-$1"
    lead "$1" "$2" "$(mac_of "$2" "$1")"
    lead "$2" "$1" "$(mac_of "$1" "$2")"
}

mac_of() { on "$1" ip -o link show "to-$2" | grep -oE 'link/ether [0-9a-f:]+' | cut -d' ' -f2; }

# From one host to another: FROM TO MAC.
lead() {
    on "$1" ip -batch - <<END
link set to-$2 up
route add $(ip_of "$2") dev to-$2 src $(ip_of "$1")
$(neighbour "$2" "$3")
END
}

ip_of() { if [ "$1" = client ]; then echo 10.77.0.254; else echo "10.77.0.$1"; fi; }

## Quality

# From now on the ways FROM TO are so, in netem's words: a host, or `all`; no words: clean.
# A netem that is replaced keeps what the new words do not name, so a pfifo comes between.
shape() {
    local from=$1 to=$2 one other
    shift 2
    for one in "${hosts[@]}"; do
        [ "$from" = all ] || [ "$from" = "$one" ] || continue
        for other in "${hosts[@]}"; do
            [ "$one" != "$other" ] || continue
            [ "$to" = all ] || [ "$to" = "$other" ] || continue
            echo "qdisc replace dev to-$other root pfifo limit 1000"
            if [ $# -eq 0 ]; then
                echo "qdisc del dev to-$other root"
            else
                echo "qdisc replace dev to-$other root netem limit 20000 $*"
            fi
        done | on "$one" tc -batch -
    done
}

# So many of a hundred packets are lost on every way, from now on. Where nftables can do it, no
# netem is needed; a guest's kernel may lack its part.
lose() {
    if drop "$1" 2>/dev/null; then return; fi
    if [ "$1" -eq 0 ]; then shape all all; else shape all all loss "$1%"; fi
}

# The same, dropped by nftables as they come in.
drop() {
    local one other
    for one in "${hosts[@]}"; do
        {
            echo "table netdev loss"
            echo "delete table netdev loss"
            echo "table netdev loss {"
            for other in "${hosts[@]}"; do
                [ "$one" != "$other" ] || continue
                echo "chain from-$other {"
                echo "type filter hook ingress device \"to-$other\" priority 0;"
                echo "numgen random mod 100 < $1 drop"
                echo "}"
            done
            echo "}"
        } | on "$one" nft -f - || return
    done
}

# Devices get what TCP sends cut into packets. What they are to cut, netem would take for one.
send_whole_packets() {
    local one other
    for one in "${hosts[@]}"; do
        for other in "${hosts[@]}"; do
            [ "$one" = "$other" ] || echo "link set to-$other gso_max_segs 1"
        done | on "$one" ip -batch -
    done
}

# Nothing passes any more from one to the other, and nobody is told.
cut_way() { shape "$1" "$2" loss 100%; }

# The host is neither heard nor does it hear, from now on and all at once: to replace the netem of
# one way takes a guest a fifth of a second, and in between some would still hear it. What is sent
# has an address that no device has, so nobody is told.
silence_host() { for_ways_of "$1" point_nowhere; }

# It is heard again.
unsilence_host() { for_ways_of "$1" point; }

# First the ways from the host, in one go, then those to it.
for_ways_of() {
    local host=$1 how=$2 other
    for other in "${hosts[@]}"; do
        [ "$other" = "$host" ] || "$how" "$host" "$other"
    done | on "$host" ip -batch -
    for other in "${hosts[@]}"; do
        [ "$other" = "$host" ] || "$how" "$other" "$host" | on "$other" ip -batch -
    done
}

point() { neighbour "$2" "$(mac_of "$2" "$1")"; }
point_nowhere() { neighbour "$2" 02:00:00:00:00:00; }

# Where frames for the host go: HOST MAC.
neighbour() { echo "neighbour replace $(ip_of "$1") lladdr $2 dev to-$1 nud permanent"; }

# Neither from one to the other nor back.
cut_link() {
    cut_way "$1" "$2"
    cut_way "$2" "$1"
}

# The kernel would drop what netem corrupts, by the checksum of UDP. Without one, the program
# gets it.
remove_udp_checksums() {
    local one other
    for one in "${hosts[@]}"; do
        for other in "${hosts[@]}"; do
            [ "$one" != "$other" ] || continue
            on "$one" tc -batch - <<END
qdisc add dev to-$other clsact
filter add dev to-$other ingress protocol ip u32 match ip protocol 17 0xff action pedit munge offset 26 u16 set 0 pipe action ok
END
        done
    done
}

## Counters

# All bytes that hosts have sent, headers of IP and UDP included, whether they arrived or not.
bytes_sent() {
    local host total=0
    for host in "${hosts[@]}"; do
        total=$((total + $(counter "$host" IpExt OutOctets)))
    done
    echo "$total"
}

# What a host's kernel has counted: HOST GROUP NAME.
counter() {
    on "$1" awk -v group="$2:" -v wanted="$3" '$1 == group {
        if (named) print $column; else while (++column <= NF && $column != wanted); named = 1
    }' /proc/net/netstat /proc/net/snmp
}

# All datagrams that came in at the hosts of nodes.
datagrams_received() {
    local host total=0
    for host in "${hosts[@]:1}"; do
        total=$((total + $(counter "$host" Udp InDatagrams)))
    done
    echo "$total"
}
