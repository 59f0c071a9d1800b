// mock: an OpenAI-compatible streaming endpoint that knows what it did.
//
// One thread, one epoll. Each SSE event is an HTTP chunk of its own and a send() of its own; the time just before each
// send() is kept and written at SIGTERM. Tokens leave at absolute deadlines: request complete + ttft, then one each itl.
// With both at 0 the streams take turns as fast as the socket takes them.
//
//   cc -O2 -o mock mock.c && ./mock --port 8100 --ttft-ms 200 --itl-ms 20 --core 1 --log truth.jsonl
//
// It answers POST /v1/chat/completions, POST /v1/completions, GET /v1/models and GET /health. A chat stream is a role
// event and the first token at once, the other tokens, then with the last one at once the usage event (where
// stream_options.include_usage asks for it) and [DONE]. An answer has as many tokens as max_tokens or
// max_completion_tokens ask for. prompt_tokens is the number of words in the strings of the request.
//
// The truth is JSON Lines. All times are CLOCK_MONOTONIC in nanoseconds. First line, of the whole run:
//   {"format": "bench-truth", "version": 1, "connections": N, "blocked_sends": N, "bytes_sent": N}
// then one line a call, in the order of arrival:
//   id          x-request-id as the client sent it, or ""
//   connection  1, 2, ... in the order of accept
//   chat, streamed, role, usage   0 or 1; role and usage tell that such an event was sent
//   asked       tokens
//   text_bytes  bytes of the text of all tokens
//   bytes_in, bytes_out   of this call on the wire, HTTP heads and framing included
//   accepted, begun, complete    the connection; the first and the last byte of the request as the server read them
//   events      ns after `complete` of each event, in the order sent (one that is not streamed has one)
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_TOKENS 1000000
#define LARGEST_REQUEST (16u << 20)

typedef uint64_t ns_t;

static ns_t ttft_ns, itl_ns;

static ns_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (ns_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void *must(void *memory) {
  if (!memory) die("memory");
  return memory;
}

// ---- truth -----------------------------------------------------------------------------------------------------

typedef struct Answer {
  struct Answer *next;
  char id[64];
  ns_t accepted, begun, complete;
  uint32_t connection;
  int asked, prompt, event_count;
  bool chat, streamed, role, usage;
  uint64_t text_bytes, bytes_in, bytes_out;
  ns_t events[];
} Answer;

static Answer *first_answer, **next_answer = &first_answer;
static uint64_t connections, blocked_sends, bytes_sent;

static void write_truth(const char *path) {
  FILE *f = fopen(path, "w");
  if (!f) die(path);
  fprintf(f, "{\"format\":\"bench-truth\",\"version\":1,\"connections\":%lu,\"blocked_sends\":%lu,\"bytes_sent\":%lu}\n",
          connections, blocked_sends, bytes_sent);
  for (Answer *a = first_answer; a; a = a->next) {
    fprintf(f, "{\"id\":\"%s\",\"connection\":%u,\"chat\":%d,\"streamed\":%d,\"role\":%d,\"usage\":%d,\"asked\":%d,"
               "\"text_bytes\":%lu,\"bytes_in\":%lu,\"bytes_out\":%lu,\"accepted\":%lu,\"begun\":%lu,\"complete\":%lu,\"events\":[",
            a->id, a->connection, a->chat, a->streamed, a->role, a->usage, a->asked, a->text_bytes, a->bytes_in, a->bytes_out,
            a->accepted, a->begun, a->complete);
    for (int i = 0; i < a->event_count; i++) fprintf(f, i ? ",%lu" : "%lu", a->events[i] - a->complete);
    fputs("]}\n", f);
  }
  if (fclose(f)) die(path);
}

// ---- connections and their turns ---------------------------------------------------------------------------------

typedef struct Conn {
  int fd; // -1: closed, freed at the end of the turn
  uint32_t number;
  ns_t accepted, begun;
  char *in, *out; // bytes not yet understood, bytes the socket would not take
  size_t in_used, in_room, out_used, out_room;
  Answer *answer; // under way
  int said;       // tokens of it
  ns_t due;       // of the next one
  bool stalled;   // its turn waits until the client reads
  bool last;      // connection: close
  struct Queue *queue;
  struct Conn *before, *after;
} Conn;

// Streams in the order of their deadlines. All wait equally long, so that a new one nearly always belongs at the end:
// one queue for those before their first token, one for the others.
typedef struct Queue {
  Conn *head, *tail;
  int count;
} Queue;

static Queue starting, running;
static Conn *closed;
static int poller;

static void enqueue(Queue *q, Conn *c) {
  Conn *p = q->tail;
  while (p && p->due > c->due) p = p->before;
  c->queue = q;
  c->before = p;
  c->after = p ? p->after : q->head;
  *(p ? &p->after : &q->head) = c;
  *(c->after ? &c->after->before : &q->tail) = c;
  q->count++;
}

static void dequeue(Conn *c) {
  Queue *q = c->queue;
  if (!q) return;
  *(c->before ? &c->before->after : &q->head) = c->after;
  *(c->after ? &c->after->before : &q->tail) = c->before;
  q->count--;
  c->queue = NULL;
}

static Conn *next_due(void) {
  Conn *a = starting.head, *b = running.head;
  return !a ? b : !b ? a : a->due < b->due ? a : b;
}

static void watch(Conn *c, bool writable) {
  struct epoll_event e = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
  if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e)) die("epoll_ctl");
}

