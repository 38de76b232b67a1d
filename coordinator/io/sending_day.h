/* Sending days by the operator's calendar: libc's time zones. The zone is the process's: set once, before there are threads. */
#ifndef REMUDA_SENDING_DAY_H
#define REMUDA_SENDING_DAY_H

#include "coordinator/core/coordinator.h"

/* "04:00" -> milliseconds after midnight. */
int rmd_sending_day_parse(const char *text, int64_t *ms) RMD_CHECKED;
/* "", a name of the zone database, or an offset like +02:00; err gets one sentence. */
int rmd_sending_day_check(const char *zone, char *err, size_t err_n) RMD_CHECKED;
void rmd_sending_day_zone(const char *zone); /* one that the check took */
/* The day that this moment belongs to. A day that a change of clocks makes shorter or longer has its true length. */
void rmd_sending_day_at(int64_t wall_ms, int64_t starts_ms, struct rmd_sending_day *out);

#endif
