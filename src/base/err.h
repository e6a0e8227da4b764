/* err.h - errors as one line of text: what, where, and what to do.
 *
 * A function that can fail takes `struct err *e` last and returns 0 / -1 (or a pointer / NULL).
 * The lowest level states the fact with err_set; each caller puts its own knowledge in front
 * with err_in; only main prints.  The first error set wins.
 *
 *     if (audio_read(&clip, path, e))
 *         return err_in(e, "%s:%d", manifest, line);
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

/* The value of a kind is the exit code of the program that ends with it. */
enum err_kind {
    ERR_NONE = 0,
    ERR_FAILED = 1,        /* anything that has no kind of its own */
    ERR_USAGE = 2,         /* the command line or the configuration is wrong */
    ERR_DATA = 3,          /* a record, a media file or a manifest is bad */
    ERR_LOGIN = 4,         /* credentials are missing or not accepted */
    ERR_SPACE = 5,         /* not enough memory or disk */
    ERR_NONFINITE = 6,     /* loss or gradients are not finite */
    ERR_INTEGRITY = 7,     /* a checkpoint or another file of ours is damaged */
    ERR_BUG = 70,          /* attune's own mistake */
    ERR_RETRY = 75,        /* the same command may work later */
    ERR_STOPPED = 130,     /* interrupted (SIGINT); progress is saved */
    ERR_TERMINATED = 143,  /* asked to end (SIGTERM); progress is saved */
};

struct err {
    enum err_kind kind;
    char text[800];        /* one line, lower case, no full stop */
    char hint[300];        /* what to do; may be empty */
};

/* State a failure.  Does nothing when `e` already holds one.  Always returns -1. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "fmt: " in front of the text of `e`.  Always returns -1. */
int err_in(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Say what to do about the failure in `e`, unless a hint is there already.  Always returns -1. */
int err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "text (hint)", or the text alone when there is no hint. */
enum { ERR_LINE_SIZE = 1200 };
void err_line(const struct err *e, char out[ERR_LINE_SIZE]);

#define MUST_CHECK __attribute__((warn_unused_result))

#endif
