/* Header fields of a template: syntax, what may be there, and which of them a value may take part in.
 *
 * A field without {{ }} that can be sent as it is stays byte for byte (but for its line ends). Others are decoded
 * (RFC 2047) and encoded again by the node: as text (Subject, X-...), as mailboxes (From, To, Reply-To ...) or as
 * URLs (List-...). Fields that Remuda makes itself, or that tell receivers wrong things when they are the same in
 * each message, are refused. */
#include "coordinator/io/template_internal.h"

#include <gmime/gmime.h>

#include <base/text.h>

enum header_kind { KIND_TEXT, KIND_ADDRESS, KIND_URL, KIND_FIXED };
enum { ONCE = 1, REFUSED = 2 };

static const struct {
    const char *name;
    enum header_kind kind;
    int flags;
    const char *why; /* REFUSED */
} known[] = {
    {"From", KIND_ADDRESS, ONCE, NULL},
    {"Sender", KIND_ADDRESS, ONCE, NULL},
    {"Reply-To", KIND_ADDRESS, ONCE, NULL},
    {"To", KIND_ADDRESS, ONCE, NULL},
    {"Cc", KIND_ADDRESS, ONCE, NULL},
    {"Subject", KIND_TEXT, ONCE, NULL},
    {"Date", KIND_FIXED, ONCE, NULL},
    {"In-Reply-To", KIND_FIXED, ONCE, NULL},
    {"References", KIND_FIXED, ONCE, NULL},
    {"MIME-Version", KIND_FIXED, ONCE, NULL},
    {"List-Id", KIND_FIXED, ONCE, NULL},
    {"List-Unsubscribe", KIND_URL, ONCE, NULL},
    {"List-Unsubscribe-Post", KIND_FIXED, ONCE, NULL},
    {"List-Help", KIND_URL, ONCE, NULL},
    {"List-Subscribe", KIND_URL, ONCE, NULL},
    {"List-Post", KIND_URL, ONCE, NULL},
    {"List-Owner", KIND_URL, ONCE, NULL},
    {"List-Archive", KIND_URL, ONCE, NULL},
    {"Archived-At", KIND_URL, ONCE, NULL},
    {"Feedback-ID", KIND_TEXT, ONCE, NULL},
    {"Auto-Submitted", KIND_FIXED, ONCE, NULL},
    {"Bcc", KIND_FIXED, REFUSED, "everybody would see it; recipients come from the list"},
    {"Return-Path", KIND_FIXED, REFUSED, "each message gets an envelope sender of its own"},
    {"DKIM-Signature", KIND_FIXED, REFUSED, "messages are signed when they are sent"},
    {"Message-ID", KIND_FIXED, REFUSED, "each message gets one of its own"},
    {"Received", KIND_FIXED, REFUSED, "this looks like mail that was received, not a template"},
    {"Delivered-To", KIND_FIXED, REFUSED, "this looks like mail that was received, not a template"},
};
enum { KNOWN = sizeof known / sizeof known[0] };

struct field {
    struct rmd_slice name, raw; /* raw: behind the colon, with its folding, without the last line end */
    size_t line;
    enum header_kind kind;
    const char *name_str;
};

/* ---------------------------------------------------------------- values */

const char *tpl_ready_value(struct tpl *c, struct rmd_slice raw, size_t name_n) {
    struct rmd_buf b = {0};
    size_t col = name_n + 2;
    bool blank = false, ok = true;
    raw = rmd_trim(raw);
    for (size_t i = 0; i < raw.n && ok; i++) {
        uint8_t ch = raw.p[i];
        if (ch == '\r' && i + 1 < raw.n && raw.p[i + 1] == '\n')
            continue;
        if (ch == '\n') {
            ok = !blank && i + 1 < raw.n && (raw.p[i + 1] == ' ' || raw.p[i + 1] == '\t');
            rmd_buf_add(&b, "\r\n", 2);
            col = 0;
            blank = true;
            continue;
        }
        if (ch != ' ' && ch != '\t')
            blank = false;
        ok = ((ch >= ' ' && ch < 0x7f) || ch == '\t') && ++col <= TPL_LINE_MAX;
        rmd_buf_addc(&b, (char)ch);
    }
    const char *ready = ok ? rmd_arena_str(&c->arena, rmd_buf_slice(&b)) : NULL;
    rmd_buf_release(&b);
    return ready;
}

