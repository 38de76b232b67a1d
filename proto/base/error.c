/* Texts of the error codes, from the one list in error.h. */
#include <remuda/error.h>

const char *rmd_error_text(int code) {
    switch (code) {
#define RMD_ERROR_TEXT(name, value, text) \
    case name:                            \
        return text;
        RMD_ERRORS(RMD_ERROR_TEXT)
#undef RMD_ERROR_TEXT
    default:
        return "unknown error";
    }
}
