/* test_collate.c - each number of a batch where it belongs. */
#include "data_testing.h"

#include "data/collate.h"

static struct sample make(const char *line, enum sample_purpose purpose)
{
    struct err e = {0};
    struct record r;
    struct sample s;
    struct record_place place = {.where = "a.jsonl:3", .dir = kit.folder};
    assert_int_equal(record_parse(&r, line, strlen(line), &place, &e), 0);
    int failed = sample_make(&s, &kit.format, &r, purpose, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    record_release(&r);
    return s;
}

static void check_row(const struct batch *b, const struct data_format *f, const struct sample *s,
                      int row)
{
    assert_int_equal(b->lengths[row], s->count);
    assert_string_equal(b->ids[row], s->id);
    assert_int_equal(b->has_ids[row], s->has_id);
    assert_int_equal(b->record_rows[row], row);
    assert_int_equal(b->record_starts[row], 0);
    assert_int_equal(b->record_lengths[row], s->count);
    for (int t = 0; t < b->len; t++)
        assert_int_equal(b->tokens[row * b->len + t], t < s->count ? s->tokens[t] : f->pad_id);
}

/* Targets: each supervised token, predicted from the position before it. */
static void check_targets(const struct batch *b, const struct sample *s, int count, int padded)
{
    int r = 0;
    for (int row = 0; row < count; row++)
        for (int t = 1; t < s[row].count; t++)
            if (s[row].supervised[t]) {
                assert_int_equal(b->target_rows[r], row * b->len + t - 1);
                assert_int_equal(b->target_ids[r], s[row].tokens[t]);
                assert_near(b->target_weights[r], 1, 0);
                assert_int_equal(b->record_of_target[r++], row);
            }
    assert_int_equal(b->supervised, r);
    assert_int_equal(b->targets, padded);
    for (; r < b->targets; r++)
        assert_near(b->target_weights[r], 0, 0);
}

static void test_collate__mixes_text_and_clips(void **state)
{
    (void)state;
    kit_write_tone(&kit, "a.wav", 5000, 0.3, 0);
    kit_write_tone(&kit, "b.wav", 12345, 0.3, 100);
    kit_write_tone(&kit, "c.wav", 3000, 0.3, 300);
    struct sample s[3] = {
        make("{\"prompt\": \"one\", \"completion\": \"two\"}", SAMPLE_TRAIN),
        make("{\"messages\": [{\"role\": \"user\", \"content\": [{\"audio\": \"a.wav\"},"
             " {\"text\": \" and \"}, {\"audio\": \"b.wav\"}]},"
             " {\"role\": \"assistant\", \"content\": \"differ\"}]}",
             SAMPLE_TRAIN),
        make("{\"audio\": \"c.wav\", \"text\": \"three\", \"id\": 9}", SAMPLE_TRAIN),
    };
    struct data_format f = kit.format;
    f.tokens_multiple = 8;
    f.frames_multiple = 50;
    f.targets_multiple = 32;
    f.pad_id = 3;
    struct batch b;
    collate(&b, &f, s, 3);

    assert_int_equal(b.rows, 3);
    assert_int_equal(b.len % 8, 0);
    assert_true(b.len >= s[1].count && b.len < s[1].count + 8);
    for (int row = 0; row < 3; row++)
        check_row(&b, &f, &s[row], row);
    assert_int_equal(b.total, s[0].count + s[1].count + s[2].count);

    /* Clips: 31, 77 and 18 real frames, padded to 100, of which the tower makes 25 tokens. */
    static const int frames[] = {31, 77, 18}, soft[] = {8, 20, 5}, row_of[] = {1, 1, 2};
    assert_int_equal(b.records_count, 3);
    assert_int_equal(b.segments, 1);
    assert_null(b.segment);
    assert_null(b.position);
    assert_int_equal(b.pictures, 0);
    assert_null(b.pixels);
    assert_int_equal(b.clips, 3);
    assert_int_equal(b.frames, 100);
    assert_int_equal(b.bins, 128);
    assert_int_equal(b.slots, 25);
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < b.frames; i++)
            assert_int_equal(b.frame_valid[c * b.frames + i], i < frames[c]);
        const struct sample *of = &s[row_of[c]];
        const struct chat_span *span = &of->spans[c == 1];
        assert_int_equal(span->count, soft[c]);
        for (int k = 0; k < soft[c]; k++)
            assert_int_equal(b.soft[row_of[c] * b.len + span->start + k], c * 25 + k);
        const float *mel = of->clips[c == 1].mel;
        assert_memory_equal(b.mel + (size_t)c * 100 * 128, mel,
                            (size_t)frames[c] * 128 * sizeof *mel);
        assert_true(b.mel[((size_t)c * 100 + 99) * 128 + 7] == 0);
        assert_true(b.clip_keys[c] == of->clips[c == 1].key && b.clip_keys[c] != 0);
    }
    int soft_count = 0;
    for (int i = 0; i < b.rows * b.len; i++)
        soft_count += b.soft[i] >= 0;
    assert_int_equal(soft_count, 8 + 20 + 5);

    check_targets(&b, s, 3, 32);
    batch_release(&b);
    batch_release(&b);
    for (int i = 0; i < 3; i++)
        sample_release(&s[i]);
}

