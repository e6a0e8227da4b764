/* source_match.c - the objects that a pattern means: by walking local folders, and by few
 * requests to stores. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/pattern.h"
#include "data/source.h"

enum {
    FOLDERS_MAX = 64,             /* folders within folders */
    STATS_MAX = 4,                /* names that are asked for one by one rather than listed */
    LISTED_PER_NAME = 20,         /* a listing may hold so many objects for each name wanted ... */
    LISTED_MIN = 1000,            /* ... and always a page */
};

static int add(struct object_list *l, struct object *o, struct err *e)
{
    if (l->count >= SOURCE_MATCH_MAX) {
        object_release(o);
        return err_set(e, ERR_DATA, "means more than %d files", SOURCE_MATCH_MAX);
    }
    object_list_add(l, o);
    return 0;
}

/* Is it the name of a table or of a shard? */
static bool has_known_extension(const char *name)
{
    static const char *const known[] = {".jsonl", ".csv", ".tsv", ".tar"};
    size_t n = strlen(name);
    if (n > 3 && strcmp(name + n - 3, ".gz") == 0)
        n -= 3;
    else if (n > 4 && strcmp(name + n - 4, ".zst") == 0)
        n -= 4;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t m = strlen(known[i]);
        if (n > m && strncmp(name + n - m, known[i], m) == 0)
            return path_base(name)[0] != '.';
    }
    return false;
}

static int by_uri(const void *a, const void *b)
{
    return strcmp(((const struct object *)a)->uri, ((const struct object *)b)->uri);
}

/* Nothing was added since `before`: say so; otherwise sort what was. */
static int end_expansion(struct object_list *l, int64_t before, const char *what, struct err *e)
{
    if (l->count == before)
        return err_set(e, ERR_DATA, "no such file%s", what);
    qsort(l->at + before, (size_t)(l->count - before), sizeof *l->at, by_uri);
    return 0;
}

static const char no_tables[] =
    ": no jsonl, csv, tsv or tar lies right in it (** goes into its folders)";

/* ---------------------------------------------------------- local folders -- */

struct walk {
    struct object_list *list;
    const char *pattern;          /* of a path below `base`; NULL: a known extension, right there */
    size_t base_size;             /* bytes of a path before what the pattern is about */
    int depth;
};

static int walk_folder(struct walk *w, const char *folder, const char *rest, struct err *e);

static char *join(const char *folder, const char *name)
{
    return *folder ? path_join(folder, name) : xstrdup(name);
}

static int add_local(struct object_list *l, const char *path, struct err *e)
{
    struct object o;
    return source_stat(NULL, path, &o, e) || add(l, &o, e) ? -1 : 0;
}

/* Below a part with "**", every folder is looked into (not through links, which may form
 * rings), and the whole path compared. */
static int visit_deep(struct walk *w, const char *path, const char *rest, const struct stat *st,
                      struct err *e)
{
    if (S_ISDIR(st->st_mode))
        return path_base(path)[0] == '.' ? 0 : walk_folder(w, path, rest, e);
    struct stat target;
    if (!pattern_match(w->pattern, path + w->base_size) || stat(path, &target) ||
        S_ISDIR(target.st_mode))
        return 0;
    return add_local(w->list, path, e);
}

/* A name in a folder, where `rest` is the pattern for it and for what lies below it. */
static int visit(struct walk *w, const char *folder, const char *name, const char *rest,
                 struct err *e)
{
    size_t part = strcspn(rest, "/");
    bool is_deep = strstr(rest, "**") && strstr(rest, "**") < rest + part;
    char *first = xstrndup(rest, part), *path = join(folder, name);
    bool fits = is_deep || pattern_match(first, name);
    struct stat st;
    int failed = 0;
    if (fits && is_deep && lstat(path, &st) == 0)
        failed = visit_deep(w, path, rest, &st, e);
    else if (fits && !is_deep && stat(path, &st) == 0 && S_ISDIR(st.st_mode) == (rest[part] != 0))
        failed =
            rest[part] ? walk_folder(w, path, rest + part + 1, e) : add_local(w->list, path, e);
    free(first);
    free(path);
    return failed;
}

static int walk_folder(struct walk *w, const char *folder, const char *rest, struct err *e)
{
    if (w->depth == FOLDERS_MAX)
        return err_set(e, ERR_DATA, "%s: more than %d folders deep", folder, FOLDERS_MAX);
    struct dir_list names;
    struct err why = {0};
    if (dir_list_read(&names, *folder ? folder : ".", &why))
        return err_set(e, ERR_DATA, "%s", why.text);
    w->depth++;
    int failed = 0;
    for (size_t i = 0; i < names.count && !failed; i++)
        failed = visit(w, folder, names.names[i], rest, e);
    w->depth--;
    dir_list_release(&names);
    return failed;
}

