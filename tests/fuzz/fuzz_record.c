/* fuzz_record.c - any bytes as a line of a JSONL file: a whole record, or an error that names the
 * line. */
#include "data/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const struct record *r, const struct chat_message *m)
{
    static const enum chat_part_kind kinds[] = {CHAT_AUDIO, CHAT_IMAGE, CHAT_VIDEO};
    for (int i = 0; i < m->part_count; i++) {
        const struct chat_part *p = &m->parts[i];
        if (p->kind == CHAT_TEXT)
            assert(p->text && strlen(p->text) < (size_t)1 << 30);
        else
            assert(p->media >= 0 && p->media < r->media_count &&
                   p->kind == kinds[r->media[p->media].kind]);
    }
}

static void check_media(const struct record *r, int i)
{
    const struct record_media *m = &r->media[i], *file = record_file(r, i);
    assert(m->name && m->same_as < i && file->same_as < 0);
    assert((file->uri != NULL) != (file->bytes != NULL));
    assert(file == m || !m->bytes);
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
        check_media(&r, i);
    for (int i = 0; i < r.speech.segment_count; i++)
        assert(r.speech.segments[i].text && r.speech.segments[i].start >= 0);
    assert(r.speech.timestamps >= -1 && r.speech.timestamps <= 1);
    free(record_reference(&r));
    struct record_facts f;
    record_facts(&f, r.json, &place);
    assert(f.media_count == r.media_count && f.seconds >= 0);
    assert(f.clip_count == record_count(&r, RECORD_AUDIO));
    assert(f.image_count == record_count(&r, RECORD_IMAGE));
    assert(f.video_count == record_count(&r, RECORD_VIDEO));
    record_release(&r);
    return 0;
}
