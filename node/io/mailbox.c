/* See mailbox.h. */
#include "node/io/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

struct rmd_mailbox {
    int fd;
    pthread_mutex_t lock;
    pthread_cond_t room;
    struct rmd_letter *first, **last;
    size_t bytes;
    bool closed;
    bool gathers, gathering; /* gathering: the last take() found letters, the reader comes again */
};

struct rmd_rules_ref *rmd_rules_ref_new(struct rmd_rules *rules) {
    struct rmd_rules_ref *r = rmd_alloc(sizeof *r);
    r->rules = rules;
    atomic_init(&r->users, 1);
    return r;
}

void rmd_rules_ref_drop(struct rmd_rules_ref *r) {
    if (!r || atomic_fetch_sub(&r->users, 1) > 1)
        return;
    rmd_rules_free(r->rules);
    free(r);
}

static struct rmd_slice place(uint8_t **at, struct rmd_slice s) {
    if (!s.n)
        return (struct rmd_slice){0};
    memcpy(*at, s.p, s.n);
    struct rmd_slice copy = rmd_slice(*at, s.n);
    *at += s.n;
    return copy;
}

struct rmd_letter *rmd_letter_mail(uint32_t worker, const struct rmd_mail *mail) {
    size_t text = mail->text ? strlen(mail->text) + 1 : 0;
    size_t size = sizeof(struct rmd_letter) + mail->bytes.n + mail->skip.n + text;
    struct rmd_letter *l = rmd_realloc(NULL, size);
    *l = (struct rmd_letter){.kind = RMD_LETTER_MAIL, .worker = worker, .mail = *mail, .size = size};
    uint8_t *at = l->data;
    l->mail.bytes = place(&at, mail->bytes);
    l->mail.skip = place(&at, mail->skip);
    l->mail.text = mail->text ? (const char *)place(&at, rmd_slice(mail->text, text)).p : NULL;
    return l;
}

struct rmd_letter *rmd_letter_number(enum rmd_letter_kind kind, uint64_t n, struct rmd_slice bytes) {
    size_t size = sizeof(struct rmd_letter) + bytes.n;
    struct rmd_letter *l = rmd_realloc(NULL, size);
    *l = (struct rmd_letter){.kind = kind, .n = n, .size = size};
    uint8_t *at = l->data;
    l->bytes = place(&at, bytes);
    return l;
}

void rmd_letter_free(struct rmd_letter *l) {
    rmd_rules_ref_drop(l->rules);
    free(l);
}

struct rmd_mailbox *rmd_mailbox_new(bool gathers) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return NULL;
    struct rmd_mailbox *b = rmd_alloc(sizeof *b);
    b->fd = fd;
    b->gathers = gathers;
    b->last = &b->first;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->room, NULL);
    return b;
}

void rmd_mailbox_free(struct rmd_mailbox *b) {
    if (!b)
        return;
    for (struct rmd_letter *l = b->first, *next; l; l = next) {
        next = l->next;
        rmd_letter_free(l);
    }
    close(b->fd);
    pthread_cond_destroy(&b->room);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

int rmd_mailbox_fd(const struct rmd_mailbox *b) {
    return b->fd;
}

/* What comes by the hundred, and nobody waits for. */
static bool can_wait(const struct rmd_letter *l) {
    return l->kind == RMD_LETTER_OUTCOME ||
           (l->kind == RMD_LETTER_MAIL && (l->mail.kind == RMD_MAIL_PACE || l->mail.kind == RMD_MAIL_TLS));
}

void rmd_mailbox_put(struct rmd_mailbox *b, struct rmd_letter *l, bool wait) {
    l->next = NULL;
    pthread_mutex_lock(&b->lock);
    while (wait && b->bytes > RMD_MAILBOX_BYTES && !b->closed)
        pthread_cond_wait(&b->room, &b->lock);
    bool wake = b->gathering ? !can_wait(l) : !b->first;
    *b->last = l;
    b->last = &l->next;
    b->bytes += l->size;
    pthread_mutex_unlock(&b->lock);
    if (wake) {
        uint64_t one = 1;
        ssize_t ignored = write(b->fd, &one, sizeof one); /* fails only when it is raised already */
        (void)ignored;
    }
}

struct rmd_letter *rmd_mailbox_take(struct rmd_mailbox *b) {
    uint64_t count;
    ssize_t ignored = read(b->fd, &count, sizeof count);
    (void)ignored;
    pthread_mutex_lock(&b->lock);
    struct rmd_letter *l = b->first;
    b->first = NULL;
    b->last = &b->first;
    bool waited = b->bytes > RMD_MAILBOX_BYTES;
    b->bytes = 0;
    b->gathering = b->gathers && l;
    pthread_mutex_unlock(&b->lock);
    if (waited)
        pthread_cond_broadcast(&b->room);
    return l;
}

bool rmd_mailbox_full(struct rmd_mailbox *b) {
    pthread_mutex_lock(&b->lock);
    bool full = b->bytes > RMD_MAILBOX_BYTES;
    pthread_mutex_unlock(&b->lock);
    return full;
}

void rmd_mailbox_close(struct rmd_mailbox *b) {
    pthread_mutex_lock(&b->lock);
    b->closed = true;
    pthread_mutex_unlock(&b->lock);
    pthread_cond_broadcast(&b->room);
}