/* A folder means the tables and shards in it. */
static int add_folder(struct object_list *l, const char *folder, struct err *e)
{
    struct dir_list names;
    int64_t before = l->count;
    if (dir_list_read(&names, folder, e))
        return -1;
    int failed = 0;
    for (size_t i = 0; i < names.count && !failed; i++) {
        char *path = path_join(folder, names.names[i]);
        if (has_known_extension(path) && !file_is_dir(path))
            failed = add_local(l, path, e);
        free(path);
    }
    dir_list_release(&names);
    return failed ? -1 : end_expansion(l, before, no_tables, e);
}

/* A local name without braces. */
static int match_local(struct object_list *l, const char *name, struct err *e)
{
    size_t literal = pattern_literal(name);
    int64_t before = l->count;
    if (file_is_dir(name))
        return add_folder(l, name, e);
    if (!name[literal] || file_exists(name))
        return add_local(l, name, e);
    while (literal > 0 && name[literal - 1] != '/')
        literal--;
    char *folder = xstrndup(name, literal);
    struct walk w = {.list = l, .pattern = name + literal, .base_size = literal};
    int failed = *folder && !file_is_dir(folder) ? 0 : walk_folder(&w, folder, w.pattern, e);
    free(folder);
    return failed ? -1 : end_expansion(l, before, "", e);
}

/* ----------------------------------------------------------------- stores -- */

/* Names asked for one by one, by several threads. */
struct stats {
    struct net *net;
    char *const *names;
    struct object *objects;
    size_t count;
    pthread_mutex_t mutex;        /* guards all below */
    size_t next, first_failed;
    struct err err;               /* of the first name that failed */
};

