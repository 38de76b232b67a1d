/* MIME of a template: the tree of parts as GMime parses it, written again with boundaries of our own, in 7 bits.
 *
 * Bodies leave in 7 bits always (RFC 6376 section 5.3: a relay that lacks 8BITMIME would convert them and break the
 * signature). A part keeps its transfer encoding when that is legal as it stands: 7bit, base64 or quoted-printable,
 * ASCII, lines of at most 998. Otherwise text becomes quoted-printable and everything else base64. Text with fields
 * is turned into UTF-8 and quoted-printable; its literal stretches are encoded here, once, and only the values by the
 * node. Fields are looked for in text/ parts that are shown, not in attachments.
 *
 * Boundaries begin with "=_": that can't occur in quoted-printable (after "=" comes a hexadecimal digit or the line
 * end) nor in base64 (no "_"), so no value can forge one; and they are made from the SHA-256 of the template, which
 * holds no such string itself, so that no part that stays as it is has one. */
#include "coordinator/io/template_internal.h"

#include <gmime/gmime.h>

#include <base/text.h>

enum { BASE64_LINE_BYTES = 57, BOUNDARY_TRIES = 8, TOKEN_MAX = 127, PARAM_NAME_MAX = 40, PARAM_MAX_BYTES = 512 };

static void emit(struct tpl *c, GMimeObject *object, bool top, unsigned depth);

/* ---------------------------------------------------------------- output */

static void push_op(struct tpl *c, struct rmd_slice ready, unsigned encoding, struct tpl_vec *text, bool html) {
    Remuda__BodyOp *op = rmd_arena_alloc(&c->arena, sizeof *op);
    remuda__body_op__init(op);
    op->ready.data = rmd_arena_dup(&c->arena, ready.p, ready.n);
    op->ready.len = ready.n;
    op->encoding = encoding;
    op->html = html;
    if (text) {
        op->n_text = text->n;
        op->text = (Remuda__Piece **)text->v;
    }
    tpl_push(c, &c->body, op);
}

static void flush_ready(struct tpl *c) {
    if (c->ready.len)
        push_op(c, rmd_buf_slice(&c->ready), RMD_CTE_NONE, NULL, false);
    rmd_buf_clear(&c->ready);
}

/* A MIME field of the top part or of one inside. */
static void put_field(struct tpl *c, bool top, size_t line, const char *name, const char *value) {
    const char *ready = tpl_ready_value(c, rmd_slice_str(value), strlen(name));
    if (!ready)
        tpl_finding(c, line, "%s can't be sent: it has a line of more than %d bytes, or a control character", name,
                    TPL_LINE_MAX);
    else if (top)
        tpl_literal_header(c, name, ready);
    else
        rmd_buf_addf(&c->ready, "%s: %s\r\n", name, ready);
}

/* Bytes with any line ends, as lines with CRLF. */
static void put_lines(struct rmd_buf *out, struct rmd_slice s) {
    for (size_t i = 0; i < s.n;) {
        size_t start = i;
        while (i < s.n && s.p[i] != '\r' && s.p[i] != '\n')
            i++;
        rmd_buf_add(out, s.p + start, i - start);
        if (i == s.n)
            break;
        i += s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n' ? 2 : 1;
        rmd_buf_add(out, "\r\n", 2);
    }
}

static void put_base64_lines(struct rmd_buf *out, struct rmd_slice s) {
    for (size_t i = 0; i < s.n; i += BASE64_LINE_BYTES) {
        rmd_base64(out, s.p + i, s.n - i < BASE64_LINE_BYTES ? s.n - i : BASE64_LINE_BYTES);
        rmd_buf_add(out, "\r\n", 2);
    }
}

/* ---------------------------------------------------------------- fields of a part */

static char *encoded_disposition(GMimeObject *o) {
    GMimeContentDisposition *d = g_mime_object_get_content_disposition(o);
    return d ? g_mime_content_disposition_encode(d, NULL) : NULL;
}

static bool is_name(struct rmd_slice name) {
    size_t i = 0;
    while (i < name.n && name.p[i] > ' ' && name.p[i] < 0x7f && name.p[i] != ':')
        i++;
    return i == name.n && i > 0 && i <= TPL_NAME_MAX;
}

