/* What the SMTP client writes and reads besides replies: EHLO keywords, MAIL and RCPT commands, dot-stuffed content.
 * Pure, no state. */
#ifndef REMUDA_NODE_SMTP_WIRE_H
#define REMUDA_NODE_SMTP_WIRE_H

#include <base/buf.h>

#include "node/core/smtp.h"

/* One line of the reply to EHLO behind its first: "250-KEYWORD parameters". */
void rmd_smtp_wire_ehlo(struct rmd_slice line, struct rmd_smtp_extensions *ext);
/* RMD_EUNSUPPORTED with *why when the message can't go to a server with these extensions. Addresses that could end
 * the command (controls, a bare ">" or blank) are refused as RMD_OWN_RENDER_FAILED. */
int rmd_smtp_wire_carries(const struct rmd_smtp_extensions *ext, const struct rmd_smtp_mail *m,
                          enum rmd_own_error *why) RMD_CHECKED;
void rmd_smtp_wire_mail(const struct rmd_smtp_extensions *ext, const struct rmd_smtp_mail *m, struct rmd_buf *out);
void rmd_smtp_wire_rcpt(const struct rmd_smtp_extensions *ext, const struct rmd_smtp_mail *m, struct rmd_buf *out);
/* The message dot-stuffed, and the final dot. */
void rmd_smtp_wire_content(struct rmd_slice message, struct rmd_buf *out);
/* "BDAT n LAST" and the message as it is. */
void rmd_smtp_wire_bdat(struct rmd_slice message, struct rmd_buf *out);

#endif
