/* Rendering: what a message looks like, what values can't do to it, and what receivers can read back (with GMime,
 * which shares nothing with our encoder). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <gmime/gmime.h>

#include <base/text.h>

#include "node/io/verify_opendkim.h"
#include "proto/io/sign_openssl.h"
#include "tests/kit/message_kit.h"
#include "tests/kit/sign_fake.h"

#define FROM "From: News <news@news.example>\n"

static void open_template(struct kit_campaign *k, const char *eml, const char *const *columns) {
    int rc = kit_campaign_open(k, rmd_slice_str(eml), columns, rmd_sign_openssl());
    if (rc != RMD_OK)
        fail_msg("template refused: %s", k->err);
}

/* Renders, and keeps every promise while at it. */
static void render(struct kit_campaign *k, const char *email, const struct rmd_slice *values, size_t n,
                   struct kit_message *m) {
    int rc = kit_campaign_render(k, email, values, n);
    if (rc != RMD_OK)
        fail_msg("not rendered: %s", k->err);
    const char *why = kit_message_check(k->out.message, m);
    if (why)
        fail_msg("%s in:\n%.*s", why, (int)k->out.message.n, (const char *)k->out.message.p);
}

static void assert_header(const struct kit_message *m, const char *name, const char *value) {
    struct rmd_slice v = kit_message_header(m, name, 0);
    if (!rmd_slice_eq(v, rmd_slice_str(value)))
        fail_msg("%s is \"%.*s\", not \"%s\"", name, (int)v.n, (const char *)v.p, value);
}

/* ---------------------------------------------------------------- reading back */

static GMimeMessage *parse(struct rmd_slice bytes) {
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer((const char *)bytes.p, bytes.n);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *m = g_mime_parser_construct_message(parser, NULL);
    g_object_unref(parser);
    g_object_unref(stream);
    assert_non_null(m);
    return m;
}

/* Decoded bytes of the k-th leaf. */
static void leaf_text(GMimeObject *o, int *k, struct rmd_buf *out) {
    if (GMIME_IS_MULTIPART(o)) {
        for (int i = 0; i < g_mime_multipart_get_count(GMIME_MULTIPART(o)); i++)
            leaf_text(g_mime_multipart_get_part(GMIME_MULTIPART(o), i), k, out);
    } else if (GMIME_IS_PART(o) && (*k)-- == 0) {
        GMimeStream *mem = g_mime_stream_mem_new();
        g_mime_data_wrapper_write_to_stream(g_mime_part_get_content(GMIME_PART(o)), mem);
        GByteArray *a = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(mem));
        rmd_buf_add(out, a->data, a->len);
        g_object_unref(mem);
    }
}

static void assert_leaf(struct rmd_slice message, int k, const char *expected) {
    GMimeMessage *m = parse(message);
    struct rmd_buf text = {0};
    leaf_text(g_mime_message_get_mime_part(m), &k, &text);
    g_object_unref(m);
    assert_string_equal(rmd_buf_str(&text), expected);
    rmd_buf_release(&text);
}

static void assert_subject(struct rmd_slice message, const char *expected) {
    GMimeMessage *m = parse(message);
    assert_string_equal(g_mime_message_get_subject(m), expected);
    g_object_unref(m);
}

/* ---------------------------------------------------------------- stories */

