/* watch.c - see watch.h. */
#include "train/watch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define TICK_S 0.1                      /* between two looks */

struct watch {
    struct net *net;
    bool (*is_stopped)(void *arg);
    void *arg;
    pthread_t thread;
    pthread_mutex_t lock;
    /* Under the lock: */
    const struct loader *loader;        /* who is waited for, NULL: nobody */
    double since;                       /* when the waiting began */
    double says_at;                     /* seconds of waiting after which something is said next */
    bool ends;
};

void watch_text(double seconds, const struct net_stats *s, const char *what, char *out, size_t size)
{
    const char *failure = s->last_failure;
    snprintf(out, size, "waiting for data %.0f s%s%s%s%s", seconds, *failure || *what ? ": " : "",
             failure, *failure && *what ? "; " : "", what);
}

/* Say it when it is time to; with the lock held. */
static void say(struct watch *w, double now)
{
    double seconds = now - w->since;
    if (!w->loader || seconds < w->says_at)
        return;
    char what[300], text[600];
    struct net_stats s;
    net_stats(w->net, &s);
    loader_waiting_for(w->loader, what, sizeof what);
    watch_text(seconds, &s, what, text, sizeof text);
    if (log_is_terminal()) {
        log_status("%s", text);
        w->says_at = seconds + 1;
    } else {
        log_info("%s", text);
        w->says_at = 2 * seconds;
    }
}

static void *run(void *arg)
{
    struct watch *w = arg;
    bool ends = false;
    while (!ends) {
        clock_sleep(TICK_S);
        if (w->is_stopped && w->is_stopped(w->arg))
            net_stop(w->net);
        pthread_mutex_lock(&w->lock);
        say(w, clock_seconds());
        ends = w->ends;
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

struct watch *watch_new(struct net *net, bool (*is_stopped)(void *arg), void *arg)
{
    struct watch *w = xcalloc(1, sizeof *w);
    w->net = net;
    w->is_stopped = is_stopped;
    w->arg = arg;
    pthread_mutex_init(&w->lock, NULL);
    if (!pthread_create(&w->thread, NULL, run, w))
        return w;
    pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->ends = true;
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void watch_begin(struct watch *w, const struct loader *l)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->loader = l;
    w->since = clock_seconds();
    w->says_at = WATCH_SAYS_S;
    pthread_mutex_unlock(&w->lock);
}

void watch_end(struct watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->loader = NULL;
    pthread_mutex_unlock(&w->lock);
}
