// floor: about the cheapest client that keeps a time for every event of every answer. What harness is measured against.
//
// One thread, one epoll, nothing allocated on the way, nothing parsed: an event is counted where its blank line ends.
// Closed loop: --concurrency connections, each asks again when its answer has ended. Open loop: --rate starts a second,
// equally far apart, each on an idle connection or a new one.
//
//   cc -O2 -o floor floor.c && ./floor --port 8100 --concurrency 64 --requests 2000 --tokens 128 --clock kernel
//
// --clock kernel takes the kernel's receive time of each read (SO_TIMESTAMPING) instead of the time after it, brought
// from the wall clock to CLOCK_MONOTONIC. Where one read holds several events all get its time.
//
// Prints one line of JSON; the times in it are of the load alone, without the connections made before it.
// --stamps FILE writes JSON Lines, one line a request: id, sent and, in an open loop, due
// (ns, CLOCK_MONOTONIC), stamps (ns after sent).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t ns_t;

static int port = 8100, concurrency = 64, requests = 2000, tokens = 128, core = -1;
static double rate = 0;
static bool kernel_clock = false;
static const char *stamps_path = NULL;

static ns_t clock_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (ns_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static ns_t now(void) { return clock_ns(CLOCK_MONOTONIC); }

static double cpu_s(void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

// ---- requests and connections -----------------------------------------------------------------------------------

typedef struct {
  int fd, request; // -1: idle
  char tail[5];    // the last bytes read, so that an end cut by a read is seen
} Conn;

static Conn *conns;
static int conn_count, *idle, idle_count, next_request, ended, room, poller;
static ns_t *sent, *stamps;
static int *counts;
static uint64_t reads, bytes, events;

static char message[1024];
static size_t message_size;
static char *message_id; // six digits in the message

static void write_message(void) {
  char body[512];
  int n = snprintf(body, sizeof body,
                   "{\"model\":\"bench/mock\",\"messages\":[{\"role\":\"user\",\"content\":\"count from one to sixteen and say "
                   "when each of your tokens has left you please\"}],\"max_tokens\":%d,\"stream\":true,"
                   "\"stream_options\":{\"include_usage\":true}}", tokens);
  message_size = snprintf(message, sizeof message,
                          "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                          "x-request-id: 000000\r\ncontent-length: %d\r\n\r\n%s", n, body);
  message_id = strstr(message, "000000");
}

static int connect_one(void) {
  Conn *c = &conns[conn_count];
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1, flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  c->request = -1;
  if (c->fd < 0 || connect(c->fd, (void *)&address, sizeof address)) die("connect");
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (kernel_clock && setsockopt(c->fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags)) die("SO_TIMESTAMPING");
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
  return conn_count++;
}

static void ask(Conn *c) {
  c->request = next_request++;
  for (int i = 5, id = c->request; i >= 0; i--, id /= 10) message_id[i] = '0' + id % 10;
  memset(c->tail, 0, sizeof c->tail);
  sent[c->request] = now();
  if (send(c->fd, message, message_size, MSG_NOSIGNAL) != (ssize_t)message_size) die("send");
}

// ---- answers ------------------------------------------------------------------------------------------------------

static char buffer[1 << 17];

// One read. Its bytes lie in `buffer`; the time is that of the kernel or of the return, by option.
static ssize_t read_some(int fd, ns_t to_monotonic, ns_t *at) {
  if (!kernel_clock) {
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    *at = now();
    return n;
  }
  char control[128];
  struct iovec part = {buffer, sizeof buffer};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t n = recvmsg(fd, &m, 0);
  *at = now();
  for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
    if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_TIMESTAMPING) {
      struct timespec t;
      memcpy(&t, CMSG_DATA(h), sizeof t);
      if (t.tv_sec) *at = (ns_t)t.tv_sec * 1000000000 + t.tv_nsec - to_monotonic;
    }
  return n;
}

static void stamp(int request, ns_t at) {
  int k = counts[request]++;
  if (k < room) stamps[(size_t)request * room + k] = at;
}

// True where the answer has ended. An event is over with its blank line, the answer with the empty chunk.
static bool take(Conn *c, ssize_t n, ns_t at) {
  if (c->tail[4] == '\n' && buffer[0] == '\n') stamp(c->request, at);
  for (char *p = buffer, *end = buffer + n; (p = memmem(p, end - p, "\n\n", 2)); p += 2) stamp(c->request, at);
  if (n >= 5)
    memcpy(c->tail, buffer + n - 5, 5);
  else {
    memmove(c->tail, c->tail + n, 5 - n);
    memcpy(c->tail + 5 - n, buffer, n);
  }
  return !memcmp(c->tail, "0\r\n\r\n", 5);
}

static void hear(Conn *c, ns_t to_monotonic) {
  ns_t at;
  ssize_t n = read_some(c->fd, to_monotonic, &at);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0 || c->request < 0) die("recv");
  reads++;
  bytes += n;
  if (!take(c, n, at)) return;
  events += counts[c->request];
  c->request = -1;
  ended++;
  if (rate > 0)
    idle[idle_count++] = c - conns;
  else if (next_request < requests)
    ask(c);
}

// ---- the load -----------------------------------------------------------------------------------------------------

static ns_t started;

static ns_t due(int request) { return started + (ns_t)(request * 1e9 / rate); }

static void ask_what_is_due(void) {
  while (next_request < requests && due(next_request) <= now()) ask(&conns[idle_count ? idle[--idle_count] : connect_one()]);
}

static void play(void) {
  struct epoll_event found[512];
  started = now();
  if (rate <= 0)
    for (int i = 0; i < conn_count; i++) ask(&conns[i]);
  while (ended < requests) {
    struct timespec patience = {30, 0};
    if (rate > 0) {
      ask_what_is_due();
      if (next_request < requests) {
        ns_t at = now(), until = due(next_request);
        patience.tv_sec = 0;
        patience.tv_nsec = until > at ? until - at : 0;
      }
    }
    int n = epoll_pwait2(poller, found, 512, &patience, NULL);
    if (n < 0) die("epoll_pwait2");
    if (!n && next_request == requests) {
      fprintf(stderr, "floor: nothing came for 30 s, %d of %d answered\n", ended, requests);
      exit(1);
    }
    ns_t to_monotonic = kernel_clock ? clock_ns(CLOCK_REALTIME) - now() : 0;
    for (int i = 0; i < n; i++) hear(found[i].data.ptr, to_monotonic);
  }
}

static void write_stamps(void) {
  FILE *f = fopen(stamps_path, "w");
  if (!f) die(stamps_path);
  for (int r = 0; r < requests; r++) {
    fprintf(f, "{\"id\":\"%06d\",\"sent\":%lu,", r, sent[r]);
    if (rate > 0) fprintf(f, "\"due\":%lu,", due(r));
    fputs("\"stamps\":[", f);
    for (int k = 0; k < counts[r] && k < room; k++) fprintf(f, k ? ",%ld" : "%ld", (long)(stamps[(size_t)r * room + k] - sent[r]));
    fputs("]}\n", f);
  }
  if (fclose(f)) die(stamps_path);
}

static int options(int argc, char **argv) {
  for (int i = 1; i < argc; i += 2) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(name, "--port")) port = atoi(value);
    else if (!strcmp(name, "--concurrency")) concurrency = atoi(value);
    else if (!strcmp(name, "--rate")) rate = atof(value);
    else if (!strcmp(name, "--requests")) requests = atoi(value);
    else if (!strcmp(name, "--tokens")) tokens = atoi(value);
    else if (!strcmp(name, "--core")) core = atoi(value);
    else if (!strcmp(name, "--clock")) kernel_clock = !strcmp(value, "kernel");
    else if (!strcmp(name, "--stamps")) stamps_path = value;
    else {
      fprintf(stderr, "usage: floor [--port N] [--concurrency N | --rate F] [--requests N] [--tokens N]\n"
                      "             [--clock user|kernel] [--core N] [--stamps FILE]\n");
      return 2;
    }
  }
  return requests > 999999 ? fprintf(stderr, "floor: at most 999999 requests\n"), 2 : 0;
}

