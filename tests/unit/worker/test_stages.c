/* Trouble at each stage of a conversation, seen from leases: whatever a receiver does, every message ends once, and what is
 * said of it is what the receiver has. */
#include "proto/esmtp.h"
#include "tests/unit/worker/world.h"

enum { MESSAGES = 6 };
enum stage { GREETING, EHLO, MAIL, RCPT, DATA, DOT, STAGES };
enum kind { FINE, LATER, NO, GO_AWAY, CUT, SILENT, GARBAGE, EARLY, KINDS };
enum mode { LOCKSTEP, PIPELINED, BDAT, AHEAD, MODES };
static const char *const words[STAGES] = {"GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."};
static const char *const replies[KINDS] = {
    NULL, "450 4.7.1 later\r\n", "550 5.7.1 no\r\n", "421 4.3.2 closing\r\n", "!cut", "!silent", "hello\r\n", NULL};
static const char *const ehlos[MODES] = {"250 mx\r\n", "250-mx\r\n250 PIPELINING\r\n",
                                         "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
                                         "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"};

static struct receiver {
    enum stage stage;
    enum kind kind;
    int troubles; /* that are still to come */
    int to[WORLD_CONNS];
    bool mail[WORLD_CONNS], rcpt[WORLD_CONNS], dead[WORLD_CONNS];
    int has[MESSAGES];
} r;

static const char *trouble(const char *usual) {
    static char text[200];
    r.troubles--;
    if (r.kind != EARLY)
        return replies[r.kind];
    (void)rmd_format(text, sizeof text, "%s%s", usual, usual);
    return text;
}

static const char *answer(struct world *x, struct world_conn *c, const char *line) {
    size_t n = (size_t)(c - x->conn);
    bool here = r.troubles > 0 && !strncmp(line, words[r.stage], strlen(words[r.stage]));
    if (!strcmp(line, "GREETING"))
        r.dead[n] = false;
    if (r.dead[n])
        return "!silent";
    if (here && r.kind != EARLY) {
        r.dead[n] = r.kind == CUT || r.kind == SILENT || r.kind == GO_AWAY;
        r.mail[n] &= r.stage != MAIL;
        r.rcpt[n] = false;
        return trouble("");
    }
    if (!strncmp(line, "MAIL", 4)) {
        r.mail[n] = true;
        r.rcpt[n] = false;
        return here ? trouble("250 ok\r\n") : NULL;
    }
    if (!strncmp(line, "RCPT TO:<u", 10)) {
        if (!r.mail[n])
            return "503 5.5.1 no sender\r\n";
        r.to[n] = line[10] - '0';
        r.rcpt[n] = true;
        return here ? trouble("250 ok\r\n") : NULL;
    }
    if (!strcmp(line, "DATA") && !r.rcpt[n])
        return "503 5.5.1 no recipient\r\n";
    if (!strcmp(line, ".")) {
        if (!r.rcpt[n])
            return "503 5.5.1 no recipient\r\n";
        r.has[r.to[n]]++;
        r.mail[n] = r.rcpt[n] = false;
        return here ? trouble("250 queued\r\n") : NULL;
    }
    return here ? trouble(r.stage == GREETING ? "220 mx\r\n" : r.stage == DATA ? "354 go\r\n" : "250 ok\r\n") : NULL;
}

static void one(enum mode m, enum stage s, enum kind k, int troubles) {
    struct world *x = world_ready();
    struct world_policy p;
    world_policy_init(&p);
    p.provider[1].chunking = m == AHEAD ? RMD_CHUNKING_AHEAD : RMD_CHUNKING_ON;
    world_policy(x, &p);
    r = (struct receiver){.stage = s, .kind = k, .troubles = troubles};
    x->answer = answer;
    x->ehlo = ehlos[m];
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = MESSAGES});
    world_run(x, 1200000);
    assert_int_equal(x->outcomes, MESSAGES);
    size_t away = 0, uncertain = 0;
    for (size_t i = 0; i < x->outcomes; i++) {
        const struct world_outcome *o = &x->outcome[i];
        int has = r.has[o->index];
        bool right = o->kind == RMD_OUTCOME_DELIVERED   ? has == 1
                     : o->kind == RMD_OUTCOME_UNCERTAIN ? has <= 1
                                                        : has == 0;
        if (!right)
            fail_msg("mode %d, %s, trouble %d: message %u is told as %u, and the receiver has it %d times", m,
                     words[s], k, o->index, o->kind, has);
        away += o->kind != RMD_OUTCOME_DELIVERED;
        uncertain += o->kind == RMD_OUTCOME_UNCERTAIN;
    }
    /* Trouble within a transaction is that message's alone; uncertain is only what had left. */
    if (s >= MAIL)
        assert_true(away <= (size_t)troubles + (k == EARLY));
    assert_true(!uncertain || s == DOT || m == AHEAD || (k == EARLY && s == DATA));
    if (k == FINE)
        assert_int_equal(away, 0);
    if (k == NO && s >= MAIL)
        assert_int_equal(world_count(x, RMD_OUTCOME_BOUNCED, 0), 1);
    if (k == NO && s < MAIL)
        assert_int_equal(world_count(x, RMD_OUTCOME_BOUNCED, 0), 0); /* about us, not about a recipient */
    world_free(x);
}

static void every_message_ends_once_as_the_receiver_has_it(void **state) {
    (void)state;
    for (int m = 0; m < MODES; m++)
        for (int s = 0; s < STAGES; s++)
            for (int k = 0; k < KINDS; k++) {
                bool bdat = m == BDAT || m == AHEAD;
                if ((bdat && s == DATA) ||
                    (bdat && k == EARLY && s > GREETING)) /* nothing tells of a reply too many there */
                    continue;
                one((enum mode)m, (enum stage)s, (enum kind)k, k != FINE);
            }
}

static void a_message_that_left_ahead_was_marked_before(void **state) {
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        struct world *x = world_ready();
        struct world_policy p;
        world_policy_init(&p);
        p.provider[1].chunking = ahead ? RMD_CHUNKING_AHEAD : RMD_CHUNKING_ON;
        world_policy(x, &p);
        r = (struct receiver){.stage = MAIL, .kind = SILENT, .troubles = 1};
        x->answer = answer;
        x->ehlo = ehlos[BDAT];
        world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1});
        world_run(x, 1000);
        assert_int_equal(x->marks[1], 1);
        assert_int_equal(x->marks[2], ahead); /* a crash now: nobody has it, or nobody knows */
        world_run(x, 1200000);
        assert_int_equal(x->outcome[0].kind, ahead ? RMD_OUTCOME_UNCERTAIN : RMD_OUTCOME_DEFERRED);
        world_free(x);
    }
}

static void a_stop_waits_for_what_left_ahead(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    world_policy_init(&p);
    p.provider[1].chunking = RMD_CHUNKING_AHEAD;
    world_policy(x, &p);
    r = (struct receiver){.stage = RCPT, .kind = SILENT, .troubles = 1};
    x->answer = answer;
    x->ehlo = ehlos[AHEAD];
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1});
    world_run(x, 1000);
    p.source[0].quarantined = true;
    world_policy(x, &p);
    assert_int_equal(x->outcomes, 0); /* what left isn't given back as if it hadn't */
    world_run(x, 1200000);
    assert_int_equal(x->outcome[0].kind, RMD_OUTCOME_UNCERTAIN);
    world_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_ends_once_as_the_receiver_has_it),
        cmocka_unit_test(a_message_that_left_ahead_was_marked_before),
        cmocka_unit_test(a_stop_waits_for_what_left_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