static Remuda__TemplateHeader *new_header(struct tpl *c, const char *name) {
    Remuda__TemplateHeader *h = rmd_arena_alloc(&c->arena, sizeof *h);
    remuda__template_header__init(h);
    h->name = rmd_arena_str(&c->arena, rmd_slice_str(name));
    tpl_push(c, &c->header, h);
    return h;
}

void tpl_literal_header(struct tpl *c, const char *name, const char *ready) {
    Remuda__TemplateHeader *h = new_header(c, name);
    Remuda__Piece *p = rmd_arena_alloc(&c->arena, sizeof *p);
    remuda__piece__init(p);
    p->literal.len = strlen(ready);
    p->literal.data = rmd_arena_dup(&c->arena, ready, p->literal.len);
    struct tpl_vec v = {0};
    tpl_push(c, &v, p);
    h->value = (Remuda__Piece **)v.v;
    h->n_value = v.n;
    h->literal = true;
}

/* Line ends out; what is left begins and ends with something. In the arena. */
static char *unfold(struct tpl *c, struct rmd_slice raw) {
    raw = rmd_trim(raw);
    char *s = rmd_arena_alloc(&c->arena, raw.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++)
        if (raw.p[i] != '\r' && raw.p[i] != '\n')
            s[n++] = (char)raw.p[i];
    return s;
}

/* ---------------------------------------------------------------- mailboxes */

/* The address parser knows nothing of {{ }}; fields go through it as words that it leaves alone. */
static const char word_open[] = "zRMDF", word_close[] = "FDMRz";

struct stand_ins {
    struct rmd_slice field[64];
    size_t n;
};

static char *put_stand_ins(struct tpl *c, const char *text, struct stand_ins *s) {
    struct rmd_buf b = {0};
    const char *p = text;
    while (*p) {
        const char *open = strstr(p, "{{");
        if (!open || s->n == sizeof s->field / sizeof s->field[0])
            break;
        bool escaped = open > text && open[-1] == '\\';
        const char *close = escaped ? open + 2 : strstr(open, "}}");
        if (!close)
            break;
        const char *from = escaped ? open - 1 : open, *to = escaped ? close : close + 2;
        rmd_buf_add(&b, p, (size_t)(from - p));
        rmd_buf_addf(&b, "%s%zu%s", word_open, s->n, word_close);
        s->field[s->n++] = rmd_slice(from, (size_t)(to - from));
        p = to;
    }
    rmd_buf_addstr(&b, p);
    char *out = rmd_arena_str(&c->arena, rmd_buf_slice(&b));
    rmd_buf_release(&b);
    return out;
}

/* The stand-in at p: its field, and where it ends; false when there is none. */
static bool stand_in_at(const char *p, const struct stand_ins *s, struct rmd_slice *field, const char **end) {
    uint64_t i = 0;
    if (strncmp(p, word_open, sizeof word_open - 1) != 0)
        return false;
    p += sizeof word_open - 1;
    size_t digits = strspn(p, "0123456789");
    if (rmd_parse_u64(rmd_slice(p, digits), &i) != RMD_OK || i >= s->n)
        return false;
    if (strncmp(p + digits, word_close, sizeof word_close - 1) != 0)
        return false;
    *field = s->field[i];
    *end = p + digits + sizeof word_close - 1;
    return true;
}

/* Text with the fields back in their places; *fields: how many. */
static char *take_stand_ins(struct tpl *c, const char *text, const struct stand_ins *s, size_t *fields) {
    struct rmd_buf b = {0};
    *fields = 0;
    for (const char *p = text; *p;) {
        struct rmd_slice field;
        if (stand_in_at(p, s, &field, &p)) {
            rmd_buf_add(&b, field.p, field.n);
            ++*fields;
        } else {
            rmd_buf_addc(&b, *p++);
        }
    }
    char *out = rmd_arena_str(&c->arena, rmd_buf_slice(&b));
    rmd_buf_release(&b);
    return out;
}

