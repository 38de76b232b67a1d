/* The herd's part of the simulator's command line. */
#ifndef REMUDA_HERD_COMMAND_H
#define REMUDA_HERD_COMMAND_H

#include "tests/sim/herd/rules.h"

bool herd_is_asked(int argc, char **argv); /* one of its options is there */

#endif
