/* Replies in pieces: however a network cuts them, the client says and tells the same. */
#include "tests/unit/smtp/server.h"

static struct talk whole(enum mode m, enum stage s, enum kind k) {
    struct talk t = {.s = {.mode = m, .stage = s, .kind = k}};
    run(&t);
    return t;
}

static void same(const struct talk *a, const struct talk *b) {
    assert_string_equal(rmd_buf_str(&((struct talk *)(uintptr_t)a)->s.heard),
                        rmd_buf_str(&((struct talk *)(uintptr_t)b)->s.heard));
    assert_int_equal(a->done, b->done);
    assert_int_equal(a->s.accepted, b->s.accepted);
    for (int i = 0; i < a->done; i++) {
        assert_int_equal(a->result[i].end, b->result[i].end);
        assert_int_equal(a->result[i].own, b->result[i].own);
        assert_int_equal(a->result[i].reply.code, b->result[i].reply.code);
        assert_int_equal(a->result[i].reply.stage, b->result[i].reply.stage);
        assert_string_equal(a->result[i].reply.enhanced, b->result[i].reply.enhanced);
    }
    assert_int_equal(a->close.own, b->close.own);
    assert_int_equal(a->close.reply.code, b->close.reply.code);
}

/* Replies of whole conversations, refusals included, cut in two after every byte. */
static void a_reply_split_at_any_byte(void **state) {
    (void)state;
    static const enum stage stages[] = {GREETING, EHLO, STARTTLS, MAIL, RCPT, DATA, DOT};
    for (int m = 0; m < MODES; m++)
        for (size_t s = 0; s < sizeof stages / sizeof *stages; s++)
            for (int k = FINE; k <= GO_AWAY && happens((enum mode)m, stages[s]); k++) {
                struct talk one = whole((enum mode)m, stages[s], (enum kind)k);
                for (size_t at = 1; at < one.fed; at++) {
                    struct talk t = {.s = {.mode = (enum mode)m, .stage = stages[s], .kind = (enum kind)k},
                                     .cut_at = at};
                    run(&t);
                    same(&t, &one);
                    end(&t);
                }
                end(&one);
            }
}

/* The three replies of a group that left together, and a refusal among them, in all 2^n segmentations: each a bit
 * pattern of where the stream is cut. */
static void a_group_in_every_segmentation(void **state) {
    (void)state;
    static const struct {
        const char *replies;
        enum rmd_smtp_end end;
        enum rmd_stage stage;
        bool needs_content;
    } rows[] = {
        {"250\r\n250\r\n354\r\n", RMD_SMTP_FAILED, RMD_STAGE_NONE, true},
        {"250\r\n550\r\n503\r\n", RMD_SMTP_REFUSED, RMD_STAGE_RCPT, false},
        {"450\r\n503\r\n503\r\n", RMD_SMTP_REFUSED, RMD_STAGE_MAIL, false},
        {"250 a\r\n421\r\n", RMD_SMTP_REFUSED, RMD_STAGE_RCPT, false},
        {"250\n250-\n250\n354 \n", RMD_SMTP_FAILED, RMD_STAGE_NONE, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].replies);
        for (uint32_t bits = 0; bits < 1u << (n - 1); bits++) {
            struct rmd_smtp *c = rmd_smtp_new(&(struct rmd_smtp_options){.helo = "h"}, 1);
            enum rmd_own_error why;
            rmd_smtp_bytes(c, rmd_slice_str("220 mx\r\n"), 1);
            (void)rmd_smtp_next(c, 1);
            rmd_smtp_bytes(c, rmd_slice_str("250-mx\r\n250 PIPELINING\r\n"), 1);
            assert_int_equal(
                rmd_smtp_mail(c, &(struct rmd_smtp_mail){.mail_from = "a@b.c", .rcpt_to = "d@e.f"}, &why, 1), RMD_OK);
            assert_int_equal(rmd_smtp_next(c, 1).kind, RMD_SMTP_SEND);
            struct rmd_smtp_result r = {0};
            bool content = false, told = false;
            for (size_t from = 0, to = 1; to <= n; to++) {
                if (to < n && !(bits >> (to - 1) & 1))
                    continue;
                rmd_smtp_bytes(c, rmd_slice(rows[i].replies + from, to - from), 1);
                from = to;
                struct rmd_smtp_action a;
                while ((a = rmd_smtp_next(c, 1)).kind != RMD_SMTP_NOTHING && a.kind != RMD_SMTP_IDLE && !content) {
                    if (a.kind == RMD_SMTP_DONE) {
                        assert_false(told);
                        told = true;
                        r = a.result;
                    }
                    content = a.kind == RMD_SMTP_NEED_CONTENT;
                    if (a.kind == RMD_SMTP_CLOSE)
                        break;
                }
            }
            if (content != rows[i].needs_content || told == content ||
                (told && (r.end != rows[i].end || r.reply.stage != rows[i].stage)))
                fail_msg("row %zu, cuts %x: content %d, end %d at %d", i, bits, content, r.end, r.reply.stage);
            rmd_smtp_free(c);
        }
    }
}

/* Whole conversations, every mode and stage, in random pieces. */
static void conversations_in_random_pieces(void **state) {
    (void)state;
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 2920);
    for (int m = 0; m < MODES; m++)
        for (int s = 0; s < STAGES; s++)
            for (int k = FINE; k <= GO_AWAY && happens((enum mode)m, (enum stage)s); k++) {
                struct talk one = whole((enum mode)m, (enum stage)s, (enum kind)k);
                for (int i = 0; i < 50; i++) {
                    struct talk t = {.s = {.mode = (enum mode)m, .stage = (enum stage)s, .kind = (enum kind)k},
                                     .cuts = &rng};
                    run(&t);
                    same(&t, &one);
                    end(&t);
                }
                end(&one);
            }
}

/* --- BDAT */

static void bdat_is_as_it_is(void **state) {
    (void)state;
    struct talk t = whole(BDAT_PIPELINED, STAGES, FINE), ahead = whole(AHEAD, STAGES, FINE);
    assert_non_null(strstr(rmd_buf_str(&t.s.heard),
                           "RCPT TO:<u@example.net>\r\nBDAT 25 LAST\r\nSubject: x\r\n\r\n.dot\r\nend\r\nMAIL"));
    assert_string_equal(rmd_buf_str(&t.s.heard), rmd_buf_str(&ahead.s.heard));
    assert_null(strstr(rmd_buf_str(&t.s.heard), "DATA"));
    end(&t);
    end(&ahead);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_split_at_any_byte),
        cmocka_unit_test(a_group_in_every_segmentation),
        cmocka_unit_test(conversations_in_random_pieces),
        cmocka_unit_test(bdat_is_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
