#!/usr/bin/env python3
"""Plants known bugs in the cores, one at a time, and demands that the simulator catches each within its first seeds.

Each mutant is a copy of the sources under BUILD/mutants/NAME with one text changed; the tree itself is never touched. Objects of the
unchanged sources are copied along, so that a mutant costs one file's compilation. A text that isn't there exactly once is an error: the list
must follow the sources. The unchanged copy must keep every promise in the same seeds, or a catch would mean nothing.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

SEEDS = 100
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCES = ["Makefile", "include", "proto", "coordinator/core", "node/core", "node/io/journal.h", "tests/sim",
           "tests/tests.mk", "tests/accuracy.mk"] + ["tests/kit/%s.%s" % (name, kind) for name in (
               "store_fake", "store_rows", "ordered", "sign_fake") for kind in "hc"]

CORE, NODE = "coordinator/core/", "node/core/"
MUTANTS = [
    ("fence-skipped", NODE + "node_lease.c",
     "    if (id > n->high_water)\n        return true;",
     "    if (id)\n        return true;"),
    ("report-settled-twice", CORE + "report.c",
     "            if (r->first_n + i != n->rec->settled_n + 1)\n                continue; /* settled before */\n",
     ""),
    ("budget-refunded-twice", CORE + "report.c",
     "        rmd_caps_return(&l->caps, 1);\n        rmd_caps_book(",
     "        rmd_caps_return(&l->caps, 2);\n        rmd_caps_book("),
    ("half-of-the-rcpts-booked", CORE + "report.c",
     "        rmd_caps_book(&c->ledger, &l->caps, rcpts);\n        c->deal",
     "        rmd_caps_book(&c->ledger, &l->caps, rcpts / 2);\n        c->deal"),
    ("ledger-bucket-dropped-at-restart", CORE + "ledger.c",
     "    b->used += used;\n    a->used += used;\n    /* A bucket exists",
     "    b->used += used - used;\n    /* A bucket exists"),
    ("recall-forgotten", CORE + "recall.c",
     "    while (k->leased && rmd_map_next(&c->nodes, &it, NULL, &v)) {",
     "    while (false && rmd_map_next(&c->nodes, &it, NULL, &v)) {"),
    ("reputation-forgotten", CORE + "reputation_book.c",
     "        x->dirty = false;\n        write_one(c, x);",
     "        x->dirty = false;\n        if (false)\n            write_one(c, x);"),
    ("uncertain-resent-at-once", CORE + "report.c",
     "                .not_before_wall_ms;\n        rmd_deferred_put(c, k, d);",
     "                .not_before_wall_ms;\n        d->not_before_wall_ms = c->now.wall_ms;\n        rmd_deferred_put(c, k, d);"),
    ("uncertain-not-counted", CORE + "report.c",
     "    k->rec->uncertain++;\n    c->uncertain++;\n    rmd_campaign_dirty(c, k);\n    Remuda__EventRecord *e = rmd_event_message(c, \"uncertain\", k, x->bytes",
     "    c->uncertain++;\n    rmd_campaign_dirty(c, k);\n    Remuda__EventRecord *e = rmd_event_message(c, \"uncertain\", k, x->bytes"),
    ("hold-policy-ignored", CORE + "report.c",
     "    if (k->stream->rec->uncertain_policy == 1) {",
     "    if (k->stream->rec->uncertain_policy == 2) {"),
    ("late-report-ignored", CORE + "report.c",
     "    if (!final)\n        return;",
     "    if (!final || x->lease)\n        return;"),
    ("suppression-checked-only-at-intake", CORE + "lease.c",
     "        if (rmd_suppress_has(c, e->cq->campaign->rec->stream, ch->rows->address_hash[i])) {",
     "        if (i > ch->n) {"),
    ("suppression-acknowledged-at-once", CORE + "suppress.c",
     "        if (n->granted)\n            s->waits[s->n_waits++] = n->rec->id;",
     "        if (n->granted == UINT32_MAX)\n            s->waits[s->n_waits++] = n->rec->id;"),
    ("settle-not-remembered", CORE + "campaign.c",
     "    rmd_bit_set(ch->settled, row);\n    rmd_chunk_dirty(c, ch);\n    ++*counter(",
     "    rmd_chunk_dirty(c, ch);\n    ++*counter("),
    ("sticky-source-forgotten", CORE + "report.c",
     "        d->sticky_source = l->source_id;",
     "        d->sticky_source = 0;"),
    ("validity-ignored-by-the-node", NODE + "worker_mail.c",
     "    w->valid_until_ms = until_ms;",
     "    w->valid_until_ms = until_ms + 8640000000;"),
    ("in-doubt-dealt-again-at-once", CORE + "doubt.c",
     "    else if (c->now.mono_ms - l->doubt_mono_ms >= wait)",
     "    else if (c->now.mono_ms - l->doubt_mono_ms >= 0)"),
    ("dot-mark-skipped", NODE + "worker_message.c",
     "    f->mark = mark;",
     "    f->mark = mark > 1 ? 1 : mark;"),
    ("stop-forgotten-by-the-node", NODE + "verdict.c",
     "        stop(w, &c->lane->stop, v);\n        rmd_worker_stop_lane(w, c->lane, RMD_RETURN_SOURCE_STOPPED);",
     "        (void)stop;"),
    ("site-stop-forgotten-by-the-node", NODE + "worker_stops.c",
     "    halt(w, lane, site->mx_site);\n    return true;",
     "    if (!site)\n        halt(w, lane, 0);\n    forget(lane, site->mx_site, stop);\n    return true;"),
    ("one-site-stops-other", CORE + "failover.c",
     "    if (of_one_site(in, providers)) {",
     "    if (false && of_one_site(in, providers)) {"),
    ("source-stop-hits-one-lane", CORE + "alarm.c",
     "close_lane(c, x, x->source, &x->source->all, 0, RMD_LANE_QUARANTINED, i);",
     "close_lane(c, x, x->source, lane, x->provider_id, RMD_LANE_QUARANTINED, i);"),
    ("one-voice-stops-the-source-everywhere", CORE + "failover.c",
     "    if (in->dns_confirmed || providers >= 2 || everywhere) {",
     "    if (in->dns_confirmed || providers >= 1 || everywhere) {"),
    ("network-stop-hits-one-source", CORE + "alarm.c",
     "        if (s->net != x->source->net)",
     "        if (s != x->source)"),
    ("network-forgotten-beside-the-source", CORE + "alarm.c",
     "        if (x->d.network)\n            close_network(c, x);\n",
     ""),
    ("two-sites-of-other-corroborate-nothing", CORE + "failover.c",
     "        if (counts(&r->v[i], &f) && r->v[i].site && r->v[i].site != site)",
     "        if (counts(&r->v[i], &f) && r->v[i].site && r->v[i].site == site + 1)"),
    ("growth-ignored", CORE + "growth.c",
     "    return limit > least ? limit : least;",
     "    return limit > least ? UINT64_MAX : UINT64_MAX;"),
    ("canary-ignored", CORE + "moving.c",
     "    return canary ? RMD_MOVING_CANARY : RMD_MOVING_GROWING;",
     "    return canary ? RMD_MOVING_GROWING : RMD_MOVING_GROWING;"),
    ("probing-skipped", CORE + "returning.c",
     "    if (l->state == RMD_LANE_RESTING || (l->state == RMD_LANE_QUARANTINED && c->o.without & RMD_WITHOUT_PROBING)) {",
     "    if (l->state != RMD_LANE_OPEN) {"),
    ("probed-with-many-at-once", CORE + "returning.c",
     "    if (l->leases || l->in_doubt)\n        return true;",
     "    if (l->in_doubt)\n        return true;"),
    ("sender-rest-ignored", CORE + "sender_act.c",
     "    return urgent(q->stream) ? urgent_room(c, p) : rmd_sender_room(&p->s, leased(c, p));",
     "    return urgent(q->stream) ? urgent_room(c, p) : leased(c, p) ? 200 : 100;"),
    ("sender-recall-forgotten", CORE + "sender_act.c",
     "    rmd_core_wake(c, c->now.mono_ms + ms);\n    rmd_recall_where(c, of_place, p, RMD_RETURN_PAUSED);",
     "    rmd_core_wake(c, c->now.mono_ms + ms);"),
    ("sender-pause-everywhere", CORE + "sender_act.c",
     "    const struct rmd_sender_place *x = agrees(c, p);",
     "    const struct rmd_sender_place *x = agrees(c, p) ? p : p;"),
    ("pause-of-the-campaign-forgotten", CORE + "alarm.c",
     "        pause_campaigns(c, x, i);",
     "        (void)pause_campaigns;"),
    ("age-limit-ignored", CORE + "campaign.c",
     "(k->rec->state == RMD_CAMPAIGN_CANCELLED || c->now.wall_ms >= until))",
     "(k->rec->state == RMD_CAMPAIGN_CANCELLED))"),
    ("ceiling-not-asked", CORE + "share.c",
     "    return c->shared[p] < ceiling(c, p);",
     "    return true;"),
    ("failed-self-test-believed", NODE + "watch.c",
     "    if (x->failed) {\n        char why[160];",
     "    if (x->failed && !x->questions) {\n        char why[160];"),
    ("listing-not-confirmed", NODE + "watch.c",
     "    if (fresh && q->phase != PHASE_AGAIN) {",
     "    if (fresh && q->phase == PHASE_IDLE) {"),
    ("unknown-taken-for-clean", CORE + "listing.c",
     "    else if (j.state == RMD_FINDING_CLEAN)",
     "    else if (j.state != RMD_FINDING_LISTED)"),
    ("listed-source-goes-on", CORE + "listing_act.c",
     "    rmd_lane_set(c, s, &s->all, RMD_LANE_QUARANTINED, 0, i->rec->id);\n    if (was)\n        return;",
     "    if (was)\n        return;"),
    ("refusal-of-the-ip-bounces", CORE + "report.c",
     "    if (for_our_sake_alone(v)) {",
     "    if (for_our_sake_alone(v) && !c) {"),
    ("stage-gained-without-use", CORE + "warmup.c",
     "    } else if (d->distinct < j.needed) {",
     "    } else if (d->distinct + 1 < 1) {"),
    ("warm-up-gate-ignored", CORE + "warmup.c",
     "    if (j.gate != RMD_GATE_KINDS || (d->stopped && !s->no_gates)) {",
     "    if (d->stopped && !s->no_gates) {"),
    ("share-of-the-hour-ignored", CORE + "ledger.c",
     "    for (int i = 0; i < RMD_ACCOUNTS && room; i++) {\n        uint64_t x = rmd_account_hour_available(",
     "    for (int i = 0; i < 0; i++) {\n        uint64_t x = rmd_account_hour_available("),
    ("warm-up-forgotten-at-restart", CORE + "warm_lanes.c",
     "    x->scheme.caps = rmd_plan_caps(plan, c->o.provider[provider]->name);",
     "    x->scheme.caps = rmd_plan_caps(plan, c->o.provider[provider]->name);\n    x->w.stage += x->w.last_day > 0;"),
    ("cold-lanes-used-all-the-same", CORE + "warm_caps.c",
     "    if (st->rec->no_cold_lanes && rmd_warm_is_cold(l->warm))",
     "    if (st->rec->no_cold_lanes && !l)"),
    ("places-in-a-network-ignored", CORE + "warm_lanes.c",
     "s->net->warming >= c->o.warm_per_network;",
     "s->net->warming > c->o.warm_per_network;"),
    ("start-of-a-campaign-ignored", CORE + "release.c",
     "    return k->rec->started || c->now.wall_ms >= k->rec->start_wall_ms;",
     "    return k->rec->started || c->now.wall_ms >= 0;"),
    ("offered-recipients-not-counted", CORE + "lease.c",
     "    if (first)\n        rmd_release_offered(",
     "    if (first > RMD_COORD_LEASE_MESSAGES)\n        rmd_release_offered("),
    ("one-incident-for-each-source-at-a-site", CORE + "alarm.c",
     "        if (site || rmd_incident_is_about(",
     "        if (rmd_incident_is_about("),
    ("surge-suppresses-all-the-same", CORE + "surge_act.c",
     "    bool surge = p && p->s.on;",
     "    bool surge = p && p->s.on && !email.n;"),
]


def copy_sources(target):
    for s in SOURCES:
        src, dst = os.path.join(ROOT, s), os.path.join(target, s)
        os.makedirs(os.path.dirname(dst), exist_ok=True)
        if os.path.isdir(src):
            shutil.copytree(src, dst)
        elif os.path.exists(src):
            shutil.copy2(src, dst)


def build(where):
    r = subprocess.run(["make", "--no-print-directory", "-s", "-j2", "BUILD=b", "b/sim"], cwd=where, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True)
    if r.returncode:
        sys.exit(f"{where}: does not build:\n{r.stdout[-3000:]}")


def run(where):
    """(seed, promise) of the first failure, or None. A crash or a hang of the simulator is a catch, too."""
    try:
        r = subprocess.run([os.path.join(where, "b/sim"), "--until-failure", f"1-{SEEDS}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return "?", "time goes on"
    m = re.search(r"^seed (\d+): FAILED: ([^:]*)", r.stdout, re.M)
    if m:
        return m.group(1), m.group(2)
    return ("?", f"the program ends with {r.returncode}") if r.returncode else None


def plant(where, name, path, old, new):
    full = os.path.join(where, path)
    with open(full) as f:
        text = f.read()
    if text.count(old) != 1:
        sys.exit(f"mutant {name}: its text is {text.count(old)} times in {path}, and must be there once: bring the list up to date")
    with open(full, "w") as f:
        f.write(text.replace(old, new))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default="build")
    p.add_argument("--only", metavar="NAME")
    a = p.parse_args()
    chosen = [m for m in MUTANTS if a.only in (None, m[0])]
    if not chosen:
        sys.exit(f"there is no mutant {a.only}; there are: " + " ".join(m[0] for m in MUTANTS))
    top = os.path.join(os.path.abspath(a.build), "mutants")
    shutil.rmtree(top, ignore_errors=True)
    base = os.path.join(top, "base")
    copy_sources(base)
    for m in chosen:  # all texts first: an outdated list shows at once
        with open(os.path.join(base, m[1])) as f:
            n = f.read().count(m[2])
        if n != 1:
            sys.exit(f"mutant {m[0]}: its text is {n} times in {m[1]}, and must be there once: bring the list up to date")
    build(base)
    broken = run(base)
    if broken:
        sys.exit(f"the unchanged sources break a promise in seed {broken[0]} ({broken[1]}): mend that first")
    width = max(len(m[0]) for m in chosen)
    print(f"{'mutant':<{width}} | caught at seed | promise", flush=True)
    survived = 0
    for name, path, old, new in chosen:
        where = os.path.join(top, name)
        shutil.copytree(base, where)
        plant(where, name, path, old, new)
        build(where)
        caught = run(where)
        survived += caught is None
        seed, promise = caught or ("SURVIVED", f"{SEEDS} seeds")
        print(f"{name:<{width}} | {seed:>14} | {promise}", flush=True)
        if caught:
            shutil.rmtree(where)
    print(f"mutants caught: {len(chosen) - survived}\nmutants survived: {survived}")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