/* An address without fields must be one that can be sent to. */
static void check_address(struct tpl *c, const struct field *f, const struct tpl_vec *pieces, const char *shown) {
    const Remuda__Piece *p = pieces->n == 1 ? pieces->v[0] : NULL;
    struct rmd_slice address = p ? rmd_slice(p->literal.data, p->literal.len) : rmd_slice("", 0);
    const char *why = p || pieces->n == 0 ? rmd_address_check(address, true) : "has \"{{\" in it";
    if (why)
        tpl_finding(c, f->line, "%s: the address \"%.100s\" %s", f->name_str, shown, why);
    if (!rmd_is_ascii(address))
        c->needs_smtputf8 = true;
}

static Remuda__Mailbox *mailbox(struct tpl *c, const struct field *f, InternetAddressMailbox *m,
                                const struct stand_ins *s) {
    struct tpl_place place = {.what = f->name_str, .line = f->line};
    struct tpl_vec display = {0}, address = {0};
    size_t fields = 0;
    const char *name = internet_address_get_name(INTERNET_ADDRESS(m));
    const char *addr = internet_address_mailbox_get_idn_addr(m);
    if (name)
        tpl_pieces(c, rmd_slice_str(take_stand_ins(c, name, s, &fields)), &place, &display);
    char *with_fields = take_stand_ins(c, addr ? addr : "", s, &fields);
    size_t before = c->findings;
    if (tpl_pieces(c, rmd_slice_str(with_fields), &place, &address) == 0)
        check_address(c, f, &address, with_fields);
    else if (address.n != 1 && c->findings == before)
        tpl_finding(c, f->line, "%s: an address is either one whole field, like <{{email}}>, or has none: \"%.100s\"",
                    f->name_str, with_fields);
    Remuda__Mailbox *out = rmd_arena_alloc(&c->arena, sizeof *out);
    remuda__mailbox__init(out);
    out->n_display = display.n;
    out->display = (Remuda__Piece **)display.v;
    out->n_address = address.n;
    out->address = (Remuda__Piece **)address.v;
    return out;
}

static bool domain_fits(const char *domain, const char *sending_domain) {
    size_t n = strlen(domain), m = strlen(sending_domain);
    if (n < m || !rmd_case_eq(rmd_slice(domain + n - m, m), rmd_slice(sending_domain, m)))
        return false;
    return n == m || domain[n - m - 1] == '.';
}

static void check_from(struct tpl *c, const struct field *f, const struct tpl_vec *boxes) {
    const Remuda__Mailbox *m = boxes->n == 1 ? boxes->v[0] : NULL;
    if (!m || m->n_address != 1) {
        tpl_finding(c, f->line, "From has %zu addresses; it must have one", boxes->n);
        return;
    }
    if (m->address[0]->field) {
        tpl_finding(c, f->line, "From: the address can't be a field; its domain signs the messages");
        return;
    }
    struct rmd_slice addr = rmd_slice(m->address[0]->literal.data, m->address[0]->literal.len);
    struct rmd_slice domain = rmd_address_domain(addr);
    if (!rmd_copy_slice(c->info.from, sizeof c->info.from, addr) ||
        !rmd_copy_slice(c->info.from_domain, sizeof c->info.from_domain, domain)) {
        tpl_finding(c, f->line, "From: the address is too long");
        return;
    }
    rmd_lower_str(c->info.from_domain);
    if (c->sending_domain && c->sending_domain[0] && !domain_fits(c->info.from_domain, c->sending_domain))
        tpl_finding(c, f->line,
                    "From: %s is neither the stream's sending domain %s nor below it; the signature would "
                    "not count for it (DMARC)",
                    c->info.from_domain, c->sending_domain);
}

/* The mailboxes of an address field. */
static void parse_mailboxes(struct tpl *c, const struct field *f, struct tpl_vec *boxes) {
    struct stand_ins s = {.n = 0};
    char *text = put_stand_ins(c, unfold(c, f->raw), &s);
    GMimeParserOptions *options = g_mime_parser_options_new();
    g_mime_parser_options_set_allow_addresses_without_domain(options, TRUE);
    InternetAddressList *list = internet_address_list_parse(options, text);
    g_mime_parser_options_free(options);
    int n = list ? internet_address_list_length(list) : 0;
    if (n == 0)
        tpl_finding(c, f->line, "%s is not a list of addresses", f->name_str);
    for (int i = 0; i < n; i++) {
        InternetAddress *ia = internet_address_list_get_address(list, i);
        if (INTERNET_ADDRESS_IS_MAILBOX(ia))
            tpl_push(c, boxes, mailbox(c, f, INTERNET_ADDRESS_MAILBOX(ia), &s));
        else
            tpl_finding(c, f->line, "%s has a group of addresses; name the addresses themselves", f->name_str);
    }
    if (list)
        g_object_unref(list);
}