static void *stat_names(void *arg)
{
    struct stats *s = arg;
    pthread_mutex_lock(&s->mutex);
    while (s->next < s->count && !s->err.kind) {
        size_t i = s->next++;
        pthread_mutex_unlock(&s->mutex);
        struct err e = {0};
        int failed = store_stat(s->net, s->names[i], &s->objects[i], &e);
        pthread_mutex_lock(&s->mutex);
        if (failed && i < s->first_failed) {
            s->first_failed = i;
            s->err = e;
        }
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

static int stat_all(struct net *net, char *const *names, struct object *objects, size_t count,
                    struct err *e)
{
    struct stats s = {
        .net = net, .names = names, .objects = objects, .count = count, .first_failed = SIZE_MAX};
    pthread_t threads[NET_CONNECTIONS_MAX];
    size_t wanted = (size_t)net_settings(net)->connections, started = 0;
    wanted = wanted < count ? wanted : count;
    pthread_mutex_init(&s.mutex, NULL);
    while (started + 1 < wanted && started < NET_CONNECTIONS_MAX &&
           pthread_create(&threads[started], NULL, stat_names, &s) == 0)
        started++;
    stat_names(&s);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&s.mutex);
    return s.err.kind ? err_set(e, s.err.kind, "%s", s.err.text), err_hint(e, "%s", s.err.hint) : 0;
}

/* What was listed last, for the next expansion of the same pattern. */
struct listing {
    char *prefix;
    struct object_list objects;
};

static void listing_release(struct listing *g)
{
    free(g->prefix);
    object_list_release(&g->objects);
    *g = (struct listing){0};
}

static int list_prefix(struct listing *g, struct net *net, const char *prefix, size_t size,
                       int64_t max, struct err *e)
{
    if (g->prefix && strlen(g->prefix) == size && memcmp(g->prefix, prefix, size) == 0)
        return 0;
    listing_release(g);
    g->prefix = xstrndup(prefix, size);
    if (store_list(net, g->prefix, max, &g->objects, e) == 0)
        return 0;
    listing_release(g);
    return -1;
}

static int add_copy(struct object_list *l, const struct object *o, struct err *e)
{
    struct object copy;
    object_copy(&copy, o);
    return add(l, &copy, e);
}

static const struct object *find_listed(const struct object_list *l, char *uri)
{
    struct object key = {.uri = uri};
    return l->count ? bsearch(&key, l->at, (size_t)l->count, sizeof *l->at, by_uri) : NULL;
}

/* A remote name with wildcards, or a prefix that ends in '/'. */
static int match_listing(struct object_list *l, struct net *net, struct listing *g, char *name,
                         struct err *e)
{
    size_t literal = pattern_literal(name), size = strlen(name);
    int64_t before = l->count;
    bool is_folder = literal == size;
    if (list_prefix(g, net, name, literal, SOURCE_MATCH_MAX, e))
        return -1;
    /* What is compared begins with a part of the name. */
    while (literal > 0 && name[literal - 1] != '/')
        literal--;
    const struct object *same = find_listed(&g->objects, name);
    for (int64_t i = 0; i < g->objects.count && !same; i++) {
        const struct object *o = &g->objects.at[i];
        const char *rest = strlen(o->uri) >= literal ? o->uri + literal : "";
        bool fits = is_folder ? !strchr(rest, '/') && has_known_extension(rest)
                              : pattern_match(name + literal, rest);
        if (fits && add_copy(l, o, e))
            return -1;
    }
    /* An object of just this name is what is meant, whatever else it could mean. */
    if (same && add_copy(l, same, e))
        return -1;
    return end_expansion(l, before, is_folder ? no_tables : "", e);
}

static bool needs_listing(const char *name)
{
    return name[pattern_literal(name)] || name[strlen(name) - 1] == '/';
}

/* Bytes up to and with the last '/'. */
static size_t folder_size(const char *name)
{
    return (size_t)(path_base(name) - name);
}

/* Names in one folder, all of them plain: found by one listing of what they begin with, when
 * it is not much larger than they are many and when listing is allowed.  1 when they were, 0
 * when not. */
static int match_names(struct object_list *l, struct net *net, char *const *names, size_t count,
                       struct err *e)
{
    size_t prefix = strlen(names[0]);
    for (size_t i = 1; i < count; i++)
        for (size_t k = 0; k < prefix; k++)
            if (names[i][k] != names[0][k])
                prefix = k;
    struct listing g = {0};
    struct err unused = {0};
    if (list_prefix(&g, net, names[0], prefix, (int64_t)count * LISTED_PER_NAME + LISTED_MIN,
                    &unused))
        return unused.kind == ERR_STOPPED ? err_set(e, ERR_STOPPED, "%s", unused.text) : 0;
    int failed = 0;
    for (size_t i = 0; i < count && !failed; i++) {
        const struct object *o = find_listed(&g.objects, names[i]);
        failed = o ? add_copy(l, o, e) : err_set(e, ERR_DATA, "%s: no such object", names[i]);
    }
    listing_release(&g);
    return failed ? -1 : 1;
}

/* Plain names of a store. */
static int match_group(struct object_list *l, struct net *net, char *const *names, size_t count,
                       struct err *e)
{
    bool can_list = strncmp(names[0], "http", 4) != 0;
    int done = count > STATS_MAX && can_list ? match_names(l, net, names, count, e) : 0;
    if (done)
        return done < 0 ? -1 : 0;
    struct object *objects = xcalloc(count, sizeof *objects);
    int failed = stat_all(net, names, objects, count, e);
    for (size_t i = 0; i < count; i++) {
        if (failed)
            object_release(&objects[i]);
        else
            failed = add(l, &objects[i], e);
    }
    free(objects);
    return failed;
}

static int match_remote(struct object_list *l, struct net *net, const struct pattern_list *names,
                        struct err *e)
{
    struct listing g = {0};
    bool is_web = strncmp(names->at[0], "http", 4) == 0;
    int failed = 0;
    for (size_t i = 0, end; i < names->count && !failed; i = end) {
        char *name = names->at[i];
        end = i + 1;
        if (is_web && (name[strcspn(name, "*?")] == '*' || name[strlen(name) - 1] == '/')) {
            failed = err_set(e, ERR_DATA, "a web server cannot list what it has");
            err_hint(e, "name the files; braces as in {0000..0919} are fine");
        } else if (!is_web && needs_listing(name)) {
            failed = match_listing(l, net, &g, name, e);
        } else {
            while (end < names->count && (is_web || !needs_listing(names->at[end])) &&
                   folder_size(names->at[end]) == folder_size(name) &&
                   memcmp(names->at[end], name, folder_size(name)) == 0)
                end++;
            failed = match_group(l, net, names->at + i, end - i, e);
        }
    }
    listing_release(&g);
    return failed;
}

/* ------------------------------------------------------------ the pattern -- */

/* Errors of one name of several begin with it. */
static int match_local_names(struct object_list *l, const struct pattern_list *names,
                             const char *pattern, struct err *e)
{
    for (size_t i = 0; i < names->count; i++) {
        if (match_local(l, names->at[i], e) == 0)
            continue;
        size_t n = strlen(names->at[i]);
        bool is_named =
            strcmp(names->at[i], pattern) == 0 || strncmp(e->text, names->at[i], n) == 0;
        return is_named ? -1 : err_in(e, "%s", names->at[i]);
    }
    return 0;
}

int source_match(struct net *net, struct object_list *l, const char *pattern, struct err *e)
{
    const char *path = source_local_path(pattern);
    struct pattern_list names = {0};
    int failed = 0;
    if (!path && (!store_knows(pattern) || !net)) {
        struct object none;
        return source_stat(net, pattern, &none, e);       /* says why not */
    }
    if (path && file_exists(path))
        failed = match_local(l, path, e);
    else if (!(failed = pattern_expand(&names, path ? path : pattern, SOURCE_MATCH_MAX, e)))
        failed = path ? match_local_names(l, &names, path, e) : match_remote(l, net, &names, e);
    pattern_list_release(&names);
    char *shown = store_shown(path ? path : pattern);
    if (failed && strncmp(e->text, shown, strlen(shown)) != 0)
        err_in(e, "%s", shown);
    free(shown);
    return failed ? -1 : 0;
}
