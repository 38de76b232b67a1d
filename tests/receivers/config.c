/* The configuration file: `key = value` lines, `provider NAME {` ... `}`, `defaults {` ... `}`, # comments.
 *
 * A value is the rest of its line; settings that are lists take commas. `defaults` must stand before the providers
 * that shall have them. Keys are checked: an unknown one is an error with its line. */
#include "tests/receivers/receivers.h"

struct reader {
    struct rmd_rcv *r;
    const char *path;
    unsigned line;
    struct rmd_rcv_policy defaults;
    struct rmd_rcv_provider *provider; /* the open block */
    bool in_defaults;
    char reason[512];
};

struct rmd_rcv_provider *rmd_rcv_provider_find(struct rmd_rcv *r, const char *name) {
    for (size_t i = 0; i < r->providers_n; i++)
        if (!strcmp(r->providers[i]->name, name))
            return r->providers[i];
    return NULL;
}

int rmd_rcv_endpoint_parse(const char *s, struct rmd_addr *addr, uint16_t *port) {
    char host[64];
    uint64_t n;
    const char *colon = strrchr(s, ':');
    if (!colon || colon == s)
        return RMD_EFORMAT;
    bool v6 = s[0] == '[' && colon[-1] == ']';
    if (!rmd_copy_slice(host, sizeof host, rmd_slice(s + v6, (size_t)(colon - s) - 2u * v6)))
        return RMD_EFORMAT;
    if (rmd_addr_parse(host, addr) || (addr->family == 6) != v6)
        return RMD_EFORMAT;
    if (rmd_parse_u64(rmd_slice_str(colon + 1), &n) || n == 0 || n > UINT16_MAX)
        return RMD_EFORMAT;
    *port = (uint16_t)n;
    return RMD_OK;
}

int rmd_rcv_net_parse(const char *s, struct rmd_addr *net, unsigned *prefix) {
    char host[64];
    uint64_t bits;
    *net = (struct rmd_addr){0};
    *prefix = 0;
    if (!strcmp(s, "*"))
        return RMD_OK;
    const char *slash = strchr(s, '/');
    if (!rmd_copy_slice(host, sizeof host, rmd_slice(s, slash ? (size_t)(slash - s) : strlen(s))))
        return RMD_EFORMAT;
    if (rmd_addr_parse(host, net))
        return RMD_EFORMAT;
    unsigned full = net->family == 4 ? 32 : 128;
    if (!slash) {
        *prefix = full;
        return RMD_OK;
    }
    if (rmd_parse_u64(rmd_slice_str(slash + 1), &bits) || bits == 0 || bits > full)
        return RMD_EFORMAT;
    *prefix = (unsigned)bits;
    return RMD_OK;
}

int rmd_rcv_block_add(struct rmd_rcv_provider *p, const char *net, const char *stages, const char *text) {
    struct rmd_rcv_block b = {0};
    int64_t bits;
    if (rmd_rcv_net_parse(net, &b.net, &b.prefix) || rmd_rcv_stages_parse(stages, &bits) || !bits ||
        rmd_rcv_reply_code(text) < 400)
        return RMD_EFORMAT;
    if (p->blocks_n >= RCV_BLOCKS_MAX)
        return RMD_ELIMIT;
    b.stages = (unsigned)bits;
    b.text = rmd_strdup(text);
    p->blocks = rmd_realloc(p->blocks, (p->blocks_n + 1) * sizeof *p->blocks);
    p->blocks[p->blocks_n++] = b;
    return RMD_OK;
}

size_t rmd_rcv_block_remove(struct rmd_rcv_provider *p, const char *net, unsigned stages) {
    struct rmd_addr a;
    unsigned prefix;
    size_t kept = 0, removed;
    bool every = strcmp(net, "*") == 0;
    if (!every && rmd_rcv_net_parse(net, &a, &prefix))
        return 0;
    for (size_t i = 0; i < p->blocks_n; i++) {
        struct rmd_rcv_block *b = &p->blocks[i];
        bool same = every || (b->prefix == prefix && b->net.family == a.family && !memcmp(b->net.b, a.b, sizeof a.b));
        if (same && !(b->stages & ~stages))
            free(b->text);
        else
            p->blocks[kept++] = *b;
    }
    removed = p->blocks_n - kept;
    p->blocks_n = kept;
    return removed;
}

static int fail(struct reader *in, const char *fmt, ...) RMD_PRINTF(2, 3);
static int fail(struct reader *in, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(in->reason, sizeof in->reason, fmt, ap);
    va_end(ap);
    return RMD_EFORMAT;
}

