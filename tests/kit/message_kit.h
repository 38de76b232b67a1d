/* Tools for tests of messages: a strict reading of what leaves, a template compiled and rendered in one call, DKIM
 * keys made on the spot with their DNS records. */
#ifndef REMUDA_TESTS_MESSAGE_KIT_H
#define REMUDA_TESTS_MESSAGE_KIT_H

#include "node/core/render.h"

enum { KIT_HEADERS_MAX = 300 };

struct kit_header {
    struct rmd_slice name;
    struct rmd_slice value; /* behind the colon, with its folding */
};

/* A message taken apart without mercy. */
struct kit_message {
    struct kit_header header[KIT_HEADERS_MAX];
    size_t n_headers;
    struct rmd_slice body;
    size_t leaves; /* parts that aren't multiparts */
    bool has_8bit;
};

/* NULL when the message keeps every promise of render.h (line ends, lengths, names, NULs, folding, boundaries that
 * open and close), else what it breaks. */
const char *kit_message_check(struct rmd_slice bytes, struct kit_message *out);
/* k-th field of that name (from 0); an empty slice with p NULL when there is none. Surrounding blanks are cut. */
struct rmd_slice kit_message_header(const struct kit_message *m, const char *name, size_t k);

/* A campaign of one template: compile, prepare, render rows. */
struct kit_campaign {
    struct rmd_template *t;
    struct rmd_renderer *r;
    struct rmd_render_stream stream; /* adjust before rendering */
    uint64_t ordinal;                /* of the row, which gives it its token; 0: 7 */
    char err[4096];
    struct rmd_rendered out;
};
/* Columns end with NULL. RMD_EINVAL: findings are in err. */
int kit_campaign_open(struct kit_campaign *k, struct rmd_slice eml, const char *const *columns,
                      const struct rmd_sign_ops *sign) RMD_CHECKED;
void kit_campaign_close(struct kit_campaign *k);
int kit_campaign_render(struct kit_campaign *k, const char *email, const struct rmd_slice *values,
                        size_t n) RMD_CHECKED;

/* An RSA-2048 and an Ed25519 key, loaded into the OpenSSL port; records by selector "rsa" and "ed". */
struct kit_keys {
    struct rmd_dkim_key key[2];
    char record[2][1024];
    char pem[2][4096];
};
void kit_keys_make(struct kit_keys *k);
void kit_keys_release(struct kit_keys *k);
int kit_keys_lookup(void *kit_keys, const char *selector, const char *domain, char *out, size_t out_n) RMD_CHECKED;

#endif
