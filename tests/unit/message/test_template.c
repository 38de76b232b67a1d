/* Compiling templates: what is refused and what the operator reads, what is kept, and how much work is left for
 * rendering. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/io/template_compile.h"
#include "proto/qp.h"

static const char *const columns[] = {"name", "First Name"};

struct compiled {
    int rc;
    struct rmd_buf bytes, err;
    struct rmd_template_info info;
    struct rmd_arena arena;
    const Remuda__CompiledTemplate *t;
};

static void compile(struct compiled *c, struct rmd_slice eml, const char *sending_domain) {
    *c = (struct compiled){.rc = 0};
    c->rc = rmd_template_compile(eml, columns, 2, sending_domain, &c->bytes, &c->info, &c->err);
    if (c->rc == RMD_OK)
        c->t = rmd_pb_decode(&remuda__compiled_template__descriptor, rmd_buf_slice(&c->bytes), &c->arena);
}

static void release(struct compiled *c) {
    rmd_buf_release(&c->bytes);
    rmd_buf_release(&c->err);
    rmd_arena_release(&c->arena);
}

static void compile_ok(struct compiled *c, const char *eml) {
    compile(c, rmd_slice_str(eml), "");
    if (c->rc != RMD_OK)
        fail_msg("refused: %s", rmd_buf_str(&c->err));
    assert_non_null(c->t);
}

/* ---------------------------------------------------------------- refused */

#define F "From: a@news.example\n"