static void hang_up(Conn *c) {
  if (c->fd < 0) return;
  dequeue(c);
  close(c->fd);
  c->fd = -1;
  c->after = closed;
  closed = c;
}

static void bury(void) {
  while (closed) {
    Conn *c = closed;
    closed = c->after;
    free(c->in);
    free(c->out);
    free(c);
  }
}

static char *grow(char *buffer, size_t *room, size_t wanted) {
  if (wanted <= *room) return buffer;
  *room = wanted * 2;
  return must(realloc(buffer, *room));
}

static void deliver(Conn *c, const char *bytes, size_t n) {
  if (c->fd < 0) return;
  ssize_t taken = 0;
  if (!c->out_used) {
    taken = send(c->fd, bytes, n, MSG_NOSIGNAL);
    if (taken < 0) {
      if (errno != EAGAIN && errno != EINTR) {
        hang_up(c);
        return;
      }
      taken = 0;
    }
  }
  bytes_sent += n;
  if (c->answer) c->answer->bytes_out += n;
  if ((size_t)taken == n) return;
  blocked_sends++;
  c->out = grow(c->out, &c->out_room, c->out_used + n - taken);
  memcpy(c->out + c->out_used, bytes + taken, n - taken);
  c->out_used += n - taken;
  watch(c, true);
}

// ---- what is said ------------------------------------------------------------------------------------------------

static const char *const WORDS[] = {" a",    " token", " at",     " its",  " own",  " time",  " is",   " sent",
                                    " here", " and",   " each",   " one",  " keeps", " the",  " beat", " so",
                                    " that", " who",   " counts", " them", " can",  " tell", " how",  " late"};

static const char *word(const Conn *c) {
  return WORDS[(c->number + (uint32_t)c->said) % (sizeof WORDS / sizeof *WORDS)];
}

// One page to write an event on. Its first bytes are left for the size of the chunk.
enum { MARGIN = 16 };
static char page[4096];
static size_t used;

static void say(const char *text) {
  size_t n = strlen(text);
  memcpy(page + used, text, n);
  used += n;
}

static void say_int(long value) {
  char digits[24], *p = digits + sizeof digits;
  *--p = 0;
  do *--p = '0' + value % 10;
  while (value /= 10);
  say(p);
}

static void begin_event(const Conn *c) {
  used = MARGIN;
  say(c->answer->chat ? "data: {\"id\":\"chatcmpl-6265-6e63-682d-6d6f-636b-" : "data: {\"id\":\"cmpl-6265-6e63-682d-6d6f-636b-");
  say_int(c->number);
  say(c->answer->chat ? "\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench/mock\",\"choices\":["
                      : "\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"bench/mock\",\"choices\":[");
}

static void send_chunk(Conn *c) {
  size_t begin = MARGIN, size = used - MARGIN;
  page[--begin] = '\n';
  page[--begin] = '\r';
  do page[--begin] = "0123456789abcdef"[size & 15];
  while (size >>= 4);
  say("\r\n");
  deliver(c, page + begin, used - begin);
}

