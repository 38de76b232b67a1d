/* The sign port over OpenSSL (libcrypto). Keys are parsed once and shared by threads; each thread keeps its own
 * contexts for the last few keys it used, so that a signature costs its arithmetic and little else. */
#ifndef REMUDA_SIGN_OPENSSL_H
#define REMUDA_SIGN_OPENSSL_H

#include <remuda/sign.h>

const struct rmd_sign_ops *rmd_sign_openssl(void);

#endif