static int listen_add(struct reader *in, const char *value) {
    struct rmd_rcv_provider *p = in->provider;
    struct rmd_rcv_list l = {0};
    int rc = RMD_OK;
    rmd_rcv_list_add(&l, value);
    for (size_t i = 0; i < l.n && !rc; i++) {
        struct rmd_addr addr;
        uint16_t port;
        if (rmd_rcv_endpoint_parse(l.v[i], &addr, &port))
            rc = fail(in, "listen: \"%s\" is not ADDRESS:PORT or [IPv6]:PORT", l.v[i]);
        else if (p->listeners_n >= RCV_LISTENERS_MAX)
            rc = fail(in, "listen: more than %d addresses", (int)RCV_LISTENERS_MAX);
        if (rc)
            break;
        p->listeners = rmd_realloc(p->listeners, (p->listeners_n + 1) * sizeof *p->listeners);
        struct rmd_rcv_listener *n = &p->listeners[p->listeners_n++];
        *n = (struct rmd_rcv_listener){.provider = p, .watch.fd = -1};
        (void)rmd_copy(n->addr, sizeof n->addr, l.v[i]);
    }
    rmd_rcv_list_release(&l);
    return rc;
}

/* block = NET STAGES TEXT */
static int block_line(struct reader *in, char *value) {
    size_t a = strcspn(value, " \t"), b;
    if (!value[a])
        return fail(in, "block: expected NET STAGE TEXT");
    char *stages = value + a + strspn(value + a, " \t");
    value[a] = 0;
    b = strcspn(stages, " \t");
    if (!stages[b])
        return fail(in, "block: expected NET STAGE TEXT");
    char *text = stages + b + strspn(stages + b, " \t");
    stages[b] = 0;
    if (rmd_rcv_block_add(in->provider, value, stages, text))
        return fail(in, "block: \"%s %s %s\": expected NET STAGE TEXT, the text beginning with 4xx or 5xx", value,
                    stages, text);
    return RMD_OK;
}

static int provider_key(struct reader *in, const char *key, char *value) {
    struct rmd_rcv_provider *p = in->provider;
    if (!strcmp(key, "listen"))
        return listen_add(in, value);
    if (!strcmp(key, "domains")) {
        for (char *s = value; *s; s++)
            *s = rmd_lower(*s);
        rmd_rcv_list_add(&p->domains, value);
        return RMD_OK;
    }
    if (!strcmp(key, "host")) {
        free(p->host);
        p->host = rmd_strdup(value);
        return RMD_OK;
    }
    if (!strcmp(key, "block"))
        return block_line(in, value);
    return rmd_rcv_policy_set(&p->policy, key, value, in->reason, sizeof in->reason);
}

static void text_set(char **to, const char *value) {
    free(*to);
    *to = *value ? rmd_strdup(value) : NULL;
}

static int count_set(struct reader *in, const char *key, const char *value, int64_t max, int64_t *out) {
    uint64_t n;
    if (rmd_parse_bytes(rmd_slice_str(value), &n) || n == 0 || n > (uint64_t)max)
        return fail(in, "%s: \"%s\" is not a number from 1 to %lld", key, value, (long long)max);
    *out = (int64_t)n;
    return RMD_OK;
}

static int global_key(struct reader *in, const char *key, const char *value) {
    struct rmd_rcv *r = in->r;
    int64_t n = 0;
    if (!strcmp(key, "tls_cert"))
        text_set(&r->tls_cert, value);
    else if (!strcmp(key, "tls_key"))
        text_set(&r->tls_key, value);
    else if (!strcmp(key, "save"))
        text_set(&r->save, value);
    else if (!strcmp(key, "dkim_keys"))
        rmd_rcv_list_add(&r->dkim_keys, value);
    else if (!strcmp(key, "dkim_dns"))
        text_set(&r->dkim_dns, value);
    else if (!strcmp(key, "dkim_verify"))
        return rmd_rcv_bool_parse(value, &r->dkim_verify) ? fail(in, "dkim_verify: on or off") : RMD_OK;
    else if (!strcmp(key, "dkim_sample")) {
        char *end;
        r->dkim_sample = strtod(value, &end);
        if (end == value || *end || !(r->dkim_sample >= 0 && r->dkim_sample <= 1))
            return fail(in, "dkim_sample: a number from 0 to 1");
    } else if (!strcmp(key, "dkim_threads"))
        return count_set(in, key, value, 64, &r->dkim_threads);
    else if (!strcmp(key, "dkim_queue"))
        return count_set(in, key, value, INT64_C(8) << 30, &r->dkim_queue_bytes);
    else if (!strcmp(key, "seed")) {
        int rc = count_set(in, key, value, INT64_MAX, &n);
        r->random = (uint64_t)n;
        return rc;
    } else
        return fail(in, "%s: no such key outside of a block", key);
    return RMD_OK;
}