static void send_event(Conn *c) {
  Answer *a = c->answer;
  say("\n\n");
  a->events[a->event_count++] = now();
  send_chunk(c);
}

static void send_role(Conn *c) {
  begin_event(c);
  say("{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}");
  c->answer->role = true;
  send_event(c);
}

static void send_token(Conn *c) {
  bool last = c->said + 1 == c->answer->asked;
  begin_event(c);
  say(c->answer->chat ? "{\"index\":0,\"delta\":{\"content\":\"" : "{\"index\":0,\"text\":\"");
  say(word(c));
  say(c->answer->chat ? "\"},\"logprobs\":null,\"finish_reason\":" : "\",\"logprobs\":null,\"finish_reason\":");
  say(last ? "\"length\",\"stop_reason\":null,\"token_ids\":null}]}" : "null,\"stop_reason\":null,\"token_ids\":null}]}");
  send_event(c);
}

static void say_usage(const Answer *a) {
  say("\"usage\":{\"prompt_tokens\":");
  say_int(a->prompt);
  say(",\"total_tokens\":");
  say_int(a->prompt + a->asked);
  say(",\"completion_tokens\":");
  say_int(a->asked);
  say("}}");
}

static void send_end(Conn *c) {
  if (c->answer->usage) {
    begin_event(c);
    say("],");
    say_usage(c->answer);
    send_event(c);
  }
  used = MARGIN;
  say("data: [DONE]");
  send_event(c);
  deliver(c, "0\r\n\r\n", 5);
}

static void send_page(Conn *c, const char *status, const char *body, size_t n) {
  char head[256];
  int k = snprintf(head, sizeof head, "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", status, n);
  char *all = must(malloc(k + n));
  memcpy(all, head, k);
  memcpy(all + k, body, n);
  deliver(c, all, k + n);
  free(all);
}

static void send_whole(Conn *c) {
  Answer *a = c->answer;
  char *body = must(malloc(512 + a->asked * 8)), *p = body;
  p += sprintf(p, "{\"id\":\"bench-%u\",\"object\":\"%s\",\"created\":1700000000,\"model\":\"bench/mock\",\"choices\":[{\"index\":0,%s\"",
               c->number, a->chat ? "chat.completion" : "text_completion",
               a->chat ? "\"message\":{\"role\":\"assistant\",\"content\":" : "\"text\":");
  for (c->said = 0; c->said < a->asked; c->said++) p = stpcpy(p, word(c));
  p += sprintf(p, "\"%s,\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d,\"completion_tokens\":%d}}",
               a->chat ? "}" : "", a->prompt, a->prompt + a->asked, a->asked);
  a->events[a->event_count++] = now();
  send_page(c, "200 OK", body, p - body);
  free(body);
}

// ---- turns -------------------------------------------------------------------------------------------------------

static void take_requests(Conn *c);

static void take_turn(Conn *c) {
  Answer *a = c->answer;
  if (a->streamed) {
    if (!c->said && a->chat) send_role(c);
    send_token(c);
  }
  if (c->fd < 0) return;
  a->text_bytes += strlen(word(c));
  if (++c->said < a->asked) {
    c->due = itl_ns ? c->due + itl_ns : now();
    c->stalled = c->out_used > 0;
    if (!c->stalled) enqueue(&running, c);
    return;
  }
  if (a->streamed)
    send_end(c);
  else
    send_whole(c);
  c->answer = NULL;
  if (c->fd < 0) return;
  if (c->last && !c->out_used)
    hang_up(c);
  else
    take_requests(c);
}

// At most one turn for each stream, so that sockets are looked at between the rounds.
static void take_turns(void) {
  for (int left = starting.count + running.count; left > 0; left--) {
    Conn *c = next_due();
    if (!c || c->due > now()) return;
    dequeue(c);
    take_turn(c);
  }
}

// ---- requests ----------------------------------------------------------------------------------------------------

typedef struct {
  long max_tokens;
  bool stream, include_usage;
  int words;
} Wanted;

static bool key_is(const char *key, size_t n, const char *name) { return n == strlen(name) && !memcmp(key, name, n); }

