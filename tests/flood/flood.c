// Sends datagrams of somebody without a key to a node, so many a second, from many addresses of
// the loopback network. Prints how many were sent, and what that cost this process.
//
//   flood PORT NODE RATE SECONDS
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { SOURCES = 64, BATCH = 64, HELLO_BYTES = 128, LONGEST = 1200 };

static unsigned char bytes[BATCH][LONGEST];
static struct iovec parts[BATCH];
static struct mmsghdr batch[BATCH];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int socket_at(int source) {
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f010000 + 1 + source);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) != 0) {
        perror("flood: a socket");
        exit(1);
    }
    return fd;
}

// By turns: a Hello whose tag is wrong, a frame that is not sealed, one that seems to be, noise.
static void make(int at, unsigned node) {
    static const unsigned char magic[] = {0x51, 0x52, 0x01}, cluster[] = {0x2a, 0x98, 0x56, 0x69};
    unsigned char *datagram = bytes[at];
    for (int i = 0; i < LONGEST; i++) datagram[i] = (unsigned char)rand();
    parts[at] = (struct iovec){datagram, at % 4 == 0 ? HELLO_BYTES : 68 + (size_t)rand() % 1000};
    if (at % 4 == 3) return;
    memcpy(datagram, magic, sizeof magic);
    memcpy(datagram + 4, cluster, sizeof cluster);
    if (at % 4 == 0) {
        datagram[3] = 112;
        memset(datagram + 8, 0, 24);
        memset(datagram + 64, 0, 32);
        datagram[10] = (unsigned char)node;
        datagram[12] = datagram[14] = 1;
    } else {
        datagram[3] = 32;
    }
}

int main(int count, char **words) {
    if (count != 5) {
        fprintf(stderr, "usage: flood PORT NODE RATE SECONDS\n");
        return 2;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    double rate = atof(words[3]), begun = now(), end = begun + atof(words[4]);
    int sockets[SOURCES];
    for (int i = 0; i < SOURCES; i++) sockets[i] = socket_at(i);
    for (int i = 0; i < BATCH; i++) {
        make(i, (unsigned)atoi(words[2]));
        batch[i].msg_hdr = (struct msghdr){
            .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    long sent = 0;
    for (long turn = 0; now() < end; turn++) {
        double wait = begun + sent / rate - now();
        if (wait > 0) {
            struct timespec pause = {0, (long)(wait * 1e9)};
            nanosleep(&pause, NULL);
        }
        int taken = sendmmsg(sockets[turn % SOURCES], batch, BATCH, 0);
        if (taken > 0) sent += taken;
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec +
                 (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("%.0f a second, %.0f %% of a processor\n", sent / (now() - begun), 100 * cpu / (now() - begun));
    return 0;
}
