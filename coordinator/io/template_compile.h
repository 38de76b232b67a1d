/* Compiles a template (an RFC 5322 message with {{field}}) into a CompiledTemplate, with GMime as the MIME parser.
 *
 * Checked here, so that a campaign is refused before anything is queued: a parsable From with one address and a
 * domain of the stream (or any when sending_domain is ""), no Bcc or Return-Path or DKIM-Signature, header syntax,
 * bodies in a charset that can be turned into UTF-8, every {{field}} a known column (email included;
 * {{field|fallback}} gives a fallback for empty values), no {{ }} inside addr-specs that aren't whole fields, size
 * limits. Each finding has a line of the template. */
/* What the writer of a template has to know: "{{name}}", "{{ name }}" and "{{name|fallback}}" are fields; "\{{" is a
 * literal "{{". Fields are possible in Subject, X- and other text fields, in display names, as a whole address (but
 * in From), inside the URLs of List- fields, and in text parts that aren't attachments. Message-ID, Bcc, Received and
 * what else belongs to one message or to mail that was received are findings. Bodies leave in 7 bits; boundaries are
 * made anew. */
#ifndef REMUDA_TEMPLATE_COMPILE_H
#define REMUDA_TEMPLATE_COMPILE_H

#include "proto/codec.h"

enum { RMD_TEMPLATE_MAX_BYTES = 24 << 20, RMD_TEMPLATE_PARTS_MAX = 200, RMD_TEMPLATE_FINDINGS_MAX = 100 };

struct rmd_template_info {
    char from[RMD_EMAIL_MAX];
    char from_domain[256];
    char subject[256];
    bool fixed_date; /* it has a Date of its own, which every message keeps */
};

/* out: the encoded CompiledTemplate (its SHA-256 is the template's hash). columns: of the CSV, without email.
 * RMD_EINVAL: findings, one a line, are in err. */
int rmd_template_compile(struct rmd_slice eml, const char *const *columns, size_t n_columns,
                         const char *sending_domain, struct rmd_buf *out, struct rmd_template_info *info,
                         struct rmd_buf *err) RMD_CHECKED;

#endif