static void test_collate__without_clips(void **state)
{
    (void)state;
    struct sample s = make("{\"prompt\": \"one\", \"completion\": \"two\"}", SAMPLE_GENERATE);
    struct batch b;
    collate(&b, &kit.format, &s, 1);
    assert_int_equal(b.clips, 0);
    assert_null(b.mel);
    assert_null(b.soft);
    assert_string_equal(b.references[0], "two");
    assert_int_equal(b.supervised, 0);
    assert_int_equal(b.targets, 0);
    assert_int_equal(b.len % SAMPLE_TOKENS, 0);
    batch_release(&b);
    sample_release(&s);
}

/* ---------------------------------------------------------------- pictures -- */

static void check_picture(const struct batch *b, const struct sample *s, int row, int which,
                          int picture)
{
    const struct sample_picture *p = &s->pictures[s->blocks[which].index];
    const struct chat_span *span = &s->spans[which];
    int across = p->picture.across, patches = across * p->picture.down, E = b->patch_numbers;
    const uint8_t *pixels = b->pixels + (size_t)picture * (size_t)b->patches * (size_t)E;
    const int32_t *at = b->patch_at + 2 * picture * b->patches;
    assert_true(b->picture_keys[picture] == p->key && p->key != 0);
    assert_memory_equal(pixels, p->picture.patches, (size_t)patches * (size_t)E);
    for (int j = 0; j < b->patches; j++) {
        assert_int_equal(at[2 * j], j < patches ? j % across : -1);
        assert_int_equal(at[2 * j + 1], j < patches ? j / across : -1);
        if (j >= patches)
            assert_int_equal(pixels[j * E] | pixels[j * E + E - 1], 0);
    }
    for (int k = 0; k < span->count; k++)
        assert_int_equal(b->soft[row * b->len + span->start + k],
                         b->clips * b->slots + picture * b->picture_slots + k);
}

static void write_pictures(void)
{
    kit_write_picture(&kit, "wide.png", 96, 48, 0xc80a20);
    kit_write_picture(&kit, "square.png", 64, 64, 0x0a20c8);
    kit_write_tone(&kit, "a.wav", 5000, 0.3, 0);
}

#define OF_BOTH                                                                                    \
    "{\"image\": [\"square.png\", \"wide.png\"], \"audio\": \"a.wav\", \"text\": \"both\"}"

static void test_collate__of_pictures(void **state)
{
    (void)state;
    write_pictures();
    struct sample s[2] = {
        make("{\"image\": \"square.png\", \"text\": \"one\"}", SAMPLE_TRAIN),
        make(OF_BOTH, SAMPLE_TRAIN),
    };
    struct data_format f = kit.format;
    f.patches_multiple = 8;
    struct batch b;
    collate(&b, &f, s, 2);
    /* 16 and 18 soft tokens of 9 patches each, padded to 20, since no picture has 24. */
    assert_int_equal(b.pictures, 3);
    assert_int_equal(b.picture_slots, 20);
    assert_int_equal(b.patches, 20 * 9);
    assert_int_equal(b.patch_numbers, 16 * 16 * 3);
    assert_int_equal(b.clips, 1);
    assert_int_equal(b.slots, 8);
    check_picture(&b, &s[0], 0, 0, 0);
    check_picture(&b, &s[1], 1, 0, 1);
    check_picture(&b, &s[1], 1, 1, 2);
    assert_true(b.picture_keys[0] == b.picture_keys[1]);
    assert_true(b.picture_keys[0] != b.picture_keys[2]);
    int soft = 0;
    for (int i = 0; i < b.rows * b.len; i++)
        soft += b.soft[i] >= 0;
    assert_int_equal(soft, 16 + 16 + 18 + 8);
    const struct chat_span *sound = &s[1].spans[2];
    assert_int_equal(b.soft[b.len + sound->start], 0);
    assert_int_equal(b.soft[b.len + sound->start + 7], 7);
    batch_release(&b);
    f.patches_multiple = 1;
    collate(&b, &f, s, 2);
    assert_int_equal(b.picture_slots, 18);
    batch_release(&b);
    f.patches_multiple = 19;
    collate(&b, &f, s, 1);
    assert_int_equal(b.picture_slots, 19);
    check_picture(&b, &s[0], 0, 0, 0);
    batch_release(&b);
    sample_release(&s[0]);
    sample_release(&s[1]);
}

