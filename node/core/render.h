/* Renders one message from a compiled template and a recipient's row, hashing while it writes. Pure.
 *
 * The template was compiled and checked at submission (coordinator/io/template_compile.c); rendering can't fail for
 * reasons of the template, only for reasons of a value (RMD_EFORMAT: invalid UTF-8, or not an address where an
 * address header wants one; RMD_ELIMIT: message over RMD_MESSAGE_MAX_BYTES, header over RMD_HEADER_MAX_BYTES, a URL
 * or address too long for a line), or when a key can't sign (RMD_EIO).
 *
 * Promises, whatever the values are: every line ends in CRLF and is at most 998 bytes; no bare CR or LF, no NUL;
 * header lines are folded at 78 where they can be; a value can't end a header or start a part; non-ASCII in headers
 * becomes RFC 2047 encoded words (raw UTF-8 only when the message needs SMTPUTF8 anyway); each part keeps a legal
 * transfer encoding; in HTML parts values are escaped. The output isn't dot-stuffed: the SMTP client does that.
 *
 * An address header whose address is an empty value leaves out that mailbox, and the whole field when none is left.
 * In headers a run of white space and controls becomes one space; in bodies controls are dropped, but for TAB and
 * line ends.
 *
 * Added when the template lacks them: Date, Message-ID (the envelope's token, which begins with the message id, @
 * sending domain), List-Unsubscribe, List-Unsubscribe-Post (only with an https URL of ours), Feedback-ID
 * (campaign:stream:tenant:remuda), To. Then DKIM-Signature headers in front, one a key. What is equal isn't hashed or
 * signed again (dkim_cache.h). */
#ifndef REMUDA_NODE_RENDER_H
#define REMUDA_NODE_RENDER_H

#include <remuda/sign.h>

#include "proto/codec.h"

enum {
    RMD_MESSAGE_MAX_BYTES = 32 << 20,
    RMD_HEADER_MAX_BYTES = 64 << 10,
    RMD_HEADERS_MAX = 256,
    RMD_RENDER_TOKEN_MAX = 48
};

struct rmd_template; /* a decoded CompiledTemplate, prepared for rendering; immutable, shared by threads */

/* bytes: an encoded CompiledTemplate. columns: the campaign's column names, in the order of Row.field ("email" is
 * always known). RMD_EFORMAT with err when it is malformed or uses a column that isn't there. */
int rmd_template_new(struct rmd_slice bytes, const char *const *columns, size_t n_columns, struct rmd_template **out,
                     char *err, size_t err_n) RMD_CHECKED;
void rmd_template_free(struct rmd_template *t);

/* A DKIM key ready for the hot path; handle from the sign port. */
struct rmd_dkim_key {
    const char *domain;
    const char *selector;
    enum rmd_key_kind kind;
    void *handle;
};

enum rmd_dkim_canon { RMD_CANON_SIMPLE, RMD_CANON_RELAXED };

/* What a stream gives to each of its messages. */
struct rmd_render_stream {
    const char *sending_domain;
    const char *unsubscribe_url;    /* with {token}; "" = none */
    const char *unsubscribe_mailto; /* with {token}; "" = none */
    const char *stream_name;
    uint32_t tenant;
    struct rmd_slice verp_secret;
    const char *return_domain;
    const struct rmd_dkim_key *key;
    size_t n_keys;
    enum rmd_dkim_canon header_canon, body_canon;
    bool one_signature; /* To and Message-ID aren't signed, so that nothing of a recipient's own need be */
};

/* Scratch and output of one thread; reused from message to message. */
struct rmd_renderer;
struct rmd_renderer *rmd_renderer_new(const struct rmd_sign_ops *sign);
void rmd_renderer_free(struct rmd_renderer *r);
/* Before a key's handle is freed that it may have signed with. */
void rmd_renderer_forget_keys(struct rmd_renderer *r);

struct rmd_rendered {
    struct rmd_slice message; /* headers, empty line, body; valid until the next call on the same renderer */
    char mail_from[320];      /* VERP envelope sender */
    char rcpt_to[RMD_EMAIL_MAX];
    char token[RMD_RENDER_TOKEN_MAX]; /* the message's own, of the envelope sender: ENVID */
    bool has_8bit;                    /* needs 8BITMIME */
    bool needs_smtputf8;              /* addresses or headers need SMTPUTF8 */
};

/* wall_ms becomes Date: the time of the campaign's acceptance, so that a retry renders the same bytes. */
int rmd_render(struct rmd_renderer *r, const struct rmd_template *t, const struct rmd_render_stream *stream,
               const struct rmd_id *message, const Remuda__Row *row, int64_t wall_ms, struct rmd_rendered *out,
               char *err, size_t err_n) RMD_CHECKED;

#endif
