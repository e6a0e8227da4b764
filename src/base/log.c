/* log.c - see log.h. */
#include "base/log.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 2048

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;    /* guards all below */
static enum log_level shown = LOG_LEVEL_INFO;
static FILE *copy;                       /* the log file, or NULL */
static char status[LINE_SIZE];           /* the status line; "" when there is none */

bool log_is_terminal(void)
{
    return isatty(STDERR_FILENO) == 1;
}

bool log_has_color(void)
{
    const char *no = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE");
    const char *term = getenv("TERM");
    if (no && *no)
        return false;
    if (force && *force && strcmp(force, "0") != 0)
        return true;
    return log_is_terminal() && !(term && !strcmp(term, "dumb"));
}

int log_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void log_set_level(enum log_level level)
{
    pthread_mutex_lock(&mutex);
    shown = level;
    pthread_mutex_unlock(&mutex);
}

void log_set_file(const char *path)
{
    FILE *f = path ? fopen(path, "ae") : NULL;
    pthread_mutex_lock(&mutex);
    if (copy)
        fclose(copy);
    copy = f;
    pthread_mutex_unlock(&mutex);
    if (path && !f)
        log_warn("%s: could not open this log file", path);
}

static void make_printable(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

/* How many bytes of `s` fill at most `columns` columns, a code point taken as one. */
static int fit(const char *s, int columns)
{
    int n = 0;
    for (; s[n]; n++)
        if (((unsigned char)s[n] & 0xc0) != 0x80 && columns-- == 0)
            break;
    return n;
}

static void draw_status(void)
{
    if (status[0])
        fprintf(stderr, "\r\033[K%.*s", fit(status, log_width() - 1), status);
}

static void copy_line(const char *label, const char *line)
{
    char when[32];
    struct tm tm;
    time_t now = time(NULL);
    if (!copy || !gmtime_r(&now, &tm))
        return;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    fprintf(copy, "%s %s%s\n", when, label, line);
    fflush(copy);
}

static void show(enum log_level level, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void show(enum log_level level, const char *fmt, va_list ap)
{
    static const struct {
        const char *label, *color;
    } style[] = {
        [LOG_LEVEL_ERROR] = {"error: ", "\033[1;31m"},
        [LOG_LEVEL_WARN] = {"warning: ", "\033[1;33m"},
        [LOG_LEVEL_INFO] = {"", ""},
        [LOG_LEVEL_DEBUG] = {"debug: ", "\033[2m"},
    };
    char line[LINE_SIZE];
    vsnprintf(line, sizeof line, fmt, ap);
    make_printable(line);

    pthread_mutex_lock(&mutex);
    if (level <= shown) {
        bool colored = *style[level].color && log_has_color();
        if (status[0])
            fputs("\r\033[K", stderr);
        fprintf(stderr, "%s%s%s%s\n", colored ? style[level].color : "", style[level].label,
                colored ? "\033[0m" : "", line);
        draw_status();
        fflush(stderr);
        copy_line(style[level].label, line);
    }
    pthread_mutex_unlock(&mutex);
}

#define SHOW(level)                                                                                \
    do {                                                                                           \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        show(level, fmt, ap);                                                                      \
        va_end(ap);                                                                                \
    } while (0)

void log_error(const char *fmt, ...)
{
    SHOW(LOG_LEVEL_ERROR);
}

void log_warn(const char *fmt, ...)
{
    SHOW(LOG_LEVEL_WARN);
}

void log_info(const char *fmt, ...)
{
    SHOW(LOG_LEVEL_INFO);
}

void log_debug(const char *fmt, ...)
{
    SHOW(LOG_LEVEL_DEBUG);
}

void log_status(const char *fmt, ...)
{
    if (!log_is_terminal())
        return;
    pthread_mutex_lock(&mutex);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(status, sizeof status, fmt, ap);
    va_end(ap);
    make_printable(status);
    draw_status();
    fflush(stderr);
    pthread_mutex_unlock(&mutex);
}

void log_status_end(void)
{
    pthread_mutex_lock(&mutex);
    if (status[0])
        fputs("\n", stderr);
    status[0] = 0;
    pthread_mutex_unlock(&mutex);
}