int main(int argc, char **argv) {
  int wrong = options(argc, argv);
  if (wrong) return wrong;
  if (core >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set)) die("--core");
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  prctl(PR_SET_TIMERSLACK, 1);

  room = tokens + 3;
  size_t size = (size_t)requests * room * sizeof *stamps;
  stamps = malloc(size);
  sent = calloc(requests, sizeof *sent);
  counts = calloc(requests, sizeof *counts);
  conns = calloc(requests, sizeof *conns);
  idle = calloc(requests, sizeof *idle);
  if (!stamps || !sent || !counts || !conns || !idle) die("memory");
  memset(stamps, 1, size); // page faults belong before the load
  write_message();
  poller = epoll_create1(0);
  for (int i = 0; rate <= 0 && i < concurrency && i < requests; i++) connect_one();

  double cpu_before = cpu_s();
  play();
  double wall = (now() - started) / 1e9, cpu = cpu_s() - cpu_before;
  printf("{\"clock\":\"%s\",\"connections\":%d,\"requests\":%d,\"tokens\":%d,\"events\":%lu,\"reads\":%lu,\"bytes\":%lu,"
         "\"wall_s\":%.6f,\"cpu_s\":%.6f,\"cpu_us_per_event\":%.3f,\"cpu_us_per_request\":%.3f}\n",
         kernel_clock ? "kernel" : "user", conn_count, requests, tokens, events, reads, bytes, wall, cpu, cpu * 1e6 / events,
         cpu * 1e6 / requests);
  if (stamps_path) write_stamps();
  return 0;
}
