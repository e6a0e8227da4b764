/* shard.c - see shard.h.
 *
 * An archive is gone through twice: all headers first, which tell what is there and that it is
 * whole, then what the samples' facts need (the json, short texts, the first bytes of clips).
 */
#include "data/shard.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "data/record.h"
#include "data/shard_build.h"
#include "data/source.h"
#include "data/tar.h"

/* ---------------------------------------------------------------- strings -- */

enum { STRINGS_BLOCK = 64 << 10, PIECE = 1 << 20 };

struct shard_strings {
    struct shard_strings *next;
    size_t used, capacity;
    char bytes[];
};

const char *shard_keep(struct shard *s, const char *text, size_t size)
{
    struct shard_strings *b = s->strings;
    if (!b || b->capacity - b->used < size + 1) {
        size_t capacity = size + 1 > STRINGS_BLOCK ? size + 1 : STRINGS_BLOCK;
        b = xmalloc(sizeof *b + capacity);
        *b = (struct shard_strings){.next = s->strings, .capacity = capacity};
        s->strings = b;
    }
    char *kept = b->bytes + b->used;
    memcpy(kept, text, size);
    kept[size] = 0;
    b->used += size + 1;
    return kept;
}

void shard_release(struct shard *s)
{
    for (struct shard_strings *next; s->strings; s->strings = next) {
        next = s->strings->next;
        free(s->strings);
    }
    free(s->name);
    free(s->members);
    free(s->records);
    memset(s, 0, sizeof *s);
}

/* --------------------------------------------------------------- building -- */