static int block_open(struct reader *in, const char *name) {
    struct rmd_rcv *r = in->r;
    if (in->provider || in->in_defaults)
        return fail(in, "a block inside a block");
    if (!strcmp(name, "defaults")) {
        in->in_defaults = true;
        return RMD_OK;
    }
    if (strncmp(name, "provider ", 9) != 0 || !name[9] || strchr(name + 9, ' '))
        return fail(in, "\"%s\": expected `provider NAME {` or `defaults {`", name);
    name += 9;
    if (rmd_rcv_provider_find(r, name))
        return fail(in, "provider %s stands here twice", name);
    if (r->providers_n >= RCV_PROVIDERS_MAX)
        return fail(in, "more than %d providers", (int)RCV_PROVIDERS_MAX);
    struct rmd_rcv_provider *p = rmd_alloc(sizeof *p);
    p->name = rmd_strdup(name);
    rmd_rcv_policy_copy(&p->policy, &in->defaults);
    r->providers[r->providers_n++] = in->provider = p;
    return RMD_OK;
}

static int block_close(struct reader *in) {
    struct rmd_rcv_provider *p = in->provider;
    if (!p && !in->in_defaults)
        return fail(in, "} without a block");
    if (p && !p->listeners_n)
        return fail(in, "provider %s has no listen address", p->name);
    if (p && (p->policy.dnsbl_zone != NULL) != (p->policy.dnsbl_server != NULL))
        return fail(in, "provider %s: dnsbl_zone and dnsbl_server need each other", p->name);
    if (p && !p->host) {
        struct rmd_buf b = {0};
        rmd_buf_addf(&b, "mx.%s", p->domains.n ? p->domains.v[0] : p->name);
        p->host = rmd_strdup(rmd_buf_str(&b));
        rmd_buf_release(&b);
    }
    in->provider = NULL;
    in->in_defaults = false;
    return RMD_OK;
}

static int line_read(struct reader *in, char *text) {
    struct rmd_slice s = rmd_trim(rmd_slice_str(text));
    char *line = (char *)(uintptr_t)s.p, *value;
    if (!s.n || line[0] == '#')
        return RMD_OK;
    line[s.n] = 0;
    if (!strcmp(line, "}"))
        return block_close(in);
    if (line[s.n - 1] == '{') {
        line[s.n - 1] = 0;
        s = rmd_trim(rmd_slice_str(line));
        line[s.n] = 0;
        return block_open(in, line);
    }
    size_t n = strcspn(line, " \t=");
    value = line + n + strspn(line + n, " \t");
    if (*value != '=')
        return fail(in, "expected `key = value`, found \"%s\"", line);
    value += 1 + strspn(value + 1, " \t");
    line[n] = 0;
    if (in->provider)
        return provider_key(in, line, value);
    if (in->in_defaults)
        return rmd_rcv_policy_set(&in->defaults, line, value, in->reason, sizeof in->reason);
    return global_key(in, line, value);
}

int rmd_rcv_config_load(struct rmd_rcv *r, const char *path, char *err, size_t err_n) {
    struct reader in = {.r = r, .path = path};
    char *text = NULL;
    size_t cap = 0;
    int rc = RMD_OK;
    FILE *f = fopen(path, "re");
    if (!f) {
        (void)rmd_format(err, err_n, "%s: cannot be read: %m", path);
        return RMD_EIO;
    }
    rmd_rcv_policy_defaults(&in.defaults);
    while (!rc && getline(&text, &cap, f) > 0) {
        in.line++;
        rc = line_read(&in, text);
    }
    if (!rc && (in.provider || in.in_defaults))
        rc = fail(&in, "the last block is not closed");
    if (!rc && !r->providers_n)
        rc = fail(&in, "no provider is configured");
    if (rc)
        (void)rmd_format(err, err_n, "%s:%u: %s", path, in.line, in.reason);
    rmd_rcv_policy_release(&in.defaults);
    free(text);
    fclose(f);
    return rc;
}

static void provider_free(struct rmd_rcv_provider *p) {
    struct rmd_slice key;
    void *value;
    for (uint32_t it = 0; rmd_map_next(&p->clients, &it, &key, &value);)
        free(value);
    rmd_map_release(&p->clients);
    rmd_map_release(&p->greylist);
    for (size_t i = 0; i < p->blocks_n; i++)
        free(p->blocks[i].text);
    free(p->blocks);
    free(p->listeners);
    rmd_rcv_list_release(&p->domains);
    rmd_rcv_policy_release(&p->policy);
    free(p->name);
    free(p->host);
    free(p);
}

void rmd_rcv_config_release(struct rmd_rcv *r) {
    for (size_t i = 0; i < r->providers_n; i++)
        provider_free(r->providers[i]);
    r->providers_n = 0;
    rmd_rcv_list_release(&r->dkim_keys);
    free(r->dkim_dns);
    free(r->save);
    free(r->tls_cert);
    free(r->tls_key);
}
