/* The sign port's fake: deterministic, cheap, and of no cryptographic worth; for the simulator. Sizes and failures
 * are those of the real one. Keys: "-----BEGIN FAKE RSA KEY-----" or "-----BEGIN FAKE ED25519 KEY-----" and anything
 * behind it. */
#ifndef REMUDA_TESTS_SIGN_FAKE_H
#define REMUDA_TESTS_SIGN_FAKE_H

#include <remuda/sign.h>

const struct rmd_sign_ops *rmd_sign_fake(void);

#endif