const char *shard_base(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

int shard_check_name(const char *name, struct err *e)
{
    if (!utf8_is_valid(name, strlen(name)))
        return err_set(e, ERR_DATA, "a name that is not UTF-8");
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return err_set(e, ERR_DATA, "a name with the control byte 0x%02x", (unsigned char)*p);
    return 0;
}

int shard_add_record(struct shard_build *b, const char *key, size_t key_size, struct err *e)
{
    struct shard *s = b->shard;
    if (s->record_count == SHARD_RECORDS_MAX)
        return err_set(e, ERR_DATA, "more than %d samples", SHARD_RECORDS_MAX);
    if ((size_t)s->record_count == b->record_capacity)
        s->records = mem_grow(s->records, &b->record_capacity, sizeof *s->records);
    s->records[s->record_count++] = (struct shard_record){
        .key = shard_keep(s, key, key_size),
        .first = s->member_count,
    };
    return 0;
}

int shard_add_member(struct shard_build *b, const char *name, int64_t offset, int64_t size,
                     struct err *e)
{
    struct shard *s = b->shard;
    struct shard_record *r = &s->records[s->record_count - 1];
    if (r->count == SHARD_MEMBERS_MAX)
        return err_set(e, ERR_DATA, "\"%s\": a sample of more than %d members", name,
                       SHARD_MEMBERS_MAX);
    for (int i = 0; i < r->count; i++)
        if (strcmp(s->members[r->first + i].name, name) == 0)
            return err_set(e, ERR_DATA, "two members called \"%s\"", name);
    if ((size_t)s->member_count == b->member_capacity)
        s->members = mem_grow(s->members, &b->member_capacity, sizeof *s->members);
    s->members[s->member_count++] = (struct shard_member){
        .name = shard_keep(s, name, strlen(name)),
        .offset = offset,
        .size = size,
    };
    r->count++;
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int shard_finish(struct shard_build *b, struct err *e)
{
    const struct shard *s = b->shard;
    bool is_sorted = true;
    int failed = 0;
    if (s->record_count == 0)
        return err_set(e, ERR_DATA, "holds no sample");
    for (int i = 1; i < s->record_count && is_sorted; i++)
        is_sorted = strcmp(s->records[i - 1].key, s->records[i].key) < 0;
    if (is_sorted)
        return 0;
    const char **keys = xcalloc((size_t)s->record_count, sizeof *keys);
    for (int i = 0; i < s->record_count; i++)
        keys[i] = s->records[i].key;
    qsort(keys, (size_t)s->record_count, sizeof *keys, compare_keys);
    for (int i = 1; i < s->record_count && !failed; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            failed =
                err_set(e, ERR_DATA, "the members of sample \"%s\" do not stand together", keys[i]);
    free(keys);
    return failed ? err_hint(e, "write the archive sorted by name: tar --sort=name") : 0;
}

/* ------------------------------------------------------------ the archive -- */

/* What is neither a file nor a folder would leave a sample without a part of it. */
static int refuse(const struct tar_entry *entry, const char *name, struct err *e)
{
    const char *what = entry->type == TAR_LINK     ? "a link"
                       : entry->type == TAR_DEVICE ? "a device"
                       : entry->type == TAR_SPARSE ? "a sparse file"
                                                   : "of a type that is not known";
    err_set(e, ERR_DATA, "byte %lld: \"%s\" is %s", (long long)entry->header, name, what);
    return err_hint(e, "shards are made of plain files: tar --dereference --hard-dereference");
}

static int add_entry(struct shard_build *b, const struct tar_entry *entry, struct err *e)
{
    struct shard *s = b->shard;
    const char *name = entry->name;
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    if (shard_check_name(name, e))
        return err_in(e, "byte %lld", (long long)entry->header);
    if (entry->type == TAR_FOLDER)
        return 0;
    if (entry->type != TAR_FILE)
        return refuse(entry, name, e);
    const char *base = shard_base(name), *dot = strchr(base, '.');
    if (!dot || dot == base)
        return 0;
    size_t size = (size_t)(dot - name);
    const char *last = s->record_count ? s->records[s->record_count - 1].key : NULL;
    bool is_new = !last || strncmp(last, name, size) != 0 || last[size];
    if ((is_new && shard_add_record(b, name, size, e)) ||
        shard_add_member(b, name, entry->offset, entry->size, e))
        return err_in(e, "byte %lld", (long long)entry->header);
    return 0;
}

static int read_members(struct shard_build *b, struct tar *t, struct err *e)
{
    struct tar_entry entry;
    int got;
    while ((got = tar_next(t, &entry, e)) == 1)
        if (add_entry(b, &entry, e))
            return -1;
    return got < 0 ? -1 : shard_finish(b, e);
}

static int read_tar(void *arg, int64_t offset, void *out, size_t size, struct err *e)
{
    return tar_read(arg, offset, out, size, e);
}

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t little_endian(const unsigned char *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* How long a clip is by its first bytes, 0: they do not tell.  FLAC: RFC 9639, 8.2 (20 bits of
 * rate, 8 of channels and depth, 36 of samples).  WAV: its bytes a second, where "fmt " is the
 * first chunk. */
static double clip_seconds(const unsigned char *p, int64_t size)
{
    if (memcmp(p, "fLaC", 4) == 0 && (p[4] & 0x7f) == 0) {
        uint32_t rate = big_endian(p + 18) >> 12;
        double samples = (double)(p[21] & 15) * 4294967296.0 + big_endian(p + 22);
        return rate > 0 ? samples / rate : 0;
    }
    if (memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WAVEfmt ", 8) == 0) {
        uint32_t bytes_per_s = little_endian(p + 28);
        return bytes_per_s > 0 ? (double)(size - 44) / bytes_per_s : 0;
    }
    return 0;
}

/* The sum over a sample's clips, 0 when it is not known of all. */
static double sample_seconds(const struct shard *s, int record, struct tar *t)
{
    const struct shard_record *r = &s->records[record];
    double sum = 0;
    for (int i = 0; i < r->count; i++) {
        const struct shard_member *m = &s->members[r->first + i];
        unsigned char head[44];
        struct err ignored = {0};
        if (shard_role(r, m) != SHARD_AUDIO)
            continue;
        if (m->size < (int64_t)sizeof head || tar_read(t, m->offset, head, sizeof head, &ignored))
            return 0;
        double seconds = clip_seconds(head, m->size);
        if (seconds <= 0)
            return 0;
        sum += seconds;
    }
    return sum;
}

/* A record that cannot be read has the length 0, until its turn comes and it is found bad. */
static void read_facts(struct shard *s, int record, const struct record_place *place, struct tar *t)
{
    struct err ignored = {0};
    struct shard_record *r = &s->records[record];
    struct record_facts f;
    json_t *o = shard_json(s, record, read_tar, t, &ignored);
    if (!o)
        return;
    struct record_place here = {.where = "", .dir = place->dir, .shard = s, .index = record};
    record_rename(o, place->columns, place->column_count);
    record_facts(&f, o, &here);
    double seconds = f.seconds <= 0 && f.clip_count > 0 ? sample_seconds(s, record, t) : 0;
    if (seconds > 0) {
        json_put_double(o, "duration", seconds);
        record_facts(&f, o, &here);
    }
    const char *id = json_string_value(json_object_get(o, "id"));
    if (!id)
        id = f.id;
    if (*id && strcmp(id, r->key) != 0)
        r->id = shard_keep(s, id, strlen(id));
    r->length = f.length;
    r->seconds = f.seconds;
    json_decref(o);
}

int shard_index(struct shard *s, const char *path, const char *name, char *const *columns,
                int column_count, struct err *e)
{
    struct shard_build b = {.shard = s};
    struct tar t;
    memset(s, 0, sizeof *s);
    if (tar_open(&t, path, e))
        return -1;
    s->name = xstrdup(name);
    s->size = t.size;
    int failed = read_members(&b, &t, e);
    char *dir = source_dir(name);
    struct record_place place = {.dir = dir, .columns = columns, .column_count = column_count};
    for (int i = 0; i < s->record_count && !failed; i++)
        read_facts(s, i, &place, &t);
    free(dir);
    tar_close(&t);
    if (failed) {
        err_in(e, "%s", name);
        shard_release(s);
    }
    return failed;
}

int shard_sum(struct shard *s, const char *path, struct err *e)
{
    struct tar t;
    if (tar_open(&t, path, e))
        return -1;
    char *bytes = xmalloc(PIECE);
    int failed = 0;
    for (int i = 0; i < s->member_count && !failed; i++) {
        struct shard_member *m = &s->members[i];
        m->crc = 0;
        for (int64_t at = 0; at < m->size && !failed; at += PIECE) {
            size_t n = m->size - at < PIECE ? (size_t)(m->size - at) : PIECE;
            failed = tar_read(&t, m->offset + at, bytes, n, e);
            if (!failed)
                m->crc = crc32c(m->crc, bytes, n);
        }
        m->has_crc = !failed;
    }
    free(bytes);
    tar_close(&t);
    return failed ? err_in(e, "%s", s->name) : 0;
}

/* ---------------------------------------------------------------- looking -- */

const struct shard_member *shard_find(const struct shard *s, int record, const char *name)
{
    const struct shard_record *r = &s->records[record];
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    for (int i = 0; i < r->count; i++)
        if (strcmp(s->members[r->first + i].name, name) == 0)
            return &s->members[r->first + i];
    if (strstr(name, "://"))
        return NULL;
    const char *base = shard_base(name);
    bool is_extension = name[0] == '.' && base == name;
    for (int i = 0; i < r->count; i++) {
        const struct shard_member *m = &s->members[r->first + i];
        if (strcmp(is_extension ? shard_suffix(r, m) - 1 : shard_base(m->name), base) == 0)
            return m;
    }
    return NULL;
}

char *shard_where(const struct shard *s, int record)
{
    return xasprintf("%s:%s", s->name, s->records[record].key);
}
