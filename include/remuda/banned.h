/* Calls that are never right here; included before everything else by the Makefile. */
#ifndef REMUDA_BANNED_H
#define REMUDA_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strncat strtok gets tmpnam mktemp atoi atol gmtime \
    localtime ctime asctime

#endif
