// Sees what nodes on the loopback network send each other, and tells each of them, so many times
// a second, that its newest frame to another was refused: the ICMP message that a system sends
// for a port that no process has. Prints how many were told. Needs root of the network.
//
//   forge RATE SECONDS PORT...
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { PORTS_MAX = 9, ICMP_BYTES = 8, QUOTED_MAX = 1232 };

// The newest frame on each way, with its headers.
static struct {
    size_t length;
    unsigned char packet[QUOTED_MAX];
} newest[PORTS_MAX][PORTS_MAX];

static int ports[PORTS_MAX], port_count;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int open_socket(int domain, int type, int protocol) {
    int fd = socket(domain, type, protocol);
    if (fd < 0) {
        perror("forge: a socket");
        exit(1);
    }
    return fd;
}

static int place_of(unsigned port) {
    for (int place = 0; place < port_count; place++)
        if (ports[place] == (int)port) return place;
    return -1;
}

// All that has passed since the last time.
static void listen_to(int sniffer) {
    static unsigned char packet[65536];
    ssize_t length;
    while ((length = recv(sniffer, packet, sizeof packet, MSG_DONTWAIT)) > 0) {
        const struct iphdr *ip = (const struct iphdr *)packet;
        if (length < 28 || ip->protocol != IPPROTO_UDP || ip->ihl != 5) continue;
        const struct udphdr *udp = (const struct udphdr *)(packet + sizeof *ip);
        int from = place_of(ntohs(udp->source)), to = place_of(ntohs(udp->dest));
        if (from < 0 || to < 0) continue;
        size_t quoted = length < QUOTED_MAX ? (size_t)length : QUOTED_MAX;
        newest[from][to].length = quoted;
        memcpy(newest[from][to].packet, packet, quoted);
    }
}

static unsigned short checksum(const unsigned char *bytes, size_t length) {
    unsigned sum = 0;
    for (size_t i = 0; i < length; i++) sum += (unsigned)bytes[i] << (i % 2 == 0 ? 8 : 0);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return htons((unsigned short)~sum);
}

// Tells the sender that its newest frame on this way was refused. Returns whether there is one.
static int tell(int icmp, int from, int to) {
    static unsigned char message[ICMP_BYTES + QUOTED_MAX];
    size_t length = newest[from][to].length;
    if (length == 0) return 0;
    struct icmphdr header = {.type = ICMP_DEST_UNREACH, .code = ICMP_PORT_UNREACH};
    memcpy(message, &header, sizeof header);
    memcpy(message + ICMP_BYTES, newest[from][to].packet, length);
    header.checksum = checksum(message, ICMP_BYTES + length);
    memcpy(message, &header, sizeof header);
    struct sockaddr_in node = {.sin_family = AF_INET};
    node.sin_addr.s_addr = ((struct iphdr *)newest[from][to].packet)->saddr;
    return sendto(icmp, message, ICMP_BYTES + length, 0, (struct sockaddr *)&node, sizeof node) > 0;
}

// Tells a node, by turns, of the others that it sends frames to.
static int tell_of_one(int icmp, int from, long turn) {
    for (int others = port_count - 1, next = 0; next < others; next++) {
        int away = 1 + (int)((turn + next) % others);
        if (tell(icmp, from, (from + away) % port_count)) return 1;
    }
    return 0;
}

int main(int count, char **words) {
    if (count < 5 || count > 3 + PORTS_MAX) {
        fprintf(stderr, "usage: forge RATE SECONDS PORT...\n");
        return 2;
    }
    for (int i = 3; i < count; i++) ports[port_count++] = atoi(words[i]);
    int sniffer = open_socket(AF_PACKET, SOCK_DGRAM, htons(ETHERTYPE_IP));
    int icmp = open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    double rate = atof(words[1]), begun = now(), end = begun + atof(words[2]);
    long told = 0;
    for (long turn = 0; now() < end; turn++) {
        double wait = begun + turn / rate - now();
        if (wait > 0) {
            struct timespec pause = {0, (long)(wait * 1e9)};
            nanosleep(&pause, NULL);
        }
        listen_to(sniffer);
        for (int from = 0; from < port_count; from++) told += tell_of_one(icmp, from, turn);
    }
    printf("%.0f a second at each node\n", told / (now() - begun) / port_count);
    return 0;
}