// Goes once through JSON text that is taken to be sound: keys at any depth, and the words in strings that are values.
static Wanted read_body(const char *p, const char *end) {
  Wanted wanted = {.max_tokens = 16};
  while (p < end) {
    if (*p++ != '"') continue;
    const char *begin = p;
    int words = 0;
    for (bool inside = false; p < end && *p != '"'; p++) {
      if (*p == '\\') p++;
      bool letter = p < end && *p != ' ';
      words += letter && !inside;
      inside = letter;
    }
    size_t n = p < end ? p - begin : 0;
    for (p++; p < end && isspace((unsigned char)*p);) p++;
    if (p >= end || *p != ':') {
      wanted.words += words;
      continue;
    }
    for (p++; p < end && isspace((unsigned char)*p);) p++;
    if (key_is(begin, n, "max_tokens") || key_is(begin, n, "max_completion_tokens")) {
      if (isdigit((unsigned char)*p)) wanted.max_tokens = strtol(p, NULL, 10);
    } else if (key_is(begin, n, "stream"))
      wanted.stream = *p == 't';
    else if (key_is(begin, n, "include_usage"))
      wanted.include_usage = *p == 't';
  }
  return wanted;
}

// The value of a header, or NULL. `name` is in lower case.
static const char *header(const char *head, const char *end, const char *name, size_t *n) {
  size_t length = strlen(name);
  for (const char *line = head; line < end;) {
    const char *stop = memchr(line, '\r', end - line);
    if (!stop) stop = end;
    if ((size_t)(stop - line) > length && line[length] == ':' && !strncasecmp(line, name, length)) {
      line += length + 1;
      while (line < stop && *line == ' ') line++;
      *n = stop - line;
      return line;
    }
    line = stop + 2;
  }
  return NULL;
}

static void begin_answer(Conn *c, const char *head, const char *body, const char *end, bool chat) {
  Wanted wanted = read_body(body, end);
  long asked = wanted.max_tokens < 1 ? 1 : wanted.max_tokens > MOST_TOKENS ? MOST_TOKENS : wanted.max_tokens;
  Answer *a = must(calloc(1, sizeof *a + (asked + 3) * sizeof(ns_t)));
  *next_answer = a;
  next_answer = &a->next;
  a->accepted = c->accepted;
  a->begun = c->begun;
  a->complete = now();
  a->connection = c->number;
  a->asked = asked;
  a->prompt = wanted.words;
  a->chat = chat;
  a->streamed = wanted.stream;
  a->usage = wanted.stream && wanted.include_usage;
  a->bytes_in = end - head;
  size_t n;
  const char *id = header(head, body, "x-request-id", &n);
  for (size_t i = 0; id && i < n && i < sizeof a->id - 1; i++) a->id[i] = isalnum((unsigned char)id[i]) || strchr("-_.:", id[i]) ? id[i] : '_';
  c->answer = a;
  c->said = 0;
  c->due = a->complete + ttft_ns;
  if (a->streamed) {
    static const char HEAD[] = "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\n"
                               "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    deliver(c, HEAD, sizeof HEAD - 1);
  }
  if (c->fd >= 0) enqueue(&starting, c);
}

static void route(Conn *c, const char *head, const char *body, const char *end) {
  static const char MODELS[] = "{\"object\":\"list\",\"data\":[{\"id\":\"bench/mock\",\"object\":\"model\",\"created\":1700000000,"
                               "\"owned_by\":\"bench\",\"max_model_len\":131072}]}";
  static const char NOTHING[] = "{\"detail\":\"Not Found\"}";
  char method[8] = "", path[128] = "";
  sscanf(head, "%7s %127[^ ?]", method, path);
  bool chat = !strcmp(path, "/v1/chat/completions");
  if (!strcmp(method, "POST") && (chat || !strcmp(path, "/v1/completions")))
    begin_answer(c, head, body, end, chat);
  else if (!strcmp(method, "GET") && !strcmp(path, "/v1/models"))
    send_page(c, "200 OK", MODELS, sizeof MODELS - 1);
  else if (!strcmp(method, "GET") && !strcmp(path, "/health"))
    send_page(c, "200 OK", "{}", 2);
  else
    send_page(c, "404 Not Found", NOTHING, sizeof NOTHING - 1);
}

