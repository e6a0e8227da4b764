/* fuzz_record.c - any bytes as a line of a JSONL file: a whole record, or an error that names the
 * line. */
#include "data/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const struct record *r, const struct chat_message *m)
{
    for (int i = 0; i < m->part_count; i++) {
        const struct chat_part *p = &m->parts[i];
        if (p->kind == CHAT_TEXT)
            assert(p->text && strlen(p->text) < (size_t)1 << 30);
        else
            assert(p->kind == CHAT_AUDIO && p->media >= 0 && p->media < r->media_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct record r;
    /* The line ends where it says, not at a zero. */
    char *line = malloc(size + 1);
    assert(line);
    memcpy(line, data, size);
    line[size] = 'x';
    struct record_place place = {.where = "a.jsonl:7", .dir = "dir", .prompt = "Transcribe."};
    int failed = record_parse(&r, line, size, &place, &e);
    free(line);
    assert((failed != 0) == (e.kind == ERR_DATA));
    if (failed) {
        assert(strncmp(e.text, "a.jsonl:7:", 10) == 0);
        return 0;
    }
    assert((r.kind == RECORD_TEXT) == (r.text != NULL));
    assert((r.kind == RECORD_CHAT) == (r.message_count > 0));
    for (int i = 0; i < r.message_count; i++)
        check_message(&r, &r.messages[i]);
    for (int i = 0; i < r.media_count; i++)
        assert(r.media[i].name && (r.media[i].uri != NULL) != (r.media[i].bytes != NULL));
    free(record_reference(&r));
    struct record_facts f;
    record_facts(&f, r.json, &place);
    assert(f.media_count == r.media_count && f.seconds >= 0);
    record_release(&r);
    return 0;
}
