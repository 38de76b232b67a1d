/* Readiness for a service manager: the sd_notify datagram (READY=1) on $NOTIFY_SOCKET, nothing without one. */
#ifndef REMUDA_NOTIFY_H
#define REMUDA_NOTIFY_H

void rmd_notify_ready(void);

#endif