static void take_requests(Conn *c) {
  while (c->fd >= 0 && !c->answer && c->in_used) {
    char *stop = memmem(c->in, c->in_used, "\r\n\r\n", 4);
    if (!stop) {
      if (c->in_used > LARGEST_REQUEST) hang_up(c);
      return;
    }
    size_t n, head = stop + 4 - c->in, body = 0;
    const char *value = header(c->in, stop, "content-length", &n);
    if (value) body = strtoul(value, NULL, 10);
    if (header(c->in, stop, "transfer-encoding", &n) || body > LARGEST_REQUEST) {
      send_page(c, "411 Length Required", "{}", 2);
      hang_up(c);
      return;
    }
    if (c->in_used < head + body) return;
    value = header(c->in, stop, "connection", &n);
    c->last = value && n == 5 && !strncasecmp(value, "close", 5);
    route(c, c->in, c->in + head, c->in + head + body);
    c->in_used -= head + body;
    memmove(c->in, c->in + head + body, c->in_used);
    c->begun = now();
  }
}

static void hear(Conn *c) {
  if (c->fd < 0) return;
  c->in = grow(c->in, &c->in_room, c->in_used + 16384);
  ssize_t n = recv(c->fd, c->in + c->in_used, c->in_room - c->in_used, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    hang_up(c);
    return;
  }
  if (!c->in_used) c->begun = now();
  c->in_used += n;
  take_requests(c);
}

static void flush_out(Conn *c) {
  ssize_t n = send(c->fd, c->out, c->out_used, MSG_NOSIGNAL);
  if (n < 0) return;
  c->out_used -= n;
  memmove(c->out, c->out + n, c->out_used);
  if (c->out_used) return;
  watch(c, false);
  if (c->stalled) enqueue(&running, c);
  c->stalled = false;
  if (!c->answer && c->last) hang_up(c);
}

static void welcome(int listener) {
  int fd, one = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    Conn *c = must(calloc(1, sizeof *c));
    c->fd = fd;
    c->number = ++connections;
    c->accepted = c->begun = now();
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
  }
}

// ---- the process -------------------------------------------------------------------------------------------------

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(fd, (void *)&address, sizeof address) || listen(fd, 4096)) die("listen");
  return fd;
}

static void stay_on(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set)) die("--core");
}

// Waits for a socket or the next deadline. Returns how many sockets have something.
static int await(struct epoll_event *events, int most) {
  struct timespec patience = {0}, *limit = NULL;
  Conn *c = next_due();
  if (c) {
    ns_t at = now();
    ns_t left = c->due > at ? c->due - at : 0;
    patience.tv_sec = left / 1000000000;
    patience.tv_nsec = left % 1000000000;
    limit = &patience;
  }
  int n = epoll_pwait2(poller, events, most, limit, NULL);
  if (n < 0 && errno != EINTR) die("epoll_pwait2");
  return n;
}

int main(int argc, char **argv) {
  int port = 8100, core = -1;
  const char *log = NULL;
  for (int i = 1; i < argc; i += 2) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(name, "--port")) port = atoi(value);
    else if (!strcmp(name, "--ttft-ms")) ttft_ns = atof(value) * 1e6;
    else if (!strcmp(name, "--itl-ms")) itl_ns = atof(value) * 1e6;
    else if (!strcmp(name, "--core")) core = atoi(value);
    else if (!strcmp(name, "--log")) log = value;
    else return fprintf(stderr, "usage: mock [--port N] [--ttft-ms F] [--itl-ms F] [--core N] [--log FILE]\n"), 2;
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  prctl(PR_SET_TIMERSLACK, 1);
  mlockall(MCL_CURRENT);
  if (core >= 0) stay_on(core);

  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, NULL);
  int listener = listen_on(port), signals = signalfd(-1, &ends, SFD_NONBLOCK);
  poller = epoll_create1(0);
  struct epoll_event events[512], e = {.events = EPOLLIN, .data.ptr = &listener};
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
  e.data.ptr = &signals;
  epoll_ctl(poller, EPOLL_CTL_ADD, signals, &e);

  for (bool ended = false; !ended;) {
    int n = await(events, 512);
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr == &signals) ended = true;
      else if (events[i].data.ptr == &listener) welcome(listener);
      else {
        Conn *c = events[i].data.ptr;
        if (c->fd >= 0 && events[i].events & EPOLLOUT) flush_out(c);
        if (events[i].events & ~EPOLLOUT) hear(c);
      }
    }
    take_turns();
    bury();
  }
  if (log) write_truth(log);
  return 0;
}