static void a_plain_message(void **state) {
    (void)state;
    static const char *const columns[] = {"name", "city", NULL};
    struct kit_campaign k;
    struct kit_message m;
    open_template(
        &k, FROM "To: {{name}} <{{email}}>\nSubject: Hello {{ name }}\n\nDear {{name|friend}},\n\nhow is {{city}}?\n",
        columns);
    struct rmd_slice v[] = {rmd_slice_str("Anna"), rmd_slice_str("Zürich")};
    render(&k, "anna@there.example", v, 2, &m);
    assert_header(&m, "From", "News <news@news.example>");
    assert_header(&m, "To", "Anna <anna@there.example>");
    assert_header(&m, "Subject", "Hello Anna");
    assert_header(&m, "Date", "Sun, 23 Nov 2025 12:13:20 +0000");
    assert_header(&m, "MIME-Version", "1.0");
    assert_header(&m, "Content-Transfer-Encoding", "quoted-printable");
    assert_header(&m, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
    assert_leaf(k.out.message, 0, "Dear Anna,\r\n\r\nhow is Zürich?\r\n");
    assert_false(k.out.has_8bit);
    assert_false(k.out.needs_smtputf8);
    assert_string_equal(k.out.rcpt_to, "anna@there.example");
    v[0] = rmd_slice_str("  ");
    render(&k, "anna@there.example", v, 2, &m);
    assert_leaf(k.out.message, 0, "Dear friend,\r\n\r\nhow is Zürich?\r\n");
    assert_header(&m, "To", "anna@there.example");
    kit_campaign_close(&k);
}

/* The token names the message everywhere, and a retry renders the same bytes. */
static void the_token_is_everywhere(void **state) {
    (void)state;
    static const char *const columns[] = {NULL};
    struct kit_campaign k;
    struct kit_message m;
    struct rmd_buf first = {0};
    char token[64], expected[300];
    open_template(&k, FROM "\nHello {{email}}\n", columns);
    render(&k, "a@there.example", NULL, 0, &m);
    assert_true(strncmp(k.out.mail_from, "b+", 2) == 0);
    char *at = strchr(k.out.mail_from, '@');
    assert_string_equal(at, "@return.news.example");
    assert_true(
        rmd_copy_slice(token, sizeof token, rmd_slice(k.out.mail_from + 2, (size_t)(at - k.out.mail_from - 2))));
    struct rmd_id id;
    char mac[16];
    assert_int_equal(rmd_verp_parse(rmd_slice_str(token), &id, mac), RMD_OK);
    assert_int_equal(rmd_id_ordinal(&id), 7);
    assert_true(rmd_format(expected, sizeof expected, "<%s@news.example>", token) > 0);
    assert_header(&m, "Message-ID", expected);
    assert_true(rmd_format(expected, sizeof expected,
                           "<https://u.news.example/r/%s>,\r\n <mailto:unsubscribe+%s@return.news.example>", token,
                           token) > 0);
    assert_header(&m, "List-Unsubscribe", expected);
    assert_header(&m, "To", "a@there.example");
    struct rmd_slice feedback = kit_message_header(&m, "Feedback-ID", 0);
    assert_true(feedback.n > 26 && memcmp(feedback.p + 26, ":bulk:1:remuda", 14) == 0);
    rmd_buf_add(&first, k.out.message.p, k.out.message.n);
    render(&k, "a@there.example", NULL, 0, &m);
    assert_true(rmd_slice_eq(rmd_buf_slice(&first), k.out.message));
    k.stream.verp_secret = rmd_slice_str("another");
    render(&k, "a@there.example", NULL, 0, &m);
    assert_false(rmd_slice_eq(rmd_buf_slice(&first), k.out.message));
    rmd_buf_release(&first);
    kit_campaign_close(&k);
}

static void one_click_needs_https(void **state) {
    (void)state;
    static const char *const columns[] = {NULL};
    struct kit_campaign k;
    struct kit_message m;
    open_template(&k, FROM "\nHello\n", columns);
    k.stream.unsubscribe_url = "";
    render(&k, "a@there.example", NULL, 0, &m);
    assert_non_null(kit_message_header(&m, "List-Unsubscribe", 0).p);
    assert_null(kit_message_header(&m, "List-Unsubscribe-Post", 0).p);
    k.stream.unsubscribe_mailto = NULL;
    render(&k, "a@there.example", NULL, 0, &m);
    assert_null(kit_message_header(&m, "List-Unsubscribe", 0).p);
    k.stream.unsubscribe_url = "http://u.example/{token}";
    render(&k, "a@there.example", NULL, 0, &m);
    assert_null(kit_message_header(&m, "List-Unsubscribe-Post", 0).p);
    kit_campaign_close(&k);
    open_template(
        &k,
        FROM
        "List-Unsubscribe: <https://own.example/u?m={{email}}>\nDate: Mon, 23 Nov 2026 10:00:00 +0000\n\nHello\n",
        columns);
    render(&k, "a@there.example", NULL, 0, &m);
    assert_header(&m, "List-Unsubscribe", "<https://own.example/u?m=a@there.example>");
    assert_null(kit_message_header(&m, "List-Unsubscribe-Post", 0).p);
    assert_header(&m, "Date", "Mon, 23 Nov 2026 10:00:00 +0000");
    kit_campaign_close(&k);
}

static const char alternative[] =
    "From: =?utf-8?Q?B=C3=BCro?= <news@news.example>\nReply-To: {{name}} <{{reply}}>\nSubject: "
    "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=, {{name}}!\n"
    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=outer\n\npreamble\n--outer\n"
    "Content-Type: multipart/alternative; boundary=\"inner\"\n\n--inner\n"
    "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe "
    "{{name}}\n--inner\n"
    "Content-Type: text/html; charset=utf-8\n\n<p class=\"x\">Hi <b>{{name}}</b>, \\{{x}}</p>\n--inner--\n--outer\n"
    "Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; "
    "filename=a.pdf\n\n"
    "JVBERi0xLjQK\n--outer--\nepilogue\n";

static void parts_and_escaping(void **state) {
    (void)state;
    static const char *const columns[] = {"name", "reply", NULL};
    struct kit_campaign k;
    struct kit_message m;
    open_template(&k, alternative, columns);
    struct rmd_slice v[] = {rmd_slice_str("<O'Neil & \"Co\">"), rmd_slice_str("r@news.example")};
    render(&k, "a@there.example", v, 2, &m);
    assert_int_equal(m.leaves, 3);
    assert_leaf(k.out.message, 0, "Grüße <O'Neil & \"Co\">");
    assert_leaf(k.out.message, 1, "<p class=\"x\">Hi <b>&lt;O&#39;Neil &amp; &quot;Co&quot;&gt;</b>, {{x}}</p>");
    assert_leaf(k.out.message, 2, "%PDF-1.4\n");
    assert_subject(k.out.message, "Grüße, <O'Neil & \"Co\">!");
    assert_header(&m, "From", "=?utf-8?Q?B=C3=BCro?= <news@news.example>");
    assert_header(&m, "Reply-To", "\"<O'Neil & \\\"Co\\\">\" <r@news.example>");
    v[1] = rmd_slice_str("");
    render(&k, "a@there.example", v, 2, &m);
    assert_null(kit_message_header(&m, "Reply-To", 0).p);
    v[1] = rmd_slice_str("not an address");
    assert_int_equal(kit_campaign_render(&k, "a@there.example", v, 2), RMD_EFORMAT);
    assert_non_null(strstr(k.err, "Reply-To"));
    kit_campaign_close(&k);
}

static void international_addresses(void **state) {
    (void)state;
    static const char *const columns[] = {"name", NULL};
    struct kit_campaign k;
    struct kit_message m;
    open_template(&k, FROM "To: {{name}} <{{email}}>\n\nHello\n", columns);
    struct rmd_slice v[] = {rmd_slice_str("José")};
    render(&k, "jose@xn--bcher-kva.example", v, 1, &m);
    assert_false(k.out.needs_smtputf8);
    render(&k, "josé@xn--bcher-kva.example", v, 1, &m);
    assert_true(k.out.needs_smtputf8);
    assert_true(k.out.has_8bit);
    assert_header(&m, "To", "=?utf-8?Q?Jos=C3=A9?= <josé@xn--bcher-kva.example>");
    kit_campaign_close(&k);
    open_template(&k, "From: news@bücher.example\n\nHello\n", columns);
    render(&k, "jose@there.example", v, 1, &m);
    assert_header(&m, "From", "news@xn--bcher-kva.example");
    assert_false(k.out.needs_smtputf8);
    kit_campaign_close(&k);
}

/* A blank before a line end would be lost on the way, whichever of template and value it comes from. */
static void blanks_at_line_ends(void **state) {
    (void)state;
    static const char *const columns[] = {"a", NULL};
    static const char *const values[] = {
        "",    " ",    "x ", "\t",
        "x\n", " \n ", "\n", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx "};
    struct kit_campaign k;
    struct kit_message m;
    open_template(&k, FROM "\nbefore {{a}}\nafter {{a}} {{a}}\n{{a}}", columns);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct rmd_slice v[] = {rmd_slice_str(values[i])};
        struct rmd_buf want = {0}, crlf = {0};
        render(&k, "a@there.example", v, 1, &m);
        for (size_t p = 2; p < m.body.n; p++)
            assert_false(m.body.p[p] == '\r' && (m.body.p[p - 1] == ' ' || m.body.p[p - 1] == '\t'));
        rmd_buf_addf(&want, "before %s\nafter %s %s\n%s", values[i], values[i], values[i], values[i]);
        for (size_t p = 0; p < want.len; p++) {
            if (want.p[p] == '\n')
                rmd_buf_addc(&crlf, '\r');
            rmd_buf_addc(&crlf, (char)want.p[p]);
        }
        if (want.p[want.len - 1] != '\n')
            rmd_buf_addstr(&crlf, "\r\n");
        assert_leaf(k.out.message, 0, rmd_buf_str(&crlf));
        rmd_buf_release(&want);
        rmd_buf_release(&crlf);
    }
    kit_campaign_close(&k);
}

/* ---------------------------------------------------------------- hostile values */

static struct rmd_slice hostile[64];
static size_t n_hostile;
static struct rmd_buf big[8];

static void make_hostile(void) {
    static const char *const texts[] = {"\r\n.\r\n",
                                        "\n.\n",
                                        "\r.\r",
                                        "\n.\r\n",
                                        "\r\n.\n",
                                        ".\r\nMAIL FROM:<x@y>\r\nRCPT TO:<a@b>\r\nDATA\r\n",
                                        "--=_",
                                        "--boundary",
                                        "\r\n--=_0_1--\r\n",
                                        "{{email}}",
                                        "{{",
                                        "}}",
                                        "=\r\n",
                                        "=",
                                        "=0D=0A",
                                        "=?utf-8?Q?=0D=0ABcc:_x@y?=",
                                        "x\r\nBcc: evil@x.example",
                                        "x\nBcc: evil@x.example\n\nbody",
                                        "\r",
                                        "\n",
                                        "\t",
                                        " ",
                                        "",
                                        "a\r\n b",
                                        "\xe2\x80\xa8",
                                        "\xc2\x85",
                                        "\xc2\x9b",
                                        "\x7f",
                                        "\x1b[31m",
                                        "\"",
                                        "\\",
                                        "\"@x <y@z>",
                                        ",",
                                        ";",
                                        "<",
                                        ">",
                                        "<x@y>, <z@w>",
                                        "(comment",
                                        "From here\nFrom there",
                                        "\xf0\x9f\x98\x80",
                                        "é",
                                        "<script>alert(1)</script>",
                                        "&amp;",
                                        "a  b   c",
                                        "\\\r\n\\",
                                        "xn--",
                                        "\xef\xbb\xbf"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        hostile[n_hostile++] = rmd_slice_str(texts[i]);
    hostile[n_hostile++] = rmd_slice("a\0b\0", 4);
    for (int i = 0; i < 100 * 1024; i++) {
        rmd_buf_addc(&big[0], 'x');
        if (i < 3000) {
            rmd_buf_addstr(&big[1], "\xf0\x9f\x98\x80");
            rmd_buf_addc(&big[2], ' ');
            rmd_buf_addstr(&big[3], "ab ");
            rmd_buf_addstr(&big[4], "\r\n");
            rmd_buf_addc(&big[5], '"');
        }
    }
    for (int i = 0; i < 6; i++)
        hostile[n_hostile++] = rmd_buf_slice(&big[i]);
    assert_true(n_hostile <= sizeof hostile / sizeof hostile[0]);
}

static const char everywhere[] =
    "From: {{from}} <news@news.example>\nTo: {{to}} <{{email}}>\nReply-To: \"x {{to}}\" <r@news.example>\nSubject: "
    "News for {{subject}} today\n"
    "X-Tag: {{subject}}\nList-Help: <https://h.example/{{subject}}>\nMIME-Version: 1.0\n"
    "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; "
    "charset=utf-8\n\n{{text}}\nHello {{text}}, and {{text}}"
    "\n--b\nContent-Type: text/html\n\n<p title=\"{{html}}\">{{html}}</p>{{html}}\n--b--\n";

static const char *const everywhere_columns[] = {"from", "to", "subject", "text", "html", NULL};
enum { EVERYWHERE = 5 };

static void value_positions_are_safe(struct kit_campaign *k, size_t names_n, const struct rmd_slice *names) {
    struct kit_message m;
    for (size_t h = 0; h < n_hostile; h++) {
        for (size_t pos = 0; pos < EVERYWHERE; pos++) {
            struct rmd_slice v[EVERYWHERE];
            for (size_t i = 0; i < EVERYWHERE; i++)
                v[i] = rmd_slice_str("plain");
            v[pos] = hostile[h];
            int rc = kit_campaign_render(k, "a@there.example", v, EVERYWHERE);
            if (rc == RMD_ELIMIT && pos < 3 && hostile[h].n > 800)
                continue; /* a header of 100 KiB, a URL over a line */
            if (rc != RMD_OK)
                fail_msg("value %zu at %s: %s", h, everywhere_columns[pos], k->err);
            const char *why = kit_message_check(k->out.message, &m);
            if (why)
                fail_msg("value %zu at %s: %s", h, everywhere_columns[pos], why);
            assert_int_equal(m.n_headers, names_n);
            for (size_t i = 0; i < names_n; i++)
                assert_true(rmd_slice_eq(m.header[i].name, names[i]));
            assert_int_equal(m.leaves, 2);
            assert_false(m.has_8bit);
            for (size_t p = 2; p < m.body.n; p++)
                assert_false(m.body.p[p] == '.' && m.body.p[p - 1] == '\n');
        }
    }
}

static void hostile_values_stay_values(void **state) {
    (void)state;
    struct kit_campaign k;
    struct kit_message m;
    struct rmd_slice plain[EVERYWHERE], names[KIT_HEADERS_MAX];
    make_hostile();
    open_template(&k, everywhere, everywhere_columns);
    for (size_t i = 0; i < EVERYWHERE; i++)
        plain[i] = rmd_slice_str("plain");
    render(&k, "a@there.example", plain, EVERYWHERE, &m);
    char copies[KIT_HEADERS_MAX][80];
    for (size_t i = 0; i < m.n_headers; i++) {
        assert_true(rmd_copy_slice(copies[i], sizeof copies[i], m.header[i].name));
        names[i] = rmd_slice_str(copies[i]);
    }
    value_positions_are_safe(&k, m.n_headers, names);
    kit_campaign_close(&k);
}

/* In a body a hostile value is read back as it was, but for its line ends and controls. */
static void hostile_values_are_read_back(void **state) {
    (void)state;
    static const char *const columns[] = {"v", NULL};
    struct kit_campaign k;
    struct kit_message m;
    open_template(&k, FROM "Subject: <{{v}}>\n\n[{{v}}]\n", columns);
    static const struct {
        const char *value, *text, *subject;
    } rows[] = {
        {"\r\n.\r\n", "[\r\n.\r\n]\r\n", "< . >"},
        {"\r.\r", "[\r\n.\r\n]\r\n", "< . >"},
        {"=?utf-8?Q?x?=", "[=?utf-8?Q?x?=]\r\n", "<=?utf-8?Q?x?=>"},
        {"{{email}}", "[{{email}}]\r\n", "<{{email}}>"},
        {"a\x01\x1b"
         "b",
         "[ab]\r\n", "<a b>"},
        {"\xf0\x9f\x98\x80 \xf0\x9f\x98\x80", "[\xf0\x9f\x98\x80 \xf0\x9f\x98\x80]\r\n",
         "<\xf0\x9f\x98\x80 \xf0\x9f\x98\x80>"},
        {"--b=\r\nFrom x", "[--b=\r\nFrom x]\r\n", "<--b= From x>"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rmd_slice v[] = {rmd_slice_str(rows[i].value)};
        render(&k, "a@there.example", v, 1, &m);
        assert_leaf(k.out.message, 0, rows[i].text);
        assert_subject(k.out.message, rows[i].subject);
    }
    struct rmd_slice bad[] = {rmd_slice_str("a\xff"
                                            "b")};
    assert_int_equal(kit_campaign_render(&k, "a@there.example", bad, 1), RMD_EFORMAT);
    assert_non_null(strstr(k.err, "{{v}}"));
    kit_campaign_close(&k);
}

/* Every length of a subject of four-byte characters, so that each place where an encoded word can end is met. */
static void encoded_words_end_between_characters(void **state) {
    (void)state;
    static const char *const columns[] = {"v", NULL};
    struct kit_campaign k;
    struct kit_message m;
    open_template(&k, FROM "Subject: {{v}}\n\nHello\n", columns);
    struct rmd_buf v = {0};
    for (int i = 0; i < 120; i++) {
        rmd_buf_addstr(&v, i % 7 == 6 ? "ab c" : i % 3 ? "\xf0\x9f\x98\x80" : "é");
        struct rmd_slice values[] = {rmd_buf_slice(&v)};
        render(&k, "a@there.example", values, 1, &m);
        assert_subject(k.out.message, rmd_buf_str(&v));
        struct rmd_slice s = kit_message_header(&m, "Subject", 0);
        for (size_t p = 0, line = sizeof "Subject: " - 1; p < s.n; p++, line++) {
            line = s.p[p] == '\n' ? SIZE_MAX : line;
            assert_true(line == SIZE_MAX || line < 76);
        }
    }
    rmd_buf_release(&v);
    kit_campaign_close(&k);
}

/* ---------------------------------------------------------------- signed */

static void rendered_messages_are_verified(void **state) {
    (void)state;
    struct kit_keys keys;
    struct kit_campaign k;
    kit_keys_make(&keys);
    struct rmd_verifier *verifier = rmd_verifier_new(kit_keys_lookup, &keys);
    assert_non_null(verifier);
    open_template(&k, everywhere, everywhere_columns);
    k.stream.key = keys.key;
    k.stream.n_keys = 2;
    for (size_t h = 0; h < n_hostile; h++) {
        struct rmd_verify_result r[4];
        struct rmd_slice v[EVERYWHERE];
        struct kit_message m;
        size_t n;
        if (hostile[h].n > 800)
            continue;
        for (size_t i = 0; i < EVERYWHERE; i++)
            v[i] = hostile[h];
        k.stream.header_canon = h & 1 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE;
        k.stream.body_canon = h & 2 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE;
        render(&k, "a@there.example", v, EVERYWHERE, &m);
        assert_int_equal(rmd_verify_message(verifier, k.out.message, r, 4, &n), RMD_OK);
        assert_int_equal(n, 2);
        if (!r[0].pass || !r[1].pass)
            fail_msg("value %zu: %s, %s", h, r[0].why, r[1].why);
    }
    rmd_verifier_free(verifier);
    kit_campaign_close(&k);
    kit_keys_release(&keys);
}

/* The hash of what comes before the first value is kept; another template, or another canonical form, must not get
 * it. */
static void kept_hashes_are_right(void **state) {
    (void)state;
    static const char *const columns[] = {"v", NULL};
    struct kit_keys keys;
    struct rmd_buf eml[3] = {{0}};
    struct kit_campaign k[3];
    kit_keys_make(&keys);
    struct rmd_verifier *verifier = rmd_verifier_new(kit_keys_lookup, &keys);
    for (int t = 0; t < 3; t++) {
        rmd_buf_addstr(&eml[t], FROM "\n");
        for (int i = 0; i < 60; i++)
            rmd_buf_addf(&eml[t], "line %d of %s  \t with blanks \n\n", i, t == 1 ? "one" : "two");
        rmd_buf_addstr(&eml[t], t == 2 ? "\n\n" : "and {{v}}\n");
        open_template(&k[t], rmd_buf_str(&eml[t]), columns);
    }
    for (int i = 0; i < 24; i++) {
        struct rmd_verify_result r[2];
        struct kit_message m;
        size_t n;
        struct kit_campaign *c = &k[i % 3];
        struct rmd_slice v[] = {rmd_slice_str(i & 4 ? "x" : "")};
        struct rmd_renderer *own = c->r;
        c->r = k[0].r;
        c->stream.key = keys.key;
        c->stream.n_keys = 1;
        c->stream.body_canon = i & 8 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE;
        render(c, "a@there.example", v, 1, &m);
        c->r = own;
        assert_int_equal(rmd_verify_message(verifier, c->out.message, r, 2, &n), RMD_OK);
        assert_true(n == 1 && r[0].pass);
    }
    for (int t = 0; t < 3; t++) {
        kit_campaign_close(&k[t]);
        rmd_buf_release(&eml[t]);
    }
    rmd_verifier_free(verifier);
    kit_keys_release(&keys);
}

static int tear_down(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof big / sizeof big[0]; i++)
        rmd_buf_release(&big[i]);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_message),
        cmocka_unit_test(the_token_is_everywhere),
        cmocka_unit_test(one_click_needs_https),
        cmocka_unit_test(parts_and_escaping),
        cmocka_unit_test(international_addresses),
        cmocka_unit_test(blanks_at_line_ends),
        cmocka_unit_test(hostile_values_stay_values),
        cmocka_unit_test(hostile_values_are_read_back),
        cmocka_unit_test(encoded_words_end_between_characters),
        cmocka_unit_test(rendered_messages_are_verified),
        cmocka_unit_test(kept_hashes_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
