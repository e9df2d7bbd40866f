/* A closed loop of DNS SRV queries over UDP: each socket has one under way. Prints one line of JSON.
     dnsload ADDRESS PORT NAME SOCKETS SECONDS
   An answer with an error code or without records is an error; a query unanswered for a second is lost, and sent anew. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST 1024
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}
int main(int count, char **words) {
    if (count != 6) return fprintf(stderr, "usage: dnsload ADDRESS PORT NAME SOCKETS SECONDS\n"), 2;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
    if (inet_pton(AF_INET, words[1], &to.sin_addr) != 1) return fprintf(stderr, "dnsload: no address\n"), 2;
    int sockets = atoi(words[4]);
    double seconds = atof(words[5]);
    if (sockets < 1 || sockets > MOST || strlen(words[3]) > 200) return fprintf(stderr, "dnsload: bounds\n"), 2;
    unsigned char ask[300] = {0, 0, 1, 0, 0, 1};
    size_t size = 12;
    for (char *part = strtok(words[3], "."); part; part = strtok(NULL, ".")) {
        ask[size++] = strlen(part);
        memcpy(ask + size, part, strlen(part));
        size += strlen(part);
    }
    memcpy(ask + size, "\0\0\x21\0\1", 5);
    size += 5;
    struct pollfd polls[MOST];
    double sent[MOST], begin = now(), measured = begin + 1, end = measured + seconds;
    unsigned short ids[MOST] = {0};
    size_t room = 1 << 20, found = 0;
    float *times = malloc(room * sizeof *times);
    long errors = 0, lost = 0, records = 0;
    for (int i = 0; i < sockets; i++) {
        polls[i] = (struct pollfd){.fd = socket(AF_INET, SOCK_DGRAM, 0), .events = POLLIN};
        if (polls[i].fd < 0 || connect(polls[i].fd, (void *)&to, sizeof to)) return perror("dnsload"), 1;
        sent[i] = 0;
    }
    for (double at = begin; at < end;) {
        for (int i = 0; i < sockets; i++) {
            if (sent[i] && at - sent[i] < 1) continue;
            if (sent[i]) lost++;
            ids[i]++;
            ask[0] = ids[i] >> 8, ask[1] = ids[i] & 255;
            sent[i] = now();
            if (send(polls[i].fd, ask, size, 0) < 0) errors++;
        }
        poll(polls, sockets, 100);
        at = now();
        for (int i = 0; i < sockets; i++) {
            unsigned char answer[65536];
            if (!(polls[i].revents & (POLLIN | POLLERR))) continue;
            ssize_t got = recv(polls[i].fd, answer, sizeof answer, MSG_DONTWAIT);
            if (got >= 12 && (answer[0] << 8 | answer[1]) != ids[i]) continue;
            int holds = got >= 12 ? answer[6] << 8 | answer[7] : 0;
            if (got < 12 || (answer[3] & 15) || !holds) errors++;
            else if (sent[i] >= measured) {
                if (found == room) {
                    room *= 2;
                    times = realloc(times, room * sizeof *times);
                }
                if (!times) return 1;
                times[found++] = now() - sent[i];
                records += holds;
            }
            sent[i] = 0;
        }
    }
    qsort(times, found, sizeof *times, ascending);
    printf("{\"per_second\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"errors\": %ld, \"lost\": %ld, \"records\": %.1f}\n",
           found / seconds, found ? times[found / 2] * 1e3 : 0, found ? times[found * 99 / 100] * 1e3 : 0, errors, lost,
           found ? (double)records / found : 0);
    return found ? 0 : 1;
}
