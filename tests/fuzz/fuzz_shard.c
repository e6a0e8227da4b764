/* fuzz_shard.c - any bytes as a tar archive, or (when they begin with a brace) as the index of one:
 * samples whose members lie in the file, or an error that names it. */
#include "base/buf.h"
#include "base/mem.h"
#include "data/record.h"
#include "data/shard.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 512, INDEXED_SIZE = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct file {
    const char *bytes;
    size_t size;
};

static int read_bytes(void *arg, int64_t offset, void *out, size_t size, struct err *e)
{
    const struct file *f = arg;
    assert(offset >= 0 && (uint64_t)offset + size <= f->size);
    memcpy(out, f->bytes + offset, size);
    (void)e;
    return 0;
}

static void check_shard(const struct shard *s)
{
    int next = 0;
    int64_t at = 0;
    assert(s->record_count > 0);
    for (int i = 0; i < s->record_count; i++) {
        const struct shard_record *r = &s->records[i];
        assert(r->first == next && r->count > 0 && r->seconds >= 0);
        next += r->count;
        for (int k = r->first; k < next; k++) {
            const struct shard_member *m = &s->members[k];
            size_t size = strlen(r->key);
            assert(m->offset >= at && m->size >= 0 && m->size <= s->size - m->offset);
            assert(strncmp(m->name, r->key, size) == 0 && m->name[size] == '.');
            assert(shard_find(s, i, m->name) == m);
            at = m->offset + m->size;
        }
    }
    assert(next == s->member_count);
}

static void check_records(const struct shard *s, struct file *f)
{
    for (int i = 0; i < s->record_count; i++) {
        struct err e = {0};
        struct record r;
        struct record_place place = {.where = "t.tar:x", .dir = "gs://b", .shard = s, .index = i};
        json_t *o = shard_json(s, i, read_bytes, f, &e);
        assert((o == NULL) == (e.kind == ERR_DATA));
        if (o && record_of_json(&r, o, &place, &e) == 0)
            record_release(&r);
    }
}

/* The index says the same. */
static void check_index(const struct shard *s, const struct object *o)
{
    struct err e = {0};
    struct shard again;
    struct buf text, text_again;
    buf_init(&text, 1 << 28);
    buf_init(&text_again, 1 << 28);
    shard_write_index(s, o, NULL, 0, &text);
    int failed = shard_read_index(&again, o, NULL, 0, text.data, text.size, &e);
    assert(!failed);
    check_shard(&again);
    shard_write_index(&again, o, NULL, 0, &text_again);
    assert(strcmp(text.data, text_again.data) == 0);
    shard_release(&again);
    buf_release(&text);
    buf_release(&text_again);
}

static void run_index(const char *text, size_t size)
{
    struct err e = {0};
    struct shard s;
    struct object o = {.uri = "t.tar", .size = INDEXED_SIZE};
    if (shard_read_index(&s, &o, NULL, 0, text, size, &e)) {
        assert(strncmp(e.text, "t.tar.idx:", 10) == 0 && !s.members);
        return;
    }
    check_shard(&s);
    check_index(&s, &o);
    shard_release(&s);
}

static void run_archive(const char *bytes, size_t size)
{
    static char path[] = "/tmp/attune-fuzz-XXXXXX";
    struct err e = {0};
    struct shard s;
    struct file f = {bytes, size};
    struct object o = {.uri = "t.tar", .size = (int64_t)size};
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    int fd = mkstemp(path);
    assert(fd >= 0);
    for (size_t at = 0; at < size;) {
        ssize_t n = write(fd, bytes + at, size - at);
        assert(n > 0);
        at += (size_t)n;
    }
    close(fd);
    if (shard_index(&s, path, "t.tar", NULL, 0, &e)) {
        assert(e.kind == ERR_DATA && strncmp(e.text, "t.tar: ", 7) == 0 && !s.members);
    } else {
        check_shard(&s);
        check_records(&s, &f);
        check_index(&s, &o);
        shard_release(&s);
    }
    unlink(path);
}

/* Give every block that looks like a header the right checksum, which chance will not find. */
static void fix_checksums(char *bytes, size_t size)
{
    for (size_t at = 0; at + BLOCK <= size; at += BLOCK) {
        unsigned sum = 0;
        char digits[24], *h = bytes + at;
        if (memcmp(h + 257, "ustar", 5) != 0)
            continue;
        memset(h + 148, ' ', 8);
        for (int i = 0; i < BLOCK; i++)
            sum += (unsigned char)h[i];
        snprintf(digits, sizeof digits, "%06o", sum);
        memcpy(h + 148, digits, 7);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '{') {
        run_index((const char *)data, size);
        return 0;
    }
    char *bytes = xmalloc(size + 1);
    memcpy(bytes, data, size);
    run_archive(bytes, size);
    fix_checksums(bytes, size);
    run_archive(bytes, size);
    free(bytes);
    return 0;
}