/* ---------------------------------------------------------------- fields */

static void add_pieces(struct tpl *c, const struct field *f, const char *text, bool url) {
    struct tpl_place place = {.what = f->name_str, .line = f->line};
    struct tpl_vec v = {0};
    tpl_pieces(c, rmd_slice_str(text), &place, &v);
    Remuda__TemplateHeader *h = new_header(c, f->name_str);
    h->n_value = v.n;
    h->value = (Remuda__Piece **)v.v;
    h->url = url;
}

static char *decoded(struct tpl *c, const char *text, bool phrase) {
    char *s = phrase ? g_mime_utils_header_decode_phrase(NULL, text) : g_mime_utils_header_decode_text(NULL, text);
    char *out = rmd_arena_str(&c->arena, rmd_slice_str(s ? s : text));
    g_free(s);
    return out;
}

static void add_address_field(struct tpl *c, const struct field *f, const char *ready, bool fields) {
    struct tpl_vec boxes = {0};
    parse_mailboxes(c, f, &boxes);
    if (rmd_case_eq(f->name, rmd_slice_str("From")))
        check_from(c, f, &boxes);
    if (ready && !fields && !rmd_case_find(f->raw, rmd_slice_str("xn--"))) {
        tpl_literal_header(c, f->name_str, ready);
        return;
    }
    Remuda__TemplateHeader *h = new_header(c, f->name_str);
    h->structured = true;
    h->n_mailbox = boxes.n;
    h->mailbox = (Remuda__Mailbox **)boxes.v;
}

static void add_field(struct tpl *c, const struct field *f) {
    const char *ready = tpl_ready_value(c, f->raw, f->name.n);
    const char *text = unfold(c, f->raw);
    bool ascii = rmd_is_ascii(f->raw), address = f->kind == KIND_ADDRESS;
    const char *plain = f->kind == KIND_TEXT || address ? decoded(c, text, address) : text;
    bool fields = tpl_has_field(f->raw) || tpl_has_field(rmd_slice_str(plain));
    if (!rmd_utf8_valid(f->raw)) {
        tpl_finding(c, f->line, "%s is neither ASCII nor UTF-8", f->name_str);
        return;
    }
    if (rmd_case_eq(f->name, rmd_slice_str("Subject"))) {
        bool whole = rmd_copy(c->info.subject, sizeof c->info.subject, plain);
        while (!whole && !rmd_utf8_valid(rmd_slice_str(c->info.subject))) /* cut within a character */
            c->info.subject[strlen(c->info.subject) - 1] = 0;
    }
    if (address)
        add_address_field(c, f, ready, fields);
    else if (ready && !fields)
        tpl_literal_header(c, f->name_str, ready);
    else if (f->kind == KIND_FIXED && fields)
        tpl_finding(c, f->line, "%s can't have fields", f->name_str);
    else if (f->kind != KIND_TEXT && !ascii)
        tpl_finding(c, f->line, "%s must be ASCII", f->name_str);
    else
        add_pieces(c, f, plain, f->kind != KIND_TEXT);
}

/* ---------------------------------------------------------------- the block */

/* End of the line at `at`: *text is its length without the line end; returns where the next one begins. */
static size_t next_line(struct rmd_slice s, size_t at, size_t *text) {
    const uint8_t *nl = memchr(s.p + at, '\n', s.n - at);
    size_t end = nl ? (size_t)(nl - s.p) : s.n;
    *text = end - at - (end > at && s.p[end - 1] == '\r' ? 1 : 0);
    return nl ? end + 1 : s.n;
}

static size_t name_length(const uint8_t *p, size_t n) {
    size_t i = 0;
    while (i < n && p[i] > ' ' && p[i] < 0x7f && p[i] != ':')
        i++;
    return i < n && p[i] == ':' && i > 0 && i <= TPL_NAME_MAX ? i : 0;
}