/* Without an encoder a patch is a soft token. */
static void test_collate__of_merged_pictures(void **state)
{
    (void)state;
    write_pictures();
    struct picture_config merged = kit.picture, usual = kit.picture;
    merged.is_merged = true;
    kit.picture = merged;
    struct sample s = make("{\"image\": \"wide.png\", \"text\": \"one\"}", SAMPLE_TRAIN);
    struct batch b;
    collate(&b, &kit.format, &s, 1);
    assert_int_equal(b.picture_slots, 20);
    assert_int_equal(b.patches, 20);
    assert_int_equal(b.patch_numbers, 48 * 48 * 3);
    assert_int_equal(s.pictures[0].picture.across, 6);
    check_picture(&b, &s, 0, 0, 0);
    batch_release(&b);
    sample_release(&s);
    kit.picture = usual;
}

/* ----------------------------------------------------------------- packing -- */

enum { PACKED = 12, ROOM = 64 };

/* Records of many lengths, some with media, one longer than a row. */
static void make_many(struct sample *s)
{
    write_pictures();
    for (int i = 0; i < PACKED; i++) {
        char line[200];
        if (i == 4 || i == 9)
            snprintf(line, sizeof line, "{\"image\": \"%s.png\", \"text\": \"%d\"}",
                     i == 4 ? "wide" : "square", i);
        else if (i == 2 || i == 7)
            snprintf(line, sizeof line, "{\"audio\": \"a.wav\", \"text\": \"tone %d\"}", i);
        else if (i == 6)
            snprintf(line, sizeof line, OF_BOTH);
        else
            snprintf(line, sizeof line, "{\"prompt\": \"%d\", \"completion\": \"%.*s\"}", i,
                     1 + i * 5 % 23, "abcdefghijklmnopqrstuvw");
        s[i] = make(line, SAMPLE_TRAIN);
        s[i].record = 100 + i;
    }
    assert_true(s[6].count > ROOM);
}

/* Every token of every record lies in one place of its own, and nothing else does. */
static void check_places(const struct batch *b, const struct sample *s, int count, int pad_id)
{
    int cells = b->rows * b->len;
    int *users = xcalloc((size_t)cells, sizeof *users);
    for (int i = 0; i < count; i++) {
        int start = b->record_rows[i] * b->len + b->record_starts[i];
        assert_int_equal(b->record_lengths[i], s[i].count);
        assert_true(b->record_starts[i] + s[i].count <= b->lengths[b->record_rows[i]]);
        assert_memory_equal(b->tokens + start, s[i].tokens, (size_t)s[i].count * sizeof *b->tokens);
        for (int t = 0; t < s[i].count; t++) {
            users[start + t]++;
            assert_int_equal(b->position[start + t], t);
            assert_int_equal(b->segment[start + t], b->segment[start]);
        }
    }
    for (int row = 0; row < b->rows; row++) {
        assert_true(b->lengths[row] <= ROOM || b->segment[row * b->len + b->lengths[row] - 1] == 0);
        for (int t = 0; t < b->len; t++) {
            int at = row * b->len + t;
            assert_int_equal(users[at], t < b->lengths[row]);
            if (t >= b->lengths[row]) {
                assert_int_equal(b->tokens[at], pad_id);
                assert_int_equal(b->soft[at], -1);
                assert_int_equal(b->position[at], t - b->lengths[row]);
            }
            /* Segments count up, and change where a position is 0. */
            int before = t ? b->segment[at - 1] : -1;
            assert_int_equal(b->segment[at], before + (b->position[at] == 0));
        }
        int last = b->segment[row * b->len + b->lengths[row] - 1];
        assert_true(last < b->segments);
    }
    free(users);
}

/* First fit, the longest first. */
static void check_first_fit(const struct batch *b, const struct sample *s, int count)
{
    int used[PACKED] = {0}, rows = 0;
    bool is_done[PACKED] = {false};
    for (int i = 0; i < count; i++) {
        int k = -1;
        for (int j = 0; j < count; j++)
            if (!is_done[j] && (k < 0 || s[j].count > s[k].count))
                k = j;
        int row = 0;
        while (row < rows && used[row] + s[k].count > ROOM)
            row++;
        rows = row == rows ? rows + 1 : rows;
        is_done[k] = true;
        assert_int_equal(b->record_rows[k], row);
        assert_int_equal(b->record_starts[k], used[row]);
        used[row] += s[k].count;
    }
    assert_int_equal(b->rows, rows);
}

