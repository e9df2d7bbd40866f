// zlib of the system: compresses HTTP answers.
#ifndef C_ZLIB_H
#define C_ZLIB_H

#include <zlib.h>

// A macro of zlib's, which Swift does not see: gzip's format (RFC 1952), a window of 32 KiB.
static inline int czlib_gzip_init(z_stream *stream, int level) {
    return deflateInit2(stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
}

#endif