/* A field of a part that is neither Content-Type nor Content-Transfer-Encoding. */
static void put_other_field(struct tpl *c, GMimeObject *o, GMimeHeader *h, bool top, size_t line) {
    const char *name = g_mime_header_get_name(h), *raw = g_mime_header_get_raw_value(h);
    struct rmd_slice n = rmd_slice_str(name), v = rmd_slice_str(raw ? raw : "");
    if (!is_name(n)) {
        tpl_finding(c, line, "a part has a header field whose name can't be sent");
        return;
    }
    if (rmd_case_eq(n, rmd_slice_str("Content-MD5")) || rmd_case_eq(n, rmd_slice_str("Content-Length")))
        return; /* would be wrong */
    if (tpl_has_field(v)) {
        tpl_finding(c, line, "%s can't have fields", name);
        return;
    }
    if (tpl_ready_value(c, v, n.n)) {
        put_field(c, top, line, name, (const char *)v.p);
        return;
    }
    char *encoded = NULL;
    if (rmd_case_eq(n, rmd_slice_str("Content-Disposition")))
        encoded = encoded_disposition(o);
    else if (rmd_case_eq(n, rmd_slice_str("Content-Description")))
        encoded = g_mime_utils_header_encode_text(NULL, g_mime_header_get_value(h), "utf-8");
    if (encoded)
        put_field(c, top, line, name, encoded);
    else
        tpl_finding(c, line, "%s can't be sent as it is: not ASCII, a control character, or too long a line", name);
    g_free(encoded);
}

static size_t line_of_part(const struct tpl *c, GMimeObject *o) {
    GMimeHeaderList *list = g_mime_object_get_header_list(o);
    if (g_mime_header_list_get_count(list) == 0)
        return 1;
    gint64 at = g_mime_header_get_offset(g_mime_header_list_get_header_at(list, 0));
    return at > 0 ? tpl_line_at(c, (size_t)at) : 1;
}

/* Does the field say what GMime read in it? What only we understand must not be sent as it stands. */
static bool says_type(struct rmd_slice raw, GMimeContentType *type) {
    const char *words[] = {g_mime_content_type_get_media_type(type), "/",
                           g_mime_content_type_get_media_subtype(type)};
    raw = rmd_trim(raw);
    for (size_t i = 0; i < 3; i++) {
        if (!words[i] || !rmd_case_prefix(raw, words[i]))
            return false;
        raw = rmd_slice(raw.p + strlen(words[i]), raw.n - strlen(words[i]));
    }
    return raw.n == 0 || strchr("; \t\r\n", raw.p[0]);
}

/* Two of a kind could be read as one by us and as the other by a receiver. */
static void refuse_duplicates(struct tpl *c, GMimeHeaderList *list, size_t line) {
    for (int i = 0; i < g_mime_header_list_get_count(list); i++) {
        struct rmd_slice n = rmd_slice_str(g_mime_header_get_name(g_mime_header_list_get_header_at(list, i)));
        for (int k = 0; k < i && rmd_case_prefix(n, "Content-"); k++) {
            if (rmd_case_eq(n, rmd_slice_str(g_mime_header_get_name(g_mime_header_list_get_header_at(list, k))))) {
                tpl_finding(c, line, "%.*s is in one part twice", (int)n.n, (const char *)n.p);
                return;
            }
        }
    }
}

/* type: value of Content-Type, NULL = as in the template. cte: NULL = none. */
static void put_fields(struct tpl *c, GMimeObject *o, bool top, const char *type, const char *cte) {
    GMimeHeaderList *list = g_mime_object_get_header_list(o);
    size_t line = line_of_part(c, o);
    char *again = NULL;
    refuse_duplicates(c, list, line);
    if (top)
        tpl_literal_header(c, "MIME-Version", "1.0");
    if (!type) {
        GMimeHeader *h = g_mime_header_list_get_header(list, "Content-Type");
        const char *raw = h ? g_mime_header_get_raw_value(h) : NULL;
        if (raw && tpl_has_field(rmd_slice_str(raw)))
            tpl_finding(c, line, "Content-Type can't have fields");
        if (!raw || !tpl_ready_value(c, rmd_slice_str(raw), sizeof "Content-Type" - 1) ||
            !says_type(rmd_slice_str(raw), g_mime_object_get_content_type(o)))
            type = again = g_mime_content_type_encode(g_mime_object_get_content_type(o), NULL);
        else
            type = raw;
    }
    put_field(c, top, line, "Content-Type", type);
    if (cte)
        put_field(c, top, line, "Content-Transfer-Encoding", cte);
    for (int i = 0; i < g_mime_header_list_get_count(list); i++) {
        GMimeHeader *h = g_mime_header_list_get_header_at(list, i);
        struct rmd_slice n = rmd_slice_str(g_mime_header_get_name(h));
        if (!rmd_case_eq(n, rmd_slice_str("Content-Type")) &&
            !rmd_case_eq(n, rmd_slice_str("Content-Transfer-Encoding")) && rmd_case_prefix(n, "Content-"))
            put_other_field(c, o, h, top, line);
    }
    if (!top)
        rmd_buf_add(&c->ready, "\r\n", 2);
    g_free(again);
}

