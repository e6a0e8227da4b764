/* import_place.c - see import_place.h. */
#include "data/import_place.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/source.h"

enum { WAYS = 3 };

/* "CORPUS=DIR": where DIR begins; the corpus is in front.  A name of a folder may have a '=', too,
 * but then behind a slash. */
static const char *root_dir(const char *root)
{
    const char *equals = strchr(root, '=');
    return equals && equals < root + strcspn(root, "/") ? equals + 1 : root;
}

static bool is_of_corpus(const char *root, const char *corpus)
{
    size_t size = (size_t)(root_dir(root) - root);
    return size > 0 && corpus && strlen(corpus) == size - 1 && !strncmp(root, corpus, size - 1);
}

int import_place_init(struct import_place *p, char *const *roots, int root_count,
                      enum import_check check, struct net *net, const char *out_dir, struct err *e)
{
    *p =
        (struct import_place){.roots = roots, .root_count = root_count, .check = check, .net = net};
    for (int i = 0; i < root_count; i++) {
        const char *dir = root_dir(roots[i]), *local = source_local_path(dir);
        if (!*dir || (local && !file_is_dir(local)))
            return err_set(e, ERR_USAGE, "--audio-root: %s is no folder", dir);
    }
    char *real = out_dir ? realpath(out_dir, NULL) : NULL;
    if (out_dir && !real)
        return err_set(e, ERR_USAGE, "%s: there is no such folder", out_dir);
    p->out_dir = real ? xstrdup(real) : NULL;
    free(real);
    return 0;
}

void import_place_release(struct import_place *p)
{
    free(p->out_dir);
    free(p->last_dir);
    free(p->last_real);
    *p = (struct import_place){0};
}

/* A folder without links and from the root on; as it is when it is not there. */
static const char *real_dir(struct import_place *p, const char *dir)
{
    if (p->last_dir && !strcmp(dir, p->last_dir))
        return p->last_real;
    free(p->last_dir);
    free(p->last_real);
    p->last_dir = xstrdup(dir);
    char *real = realpath(*dir ? dir : ".", NULL);
    if (real) {
        p->last_real = xstrdup(real);
    } else if (*dir == '/') {
        p->last_real = xstrdup(dir);
    } else {
        char *here = getcwd(NULL, 0);
        p->last_real = path_join(here ? here : ".", dir);
        free(here);
    }
    free(real);
    return p->last_real;
}

/* The name for our record of a local path: from our file's folder on, if it lies there. */
static char *our_name(struct import_place *p, const char *path)
{
    char *dir = path_dir(path), *whole = path_join(real_dir(p, dir), path_base(path));
    size_t size = p->out_dir ? strlen(p->out_dir) : 0;
    bool is_root = size == 1;
    char *name = NULL;
    if (size > 0 && !strncmp(whole, p->out_dir, size) && (is_root || whole[size] == '/'))
        name = xstrdup(whole + size + !is_root);
    free(dir);
    if (!name)
        return whole;
    free(whole);
    return name;
}

/* Is it there?  Of those in stores only a sure no counts. */
static int look(struct import_place *p, const char *uri, bool *is_there, struct err *e)
{
    const char *local = source_local_path(uri);
    *is_there = true;
    if (local) {
        *is_there = file_exists(local) && !file_is_dir(local);
        return 0;
    }
    struct object o = {0};
    struct err failure = {0};
    if (source_stat(p->net, uri, &o, &failure)) {
        if (failure.kind != ERR_DATA) {
            *e = e->kind ? *e : failure;
            return -1;
        }
        *is_there = false;
    }
    object_release(&o);
    return 0;
}

/* Is this one, the next, to be looked for? */
static bool is_due(struct import_place *p, const char *uri)
{
    bool is_local = source_local_path(uri) != NULL;
    int64_t number = p->asked++;
    if (p->check == CHECK_NONE || (!is_local && (!p->net || p->check == CHECK_LOCAL)))
        return false;
    bool is_chosen = p->check != CHECK_SAMPLED || number % IMPORT_SAMPLED == 0;
    p->looked += is_chosen;
    return is_chosen;
}

/* The name as seen from a root, in one of the ways; NULL when that way is not for it. */
static char *by_way(const char *root, const char *name, const char *corpus, int way)
{
    while (*name == '/')
        name++;
    if (way == 0)
        return source_resolve(root, name);
    if (way == 2)
        return strchr(name, '/') ? source_resolve(root, path_base(name)) : NULL;
    size_t size = corpus ? strlen(corpus) : 0;
    return size > 0 && !strncmp(name, corpus, size) && name[size] == '/'
               ? source_resolve(root, name + size + 1)
               : NULL;
}

/* Try the ways, the last successful one first.  NULL: no file, or `e`. */
static char *find_under(struct import_place *p, const char *root, const char *name,
                        const char *corpus, struct err *e)
{
    for (int k = 0; k < WAYS; k++) {
        int way = (p->way + k) % WAYS;
        char *uri = by_way(root, name, corpus, way);
        bool is_there = false;
        if (uri && look(p, uri, &is_there, e)) {
            free(uri);
            return NULL;
        }
        if (is_there) {
            p->way = way;
            return uri;
        }
        free(uri);
    }
    return NULL;
}

/* The corpus's own root, else one for all; NULL: none. */
static const char *root_of(const struct import_place *p, const char *corpus)
{
    const char *common = NULL;
    for (int i = 0; i < p->root_count; i++) {
        if (is_of_corpus(p->roots[i], corpus))
            return root_dir(p->roots[i]);
        if (root_dir(p->roots[i]) == p->roots[i])
            common = p->roots[i];
    }
    return common;
}

/* Where it is by the roots' word, whether looked for or not. */
static char *under_root(struct import_place *p, const char *root, const char *name,
                        const char *corpus, struct err *e)
{
    bool is_wanted = is_due(p, root);
    /* The first one is always looked for: it shows which way is the right one. */
    char *uri = is_wanted || p->asked == 1 ? find_under(p, root, name, corpus, e) : NULL;
    if (e->kind)
        return NULL;
    if (!uri && is_wanted) {
        err_set(e, ERR_DATA, "there is no clip %s under %s", name, root);
        return NULL;
    }
    for (int k = 0; !uri && k < WAYS; k++)
        uri = by_way(root, name, corpus, (p->way + k) % WAYS);
    return uri;
}

char *import_place_find(struct import_place *p, const char *name, const char *dir,
                        const char *corpus, struct err *e)
{
    const char *local = source_local_path(name);
    bool is_whole = local ? *local == '/' && (p->root_count == 0 || file_exists(local)) : true;
    const char *root = is_whole ? NULL : root_of(p, corpus);
    if (!local && !store_knows(name)) {
        err_set(e, ERR_DATA, "a clip at %s cannot be read", name);
        return NULL;
    }
    if (!is_whole && !root && p->root_count > 0) {
        err_set(e, ERR_DATA, "there is no --audio-root for %s%s", corpus ? "corpus " : "clips",
                corpus ? corpus : " of no corpus");
        return NULL;
    }
    char *uri = root ? under_root(p, root, name, corpus, e) : source_resolve(dir, name);
    bool is_there = true;
    if (uri && !root && is_due(p, uri) && !look(p, uri, &is_there, e) && !is_there)
        err_set(e, ERR_DATA, "there is no clip %s", uri);
    local = uri && !e->kind ? source_local_path(uri) : NULL;
    if (local) {
        char *ours = our_name(p, local);
        free(uri);
        return ours;
    }
    if (e->kind) {
        free(uri);
        return NULL;
    }
    return uri;
}
