/* auth.c - see auth.h: where Google's credentials are found.  AWS is in auth_aws.c. */
#include "net/auth.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/auth_internal.h"
#include "net/auth_metadata.h"

#include <stdlib.h>
#include <string.h>

const char *auth_variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

char *auth_home(const char *name)
{
    const char *home = auth_variable("HOME");
    return home ? path_join(home, name) : NULL;
}

/* ----------------------------------------------------------- looking for it -- */

/* The credential file to read, NULL when there is none.  The caller frees. */
static char *credential_file(void)
{
    const char *named = auth_variable("GOOGLE_APPLICATION_CREDENTIALS");
    if (named)
        return xstrdup(named);
    const char *config = auth_variable("CLOUDSDK_CONFIG");
    char *dir = config ? xstrdup(config) : auth_home(".config/gcloud");
    char *path = dir ? path_join(dir, "application_default_credentials.json") : NULL;
    free(dir);
    if (path && file_exists(path))
        return path;
    free(path);
    return NULL;
}

/* Read the file, if there is one.  Only one thread is here at a time (auth_cache.h). */
static int look_up(struct auth *a, struct err *e)
{
    char *path = credential_file();
    struct google_credentials *c = path ? google_credentials_read(path, e) : NULL;
    int result = path && !c ? -1 : 0;
    if (result && auth_variable("GOOGLE_APPLICATION_CREDENTIALS")) {
        err_in(e, "GOOGLE_APPLICATION_CREDENTIALS");
        err_hint(e, "name a credential file of Google Cloud, or unset the variable");
    }
    free(path);
    if (c) {
        pthread_mutex_lock(&a->mutex);
        a->credentials = c;
        a->place = PLACE_FILE;
        pthread_mutex_unlock(&a->mutex);
    }
    return result;
}

static void settle(struct auth *a, enum google_place place)
{
    pthread_mutex_lock(&a->mutex);
    a->place = place;
    pthread_mutex_unlock(&a->mutex);
}

static enum google_place place_of(struct auth *a)
{
    pthread_mutex_lock(&a->mutex);
    enum google_place place = a->place;
    pthread_mutex_unlock(&a->mutex);
    return place;
}

/* A cache's fetch: a header. */
static int google_fetch(struct net *n, void *arg, void *value, int64_t *expires, struct err *e)
{
    struct auth *a = arg;
    struct auth_token t = {0};
    *expires = INT64_MAX;
    if (place_of(a) == PLACE_UNKNOWN && auth_variable("STORAGE_EMULATOR_HOST"))
        settle(a, PLACE_NOWHERE);
    if (place_of(a) == PLACE_UNKNOWN && look_up(a, e))
        return -1;
    int result = 0;
    if (place_of(a) == PLACE_FILE) {
        result = google_credentials_token(a->credentials, n, GOOGLE_SCOPE, &t, e);
    } else if (place_of(a) != PLACE_NOWHERE) {
        result = metadata_token(n, &t, e);
        if (result == 1 && place_of(a) == PLACE_MACHINE)
            return err_set(e, ERR_LOGIN, "the metadata server has no service account any more");
        if (result >= 0)
            settle(a, result ? PLACE_NOWHERE : PLACE_MACHINE);
        result = result < 0 ? -1 : 0;
    }
    if (result)
        return -1;
    if (t.text) {
        snprintf(value, AUTH_HEADER_MAX, "Authorization: Bearer %s", t.text);
        *expires = t.expires;
    }
    auth_token_release(&t);
    return 0;
}

/* ----------------------------------------------------------------- the rest -- */

struct auth *auth_new(void)
{
    struct auth *a = xcalloc(1, sizeof *a);
    auth_cache_init(&a->google, AUTH_HEADER_MAX, google_fetch, a);
    auth_cache_init(&a->aws, sizeof(struct auth_aws), auth_aws_fetch, NULL);
    if (pthread_mutex_init(&a->mutex, NULL))
        mem_die("a lock could not be made");
    return a;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    auth_cache_release(&a->google);
    auth_cache_release(&a->aws);
    pthread_mutex_destroy(&a->mutex);
    google_credentials_free(a->credentials);
    free(a->machine_email);
    free(a->machine_project);
    free(a);
}

int auth_google(struct net *n, bool renew, char out[AUTH_HEADER_MAX], struct err *e)
{
    return auth_cache_get(&net_auth(n)->google, n, renew, out, e);
}

/* A fact of this machine, asked for once; lives as long as `a`. */
static const char *machine_fact(struct net *n, char **kept, const char *name)
{
    struct auth *a = net_auth(n);
    pthread_mutex_lock(&a->mutex);
    bool is_known = *kept != NULL;
    pthread_mutex_unlock(&a->mutex);
    char *text = is_known ? NULL : metadata_text(n, name);
    pthread_mutex_lock(&a->mutex);
    if (!*kept)
        *kept = text ? text : xstrdup("");
    else
        free(text);
    const char *fact = *kept;
    pthread_mutex_unlock(&a->mutex);
    return fact;
}

char *auth_google_describe(struct net *n, struct err *e)
{
    struct auth *a = net_auth(n);
    char header[AUTH_HEADER_MAX] = "";
    if (auth_google(n, false, header, e))
        return NULL;
    enum google_place place = place_of(a);
    if (place == PLACE_FILE)
        return google_credentials_describe(a->credentials);
    if (place == PLACE_NOWHERE)
        return xstrdup("anonymous");
    return xasprintf("service account %s of this machine",
                     machine_fact(n, &a->machine_email, "instance/service-accounts/default/email"));
}

const char *auth_google_quota_project(struct net *n)
{
    struct auth *a = net_auth(n);
    if (place_of(a) == PLACE_UNKNOWN || place_of(a) == PLACE_NOWHERE)
        return "";
    const char *named = auth_variable("GOOGLE_CLOUD_QUOTA_PROJECT");
    if (named && auth_is_clean(named))
        return named;
    bool has_file = place_of(a) == PLACE_FILE;
    return has_file && a->credentials->quota_project ? a->credentials->quota_project : "";
}

int auth_google_project(struct net *n, const char **project, struct err *e)
{
    struct auth *a = net_auth(n);
    char header[AUTH_HEADER_MAX] = "";
    *project = auth_variable("GOOGLE_CLOUD_PROJECT");
    if (*project)
        return 0;
    if (auth_google(n, false, header, e))
        return -1;
    *project = auth_google_quota_project(n);
    if (**project)
        return 0;
    if (place_of(a) == PLACE_FILE && a->credentials->project)
        *project = a->credentials->project;
    else if (place_of(a) == PLACE_MACHINE)
        *project = machine_fact(n, &a->machine_project, "project/project-id");
    return 0;
}