/* ---------------------------------------------------------------- content */

/* Bytes of a GMime object, written by `write` into a stream; copied into out. */
static void stream_bytes(GMimeStream *mem, struct rmd_buf *out) {
    GByteArray *a = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(mem));
    rmd_buf_add(out, a->data, a->len);
    g_object_unref(mem);
}

static void decoded_bytes(GMimeDataWrapper *w, struct rmd_buf *out) {
    GMimeStream *mem = g_mime_stream_mem_new();
    g_mime_data_wrapper_write_to_stream(w, mem);
    stream_bytes(mem, out);
}

static void raw_bytes(GMimeDataWrapper *w, struct rmd_buf *out) {
    GMimeStream *mem = g_mime_stream_mem_new(), *raw = g_mime_data_wrapper_get_stream(w);
    g_mime_stream_reset(raw);
    g_mime_stream_write_to_stream(raw, mem);
    stream_bytes(mem, out);
}

/* May the encoded bytes leave as they are, but for their line ends? */
static bool is_legal(GMimeContentEncoding encoding, struct rmd_slice s) {
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t";
    size_t line = 0;
    if (encoding != GMIME_CONTENT_ENCODING_DEFAULT && encoding != GMIME_CONTENT_ENCODING_7BIT &&
        encoding != GMIME_CONTENT_ENCODING_BASE64 && encoding != GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t ch = s.p[i];
        if (ch == '\n') {
            line = 0;
            continue;
        }
        if (ch == '\r') {
            if (i + 1 == s.n || s.p[i + 1] != '\n')
                return false;
            continue;
        }
        if (ch == 0 || ch >= 0x80 || ++line > TPL_LINE_MAX)
            return false;
        if (encoding == GMIME_CONTENT_ENCODING_BASE64 && !strchr(base64, ch))
            return false;
    }
    return true;
}

static bool is_wide(const char *charset) {
    struct rmd_slice s = rmd_slice_str(charset ? charset : "");
    return rmd_case_prefix(s, "utf-16") || rmd_case_prefix(s, "utf-32") || rmd_case_prefix(s, "utf16") ||
           rmd_case_prefix(s, "utf32") || rmd_case_prefix(s, "ucs");
}

/* A part without fields. */
static void put_ready_part(struct tpl *c, GMimePart *part, bool top, const char *type, bool as_text) {
    GMimeDataWrapper *w = g_mime_part_get_content(part);
    struct rmd_buf raw = {0};
    if (w)
        raw_bytes(w, &raw);
    GMimeContentEncoding encoding = w ? g_mime_data_wrapper_get_encoding(w) : GMIME_CONTENT_ENCODING_7BIT;
    if (is_legal(encoding, rmd_buf_slice(&raw))) {
        const char *cte = g_mime_content_encoding_to_string(encoding);
        put_fields(c, GMIME_OBJECT(part), top, type, cte && *cte ? cte : "7bit");
        put_lines(&c->ready, rmd_buf_slice(&raw));
    } else {
        rmd_buf_clear(&raw);
        decoded_bytes(w, &raw);
        put_fields(c, GMIME_OBJECT(part), top, type, as_text ? "quoted-printable" : "base64");
        if (as_text) {
            struct rmd_qp q = {.out = &c->ready};
            rmd_qp_text(&q, raw.p, raw.len);
            rmd_qp_finish(&q);
        } else {
            put_base64_lines(&c->ready, rmd_buf_slice(&raw));
        }
    }
    rmd_buf_release(&raw);
}