/* Splits the block into fields; false: it isn't one. */
static bool split(struct tpl *c, struct field *v, size_t *n) {
    size_t at = 0, line = 0;
    *n = 0;
    while (at < c->eml.n) {
        size_t len, next = next_line(c->eml, at, &len);
        const uint8_t *p = c->eml.p + at;
        line++;
        if (len == 0)
            break;
        if (next > TPL_HEADER_BYTES_MAX) {
            tpl_finding(c, line, "the header has more than %d bytes; is an empty line missing before the text?",
                        TPL_HEADER_BYTES_MAX);
            return false;
        }
        size_t name = name_length(p, len);
        if ((*p == ' ' || *p == '\t') && *n) {
            v[*n - 1].raw.n = (size_t)(p + len - v[*n - 1].raw.p);
        } else if (!name) {
            tpl_finding(c, line,
                        "\"%.*s\" is not a header field (\"Name: value\"); is an empty line missing before the text?",
                        len > 60 ? 60 : (int)len, (const char *)p);
            return false;
        } else if (*n == TPL_HEADERS_MAX) {
            tpl_finding(c, line, "more than %d header fields", TPL_HEADERS_MAX);
            return false;
        } else {
            v[(*n)++] = (struct field){
                .name = rmd_slice(p, name), .raw = rmd_slice(p + name + 1, len - name - 1), .line = line};
        }
        at = next;
    }
    return true;
}

static int classify(struct tpl *c, struct field *f, const struct field *all, size_t i) {
    bool mime = rmd_case_prefix(f->name, "Content-"), once = mime;
    f->name_str = rmd_arena_str(&c->arena, f->name);
    f->kind = mime ? KIND_FIXED : KIND_TEXT;
    for (size_t k = 0; k < KNOWN; k++) {
        if (!rmd_case_eq(f->name, rmd_slice_str(known[k].name)))
            continue;
        f->kind = known[k].kind;
        once = known[k].flags & ONCE;
        if (known[k].flags & REFUSED) {
            tpl_finding(c, f->line, "%s can't be in a template: %s", known[k].name, known[k].why);
            return RMD_EINVAL;
        }
    }
    if (rmd_case_prefix(f->name, "Resent-")) {
        tpl_finding(c, f->line, "%s can't be in a template: this looks like mail that was received", f->name_str);
        return RMD_EINVAL;
    }
    for (size_t k = 0; once && k < i; k++) {
        if (rmd_case_eq(all[k].name, f->name)) {
            tpl_finding(c, f->line, "%s is there already, in line %zu", f->name_str, all[k].line);
            return RMD_EINVAL;
        }
    }
    return RMD_OK;
}

static const struct field *find_field(const struct field *v, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (rmd_case_eq(v[i].name, rmd_slice_str(name)))
            return &v[i];
    return NULL;
}

/* RFC 8058 section 3.1: the promise of one click needs an https URL that keeps it. A URL that is a field is the
 * recipient list's affair. */
static void check_one_click(struct tpl *c, const struct field *v, size_t n) {
    const struct field *post = find_field(v, n, "List-Unsubscribe-Post"),
                       *links = find_field(v, n, "List-Unsubscribe");
    if (!post || (links && (rmd_case_find(links->raw, rmd_slice_str("<https://")) ||
                            rmd_case_find(links->raw, rmd_slice_str("<{{")))))
        return;
    tpl_finding(
        c, post->line,
        "List-Unsubscribe-Post needs a List-Unsubscribe with an <https://...> URL in the template too; without "
        "both, the stream's unsubscribe URL gives them");
}

bool tpl_headers(struct tpl *c) {
    struct field v[TPL_HEADERS_MAX];
    size_t n;
    bool from = false;
    g_mime_init();
    if (!split(c, v, &n))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (classify(c, &v[i], v, i) != RMD_OK)
            continue;
        from |= rmd_case_eq(v[i].name, rmd_slice_str("From"));
        c->info.fixed_date |= rmd_case_eq(v[i].name, rmd_slice_str("Date"));
        /* MIME's fields are those of the top part: template_body.c. */
        if (!rmd_case_prefix(v[i].name, "Content-") && !rmd_case_eq(v[i].name, rmd_slice_str("MIME-Version")))
            add_field(c, &v[i]);
    }
    check_one_click(c, v, n);
    if (!from)
        tpl_finding(c, 1,
                    "there is no From: field; a template begins with header fields (From, Subject), an empty line, "
                    "then the text");
    return true;
}
