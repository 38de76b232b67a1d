/* The host's clock and the kernel's randomness, behind the ports of remuda/clock.h and remuda/rng.h. Thread-safe.
 *
 * mono_ms is CLOCK_BOOTTIME, which goes on while the host is suspended: a lease expires for everybody else in that
 * time too. Without /proc/sys/kernel/random/boot_id the program ends with a message: deadlines of another boot
 * couldn't be told apart. */
#ifndef REMUDA_IO_CLOCK_H
#define REMUDA_IO_CLOCK_H

#include <remuda/clock.h>
#include <remuda/rng.h>

const struct rmd_clock *rmd_clock_host(void);

uint64_t rmd_random_seed(void);
void rmd_random_bytes(void *p, size_t n);

#endif