/* A part with fields: each op is the encoded text up to a field, and the fields that follow it. */
static void put_text_ops(struct tpl *c, const struct tpl_vec *pieces, bool html) {
    flush_ready(c);
    for (size_t i = 0; i < pieces->n;) {
        struct rmd_buf literal = {0};
        struct rmd_qp q = {.out = &literal};
        struct tpl_vec fields = {0};
        for (; i < pieces->n && !((Remuda__Piece *)pieces->v[i])->field; i++) {
            const Remuda__Piece *p = pieces->v[i];
            rmd_qp_text(&q, p->literal.data, p->literal.len);
        }
        for (; i < pieces->n && ((Remuda__Piece *)pieces->v[i])->field; i++)
            tpl_push(c, &fields, pieces->v[i]);
        push_op(c, rmd_buf_slice(&literal), RMD_CTE_QP, &fields, html);
        rmd_buf_release(&literal);
    }
}

/* The decoded text as UTF-8 in the arena, without a byte order mark; false with a finding when it can't be. */
static bool to_utf8(struct tpl *c, struct rmd_slice s, const char *charset, size_t line, struct rmd_slice *out) {
    struct rmd_slice name = rmd_slice_str(charset ? charset : "us-ascii");
    bool unicode = rmd_case_eq(name, rmd_slice_str("us-ascii")) || rmd_case_eq(name, rmd_slice_str("utf-8")) ||
                   rmd_case_eq(name, rmd_slice_str("utf8"));
    if (unicode) {
        if (!rmd_utf8_valid(s)) {
            tpl_finding(c, line, "the text is not valid UTF-8; its Content-Type must name its charset");
            return false;
        }
        *out = s;
    } else {
        gsize n = 0;
        gchar *text =
            g_convert((const char *)s.p, (gssize)s.n, "UTF-8", g_mime_charset_iconv_name(charset), NULL, &n, NULL);
        if (!text) {
            tpl_finding(c, line, "the text can't be turned from charset \"%.60s\" into UTF-8", charset);
            return false;
        }
        *out = rmd_slice(rmd_arena_dup(&c->arena, text, n), n);
        g_free(text);
    }
    if (out->n >= 3 && memcmp(out->p, "\xef\xbb\xbf", 3) == 0)
        *out = rmd_slice(out->p + 3, out->n - 3);
    if (!rmd_utf8_valid(*out) || (out->n && memchr(out->p, 0, out->n))) {
        tpl_finding(c, line, "the text has a NUL character, or is not what its charset says");
        return false;
    }
    return true;
}

static bool is_attachment(GMimeObject *o) {
    GMimeContentDisposition *d = g_mime_object_get_content_disposition(o);
    return d && g_mime_content_disposition_is_attachment(d);
}

/* Content-Type with charset UTF-8 for text that was, or may be taken as, UTF-8. g_free it. */
static char *type_in_utf8(GMimeContentType *type) {
    g_mime_content_type_set_parameter(type, "charset", "utf-8");
    return g_mime_content_type_encode(type, NULL);
}

static void put_text_part(struct tpl *c, GMimePart *part, bool top) {
    GMimeObject *o = GMIME_OBJECT(part);
    GMimeContentType *type = g_mime_object_get_content_type(o);
    const char *charset = g_mime_content_type_get_parameter(type, "charset");
    size_t line = line_of_part(c, o);
    struct rmd_buf bytes = {0};
    struct rmd_slice text;
    if (g_mime_part_get_content(part))
        decoded_bytes(g_mime_part_get_content(part), &bytes);
    if (!to_utf8(c, rmd_slice(rmd_buf_str(&bytes), bytes.len), charset, line, &text))
        goto out;
    if (!tpl_has_field(text)) {
        bool unnamed = !charset || rmd_case_eq(rmd_slice_str(charset), rmd_slice_str("us-ascii"));
        char *utf8 = unnamed && !rmd_is_ascii(text) ? type_in_utf8(type) : NULL;
        put_ready_part(c, part, top, utf8, !is_wide(charset));
        g_free(utf8);
        goto out;
    }
    gint64 at = g_mime_header_list_get_count(g_mime_object_get_header_list(o))
                    ? g_mime_header_get_offset(g_mime_header_list_get_header_at(g_mime_object_get_header_list(o), 0))
                    : 0;
    struct tpl_place place = {.what = "the text", .offset = at > 0 ? (size_t)at : 0};
    bool html = g_mime_content_type_is_type(type, "text", "html");
    struct tpl_vec pieces = {0};
    tpl_pieces(c, text, &place, &pieces);
    char *utf8 = type_in_utf8(type);
    put_fields(c, o, top, utf8, "quoted-printable");
    g_free(utf8);
    put_text_ops(c, &pieces, html);
out:
    rmd_buf_release(&bytes);
}

