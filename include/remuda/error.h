/* Error codes of Remuda: one list, used by every module.
 *
 * Expected failures are negative ints of this list and must be checked; environment failures (out of memory,
 * a broken configuration at start) end the program with a message; impossible ones are asserts. */
#ifndef REMUDA_ERROR_H
#define REMUDA_ERROR_H

#define RMD_ERRORS(X)                                  \
    X(RMD_OK, 0, "ok")                                 \
    X(RMD_EINVAL, -1, "invalid argument")              \
    X(RMD_ELIMIT, -2, "a named limit was reached")     \
    X(RMD_EFORMAT, -3, "malformed input")              \
    X(RMD_ENOTFOUND, -4, "not found")                  \
    X(RMD_EEXISTS, -5, "exists already")               \
    X(RMD_EBUSY, -6, "held by another process")        \
    X(RMD_EIO, -7, "input/output error")               \
    X(RMD_EFULL, -8, "no space left")                  \
    X(RMD_EFENCED, -9, "fenced: a newer epoch exists") \
    X(RMD_ETIMEOUT, -10, "timed out")                  \
    X(RMD_ECLOSED, -11, "closed")                      \
    X(RMD_EAUTH, -12, "not authorised")                \
    X(RMD_EVERSION, -13, "no common protocol version") \
    X(RMD_EAGAIN, -14, "not now; try again")           \
    X(RMD_ECORRUPT, -15, "stored data is corrupt")     \
    X(RMD_EUNSUPPORTED, -16, "not supported")          \
    X(RMD_ECONFLICT, -17, "conflicts with the present state")

enum rmd_error {
#define RMD_ERROR_ENUM(name, value, text) name = (value),
    RMD_ERRORS(RMD_ERROR_ENUM)
#undef RMD_ERROR_ENUM
};

/* Text of a code; "unknown error" for a code that is not in the list. Static storage. */
const char *rmd_error_text(int code);

#define RMD_CHECKED __attribute__((warn_unused_result))
#define RMD_PRINTF(f, a) __attribute__((format(printf, f, a)))

#endif
