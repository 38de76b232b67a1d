/* Files of named sections in layers: the shipped text, and an operator's on top of it, key by key.
 *
 *     default { key = value }              what every section says that says nothing else
 *     provider "google" { key = value }    the word is the kind's; a section that comes again goes on
 *
 * Both texts are read into drafts first, where a key that nobody set stays RMD_LAYER_UNSET; the owner fills in the defaults
 * last, so that an operator's `default` reaches every section. Findings are lines "file:line: ..."; all of them are told.
 * Keys that are numbers, switches, durations, parts or one of some words stand in the kind's table; the others are the owner's.
 *
 * A draft begins with struct rmd_layer. Drafts and trees live in the arena that the owner gives, and gives back. */
#ifndef REMUDA_LAYERS_H
#define REMUDA_LAYERS_H

#include <base/text.h>

#include "proto/io/ucl.h"

enum { RMD_LAYER_UNSET = -1, RMD_LAYER_WHERE_MAX = 96, RMD_LAYER_VALUES_MAX = 16, RMD_LAYERS_MAX = 256 };

enum rmd_layer_type {
    RMD_LAYER_COUNT,    /* 500, 50k, 2M */
    RMD_LAYER_SWITCH,   /* true or false */
    RMD_LAYER_DURATION, /* 6h: milliseconds */
    RMD_LAYER_PERCENT,  /* 20%: whole per cent */
    RMD_LAYER_WORD,     /* one of word(0) ... */
};

struct rmd_layer_key {
    const char *name;
    enum rmd_layer_type type;
    int64_t min, max;
    const char *(*word)(uint32_t value); /* RMD_LAYER_WORD: for min to max */
    const char *words;                   /* the same for people */
};

/* What every draft begins with. */
struct rmd_layer {
    const char *name;
    const char *file; /* that defined or changed it last */
    int line;
    bool shipped; /* the shipped text has it */
    bool faulty;  /* something of it could not be read: what it lacks is no further mistake */
    int64_t value[RMD_LAYER_VALUES_MAX];
    uint32_t own; /* bit k: the operator's text set value[k] */
};

struct rmd_layers;
struct rmd_layers_kind {
    const char *word, *words; /* "provider", "providers" */
    const char *name_chars;   /* besides small letters and digits, for people: "\"-\", \"_\"" */
    const char *name_extra;   /* the same: "-_" */
    size_t name_max, max, draft_size;
    const struct rmd_layer_key *key;
    size_t n_keys;
    void (*init)(void *draft); /* NULL: zeroed will do */
    /* A key that isn't in the table. False: unknown. where: `provider "google"`, for findings. */
    bool (*member)(struct rmd_layers *r, void *draft, const struct rmd_ucl *node, const char *where);
};

struct rmd_layers {
    const struct rmd_layers_kind *kind;
    struct rmd_arena *arena;
    struct rmd_buf *err;
    void *ctx; /* the owner's */
    const char *file;
    bool shipped;
    int findings;
    void *fallback;          /* the draft of `default` */
    void *v[RMD_LAYERS_MAX]; /* in the order in which they came */
    size_t n;
};

void rmd_layers_init(struct rmd_layers *r, const struct rmd_layers_kind *kind, struct rmd_arena *arena,
                     struct rmd_buf *err);
void rmd_layers_read(struct rmd_layers *r, struct rmd_slice text, const char *file, bool shipped);
void rmd_layers_finding(struct rmd_layers *r, const char *file, int line, const char *fmt, ...) RMD_PRINTF(4, 5);
/* A value with its default, RMD_LAYER_UNSET when neither is set. */
int64_t rmd_layers_value(const struct rmd_layers *r, const void *draft, size_t key);
/* Calls fn for each text of a list, or for the only one. */
void rmd_layers_each(struct rmd_layers *r, void *draft, const struct rmd_ucl *node, const char *where,
                     void (*fn)(struct rmd_layers *r, void *draft, const char *text, int line));

#endif