/* An attached message may not be encoded (RFC 2046 section 5.2.1), so it must be fit to be sent as it is. */
static void put_message_part(struct tpl *c, GMimeObject *o, bool top) {
    GMimeMessage *m = g_mime_message_part_get_message(GMIME_MESSAGE_PART(o));
    GMimeStream *mem = g_mime_stream_mem_new();
    struct rmd_buf raw = {0};
    if (m)
        g_mime_object_write_to_stream(GMIME_OBJECT(m), NULL, mem);
    stream_bytes(mem, &raw);
    if (is_legal(GMIME_CONTENT_ENCODING_7BIT, rmd_buf_slice(&raw))) {
        put_fields(c, o, top, NULL, NULL);
        put_lines(&c->ready, rmd_buf_slice(&raw));
    } else {
        tpl_finding(c, line_of_part(c, o),
                    "the attached message has 8-bit characters or lines of more than %d bytes; attach it as "
                    "application/octet-stream",
                    TPL_LINE_MAX);
    }
    rmd_buf_release(&raw);
}

static void put_multipart(struct tpl *c, GMimeObject *o, bool top, unsigned depth) {
    GMimeMultipart *m = GMIME_MULTIPART(o);
    GMimeContentType *type = g_mime_object_get_content_type(o);
    int n = g_mime_multipart_get_count(m);
    char boundary[64];
    if (rmd_format(boundary, sizeof boundary, "%s_%u", c->boundary, ++c->n_boundaries) < 0)
        return;
    g_mime_content_type_set_parameter(type, "boundary", boundary);
    char *value = g_mime_content_type_encode(type, NULL);
    put_fields(c, o, top, value, NULL);
    g_free(value);
    for (int i = 0; i < n; i++) {
        rmd_buf_addf(&c->ready, "%s--%s\r\n", i ? "\r\n" : "", boundary);
        emit(c, g_mime_multipart_get_part(m, i), false, depth + 1);
    }
    rmd_buf_addf(&c->ready, "\r\n--%s--%s", boundary, top ? "\r\n" : "");
}

static bool is_token(const char *s, size_t max) {
    size_t n = s ? strlen(s) : 0;
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] >= 0x7f || strchr("()<>@,;:\\\"/[]?=", s[i]))
            return false;
    return n > 0 && n <= max;
}

static bool are_params(GMimeParamList *list) {
    for (int i = 0; i < g_mime_param_list_length(list); i++) {
        GMimeParam *p = g_mime_param_list_get_parameter_at(list, i);
        const char *value = g_mime_param_get_value(p);
        struct rmd_slice v = rmd_slice_str(value ? value : "");
        if (!is_token(g_mime_param_get_name(p), PARAM_NAME_MAX) || v.n > PARAM_MAX_BYTES || !rmd_utf8_valid(v))
            return false;
        for (size_t k = 0; k < v.n; k++)
            if (v.p[k] < ' ' || v.p[k] == 0x7f)
                return false;
    }
    return true;
}

/* GMime 3.2 never comes back from encoding a parameter whose name isn't a token, or is longer than a line. */
static bool is_writable(GMimeObject *o) {
    GMimeContentType *type = g_mime_object_get_content_type(o);
    GMimeContentDisposition *d = g_mime_object_get_content_disposition(o);
    return is_token(g_mime_content_type_get_media_type(type), TOKEN_MAX) &&
           is_token(g_mime_content_type_get_media_subtype(type), TOKEN_MAX) &&
           are_params(g_mime_content_type_get_parameters(type)) &&
           (!d || are_params(g_mime_content_disposition_get_parameters(d)));
}