static void findings(void **state) {
    (void)state;
    static const struct {
        const char *eml, *finding;
    } rows[] = {
        {"", "line 1: there is no From: field"},
        {"\nHello\n", "line 1: there is no From: field"},
        {"Subject: x\n\nHello\n", "line 1: there is no From: field"},
        {"From: nobody\n\nx\n", "line 1: From: the address \"nobody\""},
        {"From: a@news.example, b@news.example\n\nx\n", "line 1: From has 2 addresses"},
        {"From: {{name}} <{{email}}>\n\nx\n", "line 1: From: the address can't be a field"},
        {F "List-Unsubscribe-Post: List-Unsubscribe=One-Click\n\nx\n", "line 2: List-Unsubscribe-Post needs"},
        {F "List-Unsubscribe-Post: List-Unsubscribe=One-Click\nList-Unsubscribe: <mailto:u@news.example>\n\nx\n",
         "line 2: List-Unsubscribe-Post needs"},
        {"From: <{{name}}@news.example>\n\nx\n", "line 1: From: an address is either one whole field"},
        {"From: a@other.example\n\nx\n",
         "line 1: From: other.example is neither the stream's sending domain news.example"},
        {"From: a@xnews.example\n\nx\n", "neither the stream's"},
        {F F "\nx\n", "line 2: From is there already, in line 1"},
        {F "Bcc: x@y.example\n\nx\n", "line 2: Bcc can't be in a template"},
        {F "return-path: <x@y.example>\n\nx\n", "line 2: Return-Path can't be"},
        {F "DKIM-Signature: v=1\n\nx\n", "line 2: DKIM-Signature can't be"},
        {F "Message-ID: <x@y.example>\n\nx\n", "line 2: Message-ID can't be"},
        {F "this is no header\n\nx\n", "line 2: \"this is no header\" is not a header field"},
        {F "Subject : x\n\nx\n", "line 2: \"Subject : x\" is not a header field"},
        {" continued\n\nx\n", "line 1: \" continued\" is not a header field"},
        {F "Subject: {{frist}}\n\nx\n",
         "line 2: {{frist}} in Subject is not a column; there are: email, name, First Name"},
        {F "\none\ntwo {{frist}}\n", "line 4: {{frist}} in the text is not a column"},
        {F "\n{{Name}}\n", "line 3: {{Name}} in the text is not a column"},
        {F "\n\n{{name}\n", "line 4: \"{{\" in the text is not closed"},
        {F "Subject: {{name\n\nx\n", "line 2: \"{{\" in Subject is not closed"},
        {F "\n{{na\nme}}\n", "line 3: \"{{\" in the text is not closed"},
        {F "\n{{}}\n", "line 3: {{}} in the text is not a column"},
        {F "\n{{#if x}}\n", "line 3: {{#if x}} in the text is not a column"},
        {F "Date: {{name}}\n\nx\n", "line 2: Date can't have fields"},
        {F "List-Id: {{name}}\n\nx\n", "line 2: List-Id can't have fields"},
        {F "Content-Type: text/{{name}}\n\nx\n", "Content-Type can't have fields"},
        {F "Content-Type: text/plain; charset=klingon\n\nx\n", "can't be turned from charset \"klingon\""},
        {F "Content-Type: text/plain; charset=utf-8\n\n\xff\n", "line 2: the text is not valid UTF-8"},
        {F "\n\xe9\n", "the text is not valid UTF-8; its Content-Type must name its charset"},
        {F "Subject: \xe9\n\nx\n", "line 2: Subject is neither ASCII nor UTF-8"},
        {F "Content-Type: multipart/mixed\n\nx\n", "a multipart without parts"},
        {F "Content-Type: multipart/mixed; boundary=b\n\nx\n", "a multipart without parts"},
        {F "Content-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b\n\ny\n--b--\n",
         "line 2: a part that is signed"},
        {F "Reply-To: <x{{name}}@y.example>\n\nx\n", "line 2: Reply-To: an address is either one whole field"},
        {F "Reply-To: a@b@c\n\nx\n", "line 2: Reply-To"},
        {F "Content-Type: text/plain; ch\xc3\xa9=x; charset=utf-8\n\n\xc3\xa9 {{name}}\n",
         "Content-Type or Content-Disposition of a part is malformed"},
        {F "To: \\{{x@nodot\n\nx\n", "line 2: To: the address \"\\{{x@nodot\" has a domain without a dot"},
        {F "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\nContent-Type: "
           "text/html\n\nx\n--b--\n",
         "is in one part twice"},
        {F "To: friends: a@b.example;\n\nx\n", "line 2: To has a group"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct compiled c;
        compile(&c, rmd_slice_str(rows[i].eml), "news.example");
        if (c.rc != RMD_EINVAL || !strstr(rmd_buf_str(&c.err), rows[i].finding))
            fail_msg("row %zu: %d, \"%s\" doesn't say \"%s\"", i, c.rc, rmd_buf_str(&c.err), rows[i].finding);
        assert_int_equal(c.bytes.len, 0);
        release(&c);
    }
}

static void every_finding_is_told_up_to_a_limit(void **state) {
    (void)state;
    struct rmd_buf eml = {0};
    struct compiled c;
    rmd_buf_addstr(&eml, F "\n");
    for (int i = 0; i < RMD_TEMPLATE_FINDINGS_MAX + 50; i++)
        rmd_buf_addf(&eml, "{{x%d}}\n", i);
    compile(&c, rmd_buf_slice(&eml), "");
    assert_int_equal(c.rc, RMD_EINVAL);
    assert_non_null(strstr(rmd_buf_str(&c.err), "line 102: {{x99}}"));
    assert_null(strstr(rmd_buf_str(&c.err), "{{x100}}"));
    assert_non_null(strstr(rmd_buf_str(&c.err), "and 50 more\n"));
    release(&c);
    rmd_buf_release(&eml);
}

static void limits(void **state) {
    (void)state;
    struct compiled c;
    struct rmd_buf eml = {0};
    compile(&c, rmd_slice(F "\nx\0y\n", sizeof F + 4), "");
    assert_non_null(strstr(rmd_buf_str(&c.err), "line 3: a NUL byte"));
    release(&c);
    rmd_buf_addstr(&eml, F "Content-Type: multipart/mixed; boundary=b\n\n");
    for (int i = 0; i < RMD_TEMPLATE_PARTS_MAX + 5; i++)
        rmd_buf_addstr(&eml, "--b\n\nx\n");
    rmd_buf_addstr(&eml, "--b--\n");
    compile(&c, rmd_buf_slice(&eml), "");
    assert_non_null(strstr(rmd_buf_str(&c.err), "more than 200 parts"));
    release(&c);
    rmd_buf_clear(&eml);
    rmd_buf_addstr(&eml, F);
    for (int i = 0; i < 100000; i++)
        rmd_buf_addf(&eml, "%sContent-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", "", i, i);
    compile(&c, rmd_buf_slice(&eml), "");
    assert_int_equal(c.rc, RMD_EINVAL); /* and not a stack that ran out */
    release(&c);
    rmd_buf_clear(&eml);
    rmd_buf_addstr(&eml, F "X: ");
    for (int i = 0; i < 70000; i++)
        rmd_buf_addc(&eml, 'x');
    compile(&c, rmd_buf_slice(&eml), "");
    assert_non_null(strstr(rmd_buf_str(&c.err), "the header has more than"));
    release(&c);
    struct rmd_buf huge = {0};
    rmd_buf_reserve(&huge, RMD_TEMPLATE_MAX_BYTES + 1);
    memset(huge.p, 'x', RMD_TEMPLATE_MAX_BYTES + 1);
    compile(&c, rmd_slice(huge.p, RMD_TEMPLATE_MAX_BYTES + 1), "");
    assert_non_null(strstr(rmd_buf_str(&c.err), "at most 25165824 are possible"));
    release(&c);
    rmd_buf_release(&huge);
    rmd_buf_release(&eml);
}

/* ---------------------------------------------------------------- kept */

static const Remuda__TemplateHeader *header(const struct compiled *c, const char *name) {
    for (size_t i = 0; i < c->t->n_header; i++)
        if (strcmp(c->t->header[i]->name, name) == 0)
            return c->t->header[i];
    fail_msg("no %s", name);
    return NULL;
}

static void assert_literal(const struct compiled *c, const char *name, const char *value) {
    const Remuda__TemplateHeader *h = header(c, name);
    assert_true(h->literal);
    assert_int_equal(h->n_value, 1);
    struct rmd_slice v = rmd_slice(h->value[0]->literal.data, h->value[0]->literal.len);
    if (!rmd_slice_eq(v, rmd_slice_str(value)))
        fail_msg("%s is \"%.*s\", not \"%s\"", name, (int)v.n, (const char *)v.p, value);
}

/* The bytes that are ready, with [n] where a field is. */
static void body(const struct compiled *c, struct rmd_buf *out) {
    for (size_t i = 0; i < c->t->n_body; i++) {
        const Remuda__BodyOp *op = c->t->body[i];
        rmd_buf_add(out, op->ready.data, op->ready.len);
        for (size_t k = 0; k < op->n_text; k++)
            rmd_buf_addf(out, "[%u%s%.*s]", op->text[k]->field, op->text[k]->fallback.len ? "|" : "",
                         (int)op->text[k]->fallback.len, (const char *)op->text[k]->fallback.data);
    }
}

static void assert_body(const char *eml, const char *expected) {
    struct compiled c;
    struct rmd_buf b = {0};
    compile_ok(&c, eml);
    body(&c, &b);
    assert_string_equal(rmd_buf_str(&b), expected);
    rmd_buf_release(&b);
    release(&c);
}

static void ready_fields_are_kept(void **state) {
    (void)state;
    struct compiled c;
    compile_ok(&c, "From: \"A. Person\"\n <a@news.example>\nSubject: =?utf-8?q?=C3=A9?=\n folded\nX-Empty:\nX-A: "
                   "b\r\n\nHello\n");
    assert_literal(&c, "From", "\"A. Person\"\r\n <a@news.example>");
    assert_literal(&c, "Subject", "=?utf-8?q?=C3=A9?=\r\n folded");
    assert_literal(&c, "X-Empty", "");
    assert_literal(&c, "X-A", "b");
    assert_literal(&c, "MIME-Version", "1.0");
    assert_literal(&c, "Content-Transfer-Encoding", "7bit");
    assert_string_equal(c.info.from, "a@news.example");
    assert_string_equal(c.info.from_domain, "news.example");
    assert_string_equal(c.info.subject, "é folded");
    assert_false(c.t->needs_8bitmime);
    release(&c);
    compile(&c, rmd_slice_str("From: a@Mail.News.Example\n\nx\n"), "news.example");
    assert_int_equal(c.rc, RMD_OK);
    assert_string_equal(c.info.from_domain, "mail.news.example");
    release(&c);
}

static void fields_of_the_header(void **state) {
    (void)state;
    struct compiled c;
    compile_ok(&c, "From: \"The {{name|x, y}}\" <a@news.example>\nSubject: A {{First Name | friend }} \\{{b}}\nTo: "
                   "{{email}}\n\nx\n");
    assert_int_equal(c.t->n_column, 3);
    const Remuda__TemplateHeader *from = header(&c, "From"), *subject = header(&c, "Subject"), *to = header(&c, "To");
    assert_true(from->structured && from->n_mailbox == 1 && from->mailbox[0]->n_display == 2);
    assert_memory_equal(from->mailbox[0]->display[0]->literal.data, "The ", 4);
    assert_string_equal(c.t->column[from->mailbox[0]->display[1]->field - 1], "name");
    assert_int_equal(from->mailbox[0]->display[1]->fallback.len, 4);
    assert_int_equal(subject->n_value, 4);
    assert_string_equal(c.t->column[subject->value[1]->field - 1], "First Name");
    assert_memory_equal(subject->value[1]->fallback.data, "friend", 6);
    assert_memory_equal(subject->value[3]->literal.data, "{{b}}", 5);
    assert_true(to->n_mailbox == 1 && to->mailbox[0]->n_display == 0);
    assert_string_equal(c.t->column[to->mailbox[0]->address[0]->field - 1], "email");
    release(&c);
}

static void bodies(void **state) {
    (void)state;
    /* kept as they are */
    assert_body(F "\nplain text\n.\n-- \n", "plain text\r\n.\r\n-- \r\n");
    assert_body(F "Content-Transfer-Encoding: quoted-printable\n\na=C3=A9=\nb\n", "a=C3=A9=\r\nb\r\n");
    assert_body(F "Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\nSGVsbG8=\n",
                "SGVsbG8=\r\n");
    assert_body(F "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\nAAECAw==\n",
                "AAECAw==\r\n");
    /* not fit for 7 bits */
    assert_body(F "Content-Transfer-Encoding: 8bit\nContent-Type: text/plain; charset=utf-8\n\né\n", "=C3=A9\r\n");
    assert_body(F "Content-Transfer-Encoding: 8bit\nContent-Type: text/plain; charset=iso-8859-1\n\n\xe9\n",
                "=E9\r\n");
    assert_body(F "Content-Transfer-Encoding: binary\nContent-Type: application/x\n\n\xe9\n", "6Qo=\r\n");
    /* with fields: UTF-8, quoted-printable, only the values left to do */
    assert_body(F "\nDear {{name}},\n\n.Hi {{ email }}{{name|x}} \\{{y}}\n",
                "Dear [1],\r\n\r\n=2EHi [2][1|x] {{y}}\r\n");
    assert_body(F "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n\xe9 {{name}}\n",
                "=C3=A9 [1]\r\n");
    assert_body(F "Content-Transfer-Encoding: base64\n\nSGkge3tuYW1lfX0K\n", "Hi [1]\r\n");
    assert_body(F "Content-Transfer-Encoding: quoted-printable\n\nHi {{na=\nme}}\n", "Hi [1]\r\n");
    assert_body(F "Content-Disposition: attachment\n\n{{name}}\n", "{{name}}\r\n");
}

static void a_long_line_is_encoded(void **state) {
    (void)state;
    struct rmd_buf eml = {0}, b = {0};
    struct compiled c;
    rmd_buf_addstr(&eml, F "\n");
    for (int i = 0; i < 999; i++)
        rmd_buf_addc(&eml, 'x');
    rmd_buf_addstr(&eml, "\n");
    compile_ok(&c, rmd_buf_str(&eml));
    assert_literal(&c, "Content-Transfer-Encoding", "quoted-printable");
    body(&c, &b);
    assert_null(
        strstr(rmd_buf_str(&b), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"));
    rmd_buf_release(&b);
    rmd_buf_release(&eml);
    release(&c);
}

/* Boundaries are made anew, the same for the same template, and not what the template said. */
static void boundaries(void **state) {
    (void)state;
    static const char eml[] = F "Content-Type: multipart/mixed; boundary=\"mine\"\n\n--mine\n\none\n--mine\n"
                                "Content-Type: message/rfc822\n\nSubject: inner\n\n{{x}}\n--mine--\n";
    struct compiled c, d;
    struct rmd_buf b = {0};
    compile_ok(&c, eml);
    compile_ok(&d, eml);
    assert_true(rmd_slice_eq(rmd_buf_slice(&c.bytes), rmd_buf_slice(&d.bytes)));
    body(&c, &b);
    assert_null(strstr(rmd_buf_str(&b), "mine"));
    assert_true(strncmp(rmd_buf_str(&b), "--=_", 4) == 0);
    assert_non_null(strstr(rmd_buf_str(&b), "\r\n\r\nSubject: inner\r\n\r\n{{x}}\r\n--=_"));
    rmd_buf_release(&b);
    release(&c);
    release(&d);
}

/* ---------------------------------------------------------------- quoted-printable */

static void quoted_printable(void **state) {
    (void)state;
    static const struct {
        const char *text, *encoded;
    } rows[] = {
        {"", ""},
        {"a=b", "a=3Db"},
        {"a \nb\t\n ", "a=20\r\nb=09\r\n=20"},
        {"a\r\nb\rc\nd", "a\r\nb\r\nc\r\nd"},
        {".\n..\n-\n--b\nFrom x\nFrom\n", "=2E\r\n=2E.\r\n=2D\r\n=2D-b\r\n=46rom x\r\nFrom\r\n"},
        {"é", "=C3=A9"},
        {"123456789012345678901234567890123456789012345678901234567890123456789012345",
         "123456789012345678901234567890123456789012345678901234567890123456789012345"},
        {"1234567890123456789012345678901234567890123456789012345678901234567890123456",
         "123456789012345678901234567890123456789012345678901234567890123456789012345=\r\n6"},
        {"123456789012345678901234567890123456789012345678901234567890123456789012345.",
         "123456789012345678901234567890123456789012345678901234567890123456789012345=\r\n=2E"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234 ",
         "12345678901234567890123456789012345678901234567890123456789012345678901234=\r\n=20"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rmd_buf out = {0};
        struct rmd_qp q = {.out = &out};
        rmd_qp_text(&q, rows[i].text, strlen(rows[i].text));
        rmd_qp_finish(&q);
        assert_string_equal(rmd_buf_str(&out), rows[i].encoded);
        rmd_buf_release(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(findings),
        cmocka_unit_test(every_finding_is_told_up_to_a_limit),
        cmocka_unit_test(limits),
        cmocka_unit_test(ready_fields_are_kept),
        cmocka_unit_test(fields_of_the_header),
        cmocka_unit_test(bodies),
        cmocka_unit_test(a_long_line_is_encoded),
        cmocka_unit_test(boundaries),
        cmocka_unit_test(quoted_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
