/* memo.c - see memo.h. */
#include "net/memo.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct entry {
    char *key, *value;            /* NULL: free */
};

struct memo {
    pthread_mutex_t mutex;        /* guards all below */
    struct entry at[MEMO_ENTRIES];
    int next;                     /* where the next new entry goes */
};

struct memo *memo_new(void)
{
    struct memo *m = xcalloc(1, sizeof *m);
    pthread_mutex_init(&m->mutex, NULL);
    return m;
}

static void clear(struct entry *t)
{
    free(t->key);
    free(t->value);
    *t = (struct entry){0};
}

void memo_free(struct memo *m)
{
    if (!m)
        return;
    for (int i = 0; i < MEMO_ENTRIES; i++)
        clear(&m->at[i]);
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

static struct entry *find(struct memo *m, const char *key)
{
    for (int i = 0; i < MEMO_ENTRIES; i++)
        if (m->at[i].key && strcmp(m->at[i].key, key) == 0)
            return &m->at[i];
    return NULL;
}

void memo_put(struct memo *m, const char *key, const char *value)
{
    pthread_mutex_lock(&m->mutex);
    struct entry *t = find(m, key);
    if (!t) {
        t = &m->at[m->next];
        m->next = (m->next + 1) % MEMO_ENTRIES;
        clear(t);
        t->key = xstrdup(key);
    }
    free(t->value);
    t->value = xstrdup(value);
    pthread_mutex_unlock(&m->mutex);
}

char *memo_get(struct memo *m, const char *key)
{
    pthread_mutex_lock(&m->mutex);
    const struct entry *t = find(m, key);
    char *value = t ? xstrdup(t->value) : NULL;
    pthread_mutex_unlock(&m->mutex);
    return value;
}

void memo_drop(struct memo *m, const char *key, const char *value)
{
    pthread_mutex_lock(&m->mutex);
    struct entry *t = find(m, key);
    if (t && strcmp(t->value, value) == 0)
        clear(t);
    pthread_mutex_unlock(&m->mutex);
}