static bool is_sealed(GMimeContentType *type) {
    return g_mime_content_type_is_type(type, "multipart", "signed") ||
           g_mime_content_type_is_type(type, "multipart", "encrypted");
}

static void emit(struct tpl *c, GMimeObject *o, bool top, unsigned depth) {
    GMimeContentType *type = g_mime_object_get_content_type(o);
    if (++c->parts > RMD_TEMPLATE_PARTS_MAX || depth > TPL_DEPTH_MAX) {
        if (c->parts == RMD_TEMPLATE_PARTS_MAX + 1 || depth == TPL_DEPTH_MAX + 1)
            tpl_finding(c, line_of_part(c, o), "more than %d parts, or more than %d multiparts inside each other",
                        RMD_TEMPLATE_PARTS_MAX, TPL_DEPTH_MAX);
        return;
    }
    if (!is_writable(o))
        tpl_finding(c, line_of_part(c, o), "Content-Type or Content-Disposition of a part is malformed");
    else if (is_sealed(type))
        tpl_finding(c, line_of_part(c, o), "a part that is signed or encrypted (multipart/%s) can't be a template",
                    g_mime_content_type_get_media_subtype(type));
    else if (GMIME_IS_MULTIPART(o) && g_mime_multipart_get_count(GMIME_MULTIPART(o)) > 0)
        put_multipart(c, o, top, depth);
    else if (GMIME_IS_MULTIPART(o))
        tpl_finding(c, line_of_part(c, o),
                    "a multipart without parts: is its boundary the one that stands between them?");
    else if (GMIME_IS_MESSAGE_PART(o))
        put_message_part(c, o, top);
    else if (!GMIME_IS_PART(o) || g_mime_content_type_is_type(type, "multipart", "*"))
        tpl_finding(c, line_of_part(c, o), "a part of a kind that can't be sent");
    else if (g_mime_content_type_is_type(type, "text", "*") && !is_attachment(o))
        put_text_part(c, GMIME_PART(o), top);
    else
        put_ready_part(c, GMIME_PART(o), top, NULL, false);
}

/* ---------------------------------------------------------------- the whole */

static bool choose_boundary(struct tpl *c) {
    gchar *hex = g_compute_checksum_for_data(G_CHECKSUM_SHA256, c->eml.p, c->eml.n);
    bool found = false;
    for (int i = 0; i < BOUNDARY_TRIES && !found; i++) {
        int n = rmd_format(c->boundary, sizeof c->boundary, "=_%.32s", hex);
        found = n > 0 && !rmd_case_find(c->eml, rmd_slice_str(c->boundary));
        gchar *next = g_compute_checksum_for_string(G_CHECKSUM_SHA256, hex, -1);
        g_free(hex);
        hex = next;
    }
    g_free(hex);
    if (!found)
        tpl_finding(c, 0, "no boundary can be found for this template");
    return found;
}

/* GMime recurses into multiparts and attached messages; what asks for more of them than are allowed isn't parsed at
 * all. */
static bool is_shallow(struct tpl *c) {
    static const char *const words[] = {"boundary", "message/rfc822", "message/news", "multipart/digest"};
    for (size_t k = 0; k < sizeof words / sizeof words[0]; k++) {
        struct rmd_slice rest = c->eml, word = rmd_slice_str(words[k]);
        size_t n = 0;
        for (const uint8_t *p; (p = rmd_case_find(rest, word)) != NULL; n++)
            rest = rmd_slice(p + word.n, (size_t)(rest.p + rest.n - p) - word.n);
        if (n > RMD_TEMPLATE_PARTS_MAX) {
            tpl_finding(c, 0, "\"%s\" occurs %zu times; a template has at most %d parts", words[k], n,
                        RMD_TEMPLATE_PARTS_MAX);
            return false;
        }
    }
    return true;
}

void tpl_body(struct tpl *c) {
    if (!is_shallow(c) || !choose_boundary(c))
        return;
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer((const char *)c->eml.p, c->eml.n);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
    GMimeObject *top = message ? g_mime_message_get_mime_part(message) : NULL;
    if (top) {
        emit(c, top, true, 0);
        flush_ready(c);
    } else {
        tpl_finding(c, 0, "the template can't be parsed as a message");
    }
    if (message)
        g_object_unref(message);
    g_object_unref(parser);
    g_object_unref(stream);
}