/* The same soft tokens and targets at the same tokens as unpacked. */
static void check_as_unpacked(const struct batch *b, const struct batch *plain, int count)
{
    assert_int_equal(b->supervised, plain->supervised);
    assert_int_equal(b->targets, plain->targets);
    assert_int_equal(b->total, plain->total);
    assert_int_equal(b->clips, plain->clips);
    assert_int_equal(b->pictures, plain->pictures);
    assert_memory_equal(b->picture_keys, plain->picture_keys, (size_t)b->pictures * 8);
    assert_memory_equal(b->clip_keys, plain->clip_keys, (size_t)b->clips * 8);
    for (int i = 0; i < count; i++) {
        int start = b->record_rows[i] * b->len + b->record_starts[i];
        assert_string_equal(b->ids[i], plain->ids[i]);
        assert_int_equal(b->records[i], plain->records[i]);
        for (int t = 0; t < b->record_lengths[i]; t++)
            assert_int_equal(b->soft[start + t], plain->soft[i * plain->len + t]);
    }
    int r = 0;
    for (int i = 0; i < b->supervised; i++) {
        int record = b->record_of_target[i];
        int start = b->record_rows[record] * b->len + b->record_starts[record];
        int t = b->target_rows[i] - start;
        assert_true(t >= 0 && t < b->record_lengths[record] - 1);
        assert_true(i == 0 || b->target_rows[i] > b->target_rows[i - 1]);
        assert_near(b->target_weights[i], 1, 0);
        for (r = 0; r < plain->supervised; r++)
            if (plain->target_rows[r] == record * plain->len + t)
                break;
        assert_true(r < plain->supervised);
        assert_int_equal(plain->record_of_target[r], record);
        assert_int_equal(plain->target_ids[r], b->target_ids[i]);
    }
    for (int64_t i = b->supervised; i < b->targets; i++)
        assert_near(b->target_weights[i], 0, 0);
}

static void test_collate__packs(void **state)
{
    (void)state;
    struct sample s[PACKED];
    struct data_format f = kit.format;
    struct batch plain, b;
    f.pad_id = 3;
    make_many(s);
    collate(&plain, &f, s, PACKED);
    f.pack_tokens = ROOM;
    collate(&b, &f, s, PACKED);
    assert_int_equal(b.records_count, PACKED);
    assert_true(b.rows < PACKED && b.segments > 2);
    check_places(&b, s, PACKED, 3);
    check_first_fit(&b, s, PACKED);
    check_as_unpacked(&b, &plain, PACKED);
    batch_release(&b);

    /* With room for all in one row. */
    f.pack_tokens = 100000;
    collate(&b, &f, s, PACKED);
    assert_int_equal(b.rows, 1);
    assert_int_equal(b.segments, PACKED);
    check_as_unpacked(&b, &plain, PACKED);
    batch_release(&b);

    /* With room for none behind another: rows of one record each, the longest first. */
    f.pack_tokens = 1;
    collate(&b, &f, s, PACKED);
    assert_int_equal(b.rows, PACKED);
    assert_int_equal(b.segments, 1);
    assert_null(b.segment);
    assert_null(b.position);
    assert_int_equal(b.record_rows[6], 0);
    check_as_unpacked(&b, &plain, PACKED);
    batch_release(&b);
    batch_release(&plain);
    for (int i = 0; i < PACKED; i++)
        sample_release(&s[i]);
}

static void test_collate__packs_no_prompts(void **state)
{
    (void)state;
    struct sample s[2] = {
        make("{\"prompt\": \"one\", \"completion\": \"two\"}", SAMPLE_GENERATE),
        make("{\"prompt\": \"three\", \"completion\": \"four\"}", SAMPLE_GENERATE),
    };
    struct data_format f = kit.format;
    struct batch b;
    f.pack_tokens = 1000;
    collate(&b, &f, s, 2);
    assert_int_equal(b.rows, 2);
    assert_int_equal(b.segments, 1);
    assert_string_equal(b.references[1], "four");
    batch_release(&b);
    sample_release(&s[0]);
    sample_release(&s[1]);
}

static void test_collate__of_nothing(void **state)
{
    (void)state;
    struct batch b;
    collate(&b, &kit.format, NULL, 0);
    assert_int_equal(b.rows, 0);
    assert_int_equal(b.len, 0);
    batch_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_collate__mixes_text_and_clips),
        cmocka_unit_test(test_collate__without_clips),
        cmocka_unit_test(test_collate__of_pictures),
        cmocka_unit_test(test_collate__of_merged_pictures),
        cmocka_unit_test(test_collate__packs),
        cmocka_unit_test(test_collate__packs_no_prompts),
        cmocka_unit_test(test_collate__of_nothing),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
