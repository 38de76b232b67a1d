/* For tests of the herd's world: a scenario of one receiver from its rules, and one message at a time. */
#ifndef REMUDA_TEST_HERD_KIT_H
#define REMUDA_TEST_HERD_KIT_H

#include "tests/sim/herd/world.h"

#define KIT_HEAD "scenario { name = test; days = 60; about = test }\n"
#define KIT_SOURCES                                                         \
    "sources s { host = n1; pool = p; first = \"20.0.1.10\"; count = 2 }\n" \
    "sources t { host = n2; pool = p; first = \"20.0.2.10\"; count = 1 }\n" \
    "sources old { host = n2; pool = p; first = \"20.0.3.10\"; count = 1; age_days = 400; usual_per_day = 100 }\n"
#define KIT_STREAM "stream m { tenant = a; pool = p; domain = m.example }\n"
#define KIT_LIST "list l { size = 100k; mix { r = 100% } }\n"
#define KIT_CAMPAIGN "campaign c { stream = m; list = l; at = 0; rows = 20k }\n"
#define KIT_RECEIVER(rules) "receiver r { mx = [mx.r.example]; domains = [r.example]; latency = 1; " rules " }\n"
#define KIT_WORLD(rules) KIT_HEAD KIT_SOURCES KIT_STREAM KIT_LIST KIT_CAMPAIGN KIT_RECEIVER(rules)
#define C "cites = \"a\"; "

struct kit {
    struct herd_scenario *s;
    struct herd_world *w;
    char reply[400];
    bool closed;
    uint32_t row; /* the next message */
};

void kit_open(struct kit *k, const char *text, uint64_t seed);
void kit_close(struct kit *k);
/* One message in a connection of its own; the code that ended it. kit->reply has its text. */
int kit_send(struct kit *k, uint32_t source, int64_t now_ms);
int kit_send_row(struct kit *k, uint32_t source, uint32_t campaign, uint32_t row, int64_t now_ms);
/* n messages; how many were accepted. */
int kit_send_many(struct kit *k, uint32_t source, int n, int64_t now_ms);
/* The next row of campaign 0 whose recipient is of this kind. */
uint32_t kit_row_of(struct kit *k, enum herd_kind kind);

#endif
