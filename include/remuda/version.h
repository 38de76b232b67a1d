/* The version of the programs. The protocol has its own (proto/codec.h). */
#ifndef REMUDA_VERSION_H
#define REMUDA_VERSION_H

#define RMD_VERSION "0.1.0"

#endif
