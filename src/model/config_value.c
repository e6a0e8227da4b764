/* config_value.c - values of a model's config.json. */
#include "model/config_value.h"

#include <string.h>

int config_size(const json_t *c, const char *key, int fallback, int least, int most, struct err *e)
{
    int64_t v = json_get_int(c, key, fallback, e);
    if (v >= least && v <= most)
        return (int)v;
    err_set(e, ERR_FAILED, "%s: %lld is not in %d..%d", key, (long long)v, least, most);
    return least;
}

int config_need_size(const json_t *c, const char *key, struct err *e)
{
    int64_t v = json_need_int(c, key, e);
    if (v >= 1 && v <= CONFIG_SIZE_MAX)
        return (int)v;
    err_set(e, ERR_FAILED, "%s: %lld is not in 1..%d", key, (long long)v, CONFIG_SIZE_MAX);
    return 1;
}

void config_want_str(const json_t *c, const char *key, const char *value, struct err *e)
{
    const char *found = json_get_str(c, key, value, e);
    if (strcmp(found, value) != 0)
        err_set(e, ERR_FAILED, "%s: '%s' is not known here (only '%s' is)", key, found, value);
}

void config_want_false(const json_t *c, const char *key, const char *what, struct err *e)
{
    if (json_get_bool(c, key, false, e))
        err_set(e, ERR_FAILED, "%s: true, but this build has no %s", key, what);
}
