/* test_shard.c - samples of shards as webdataset groups them and where Python's tarfile finds them
 * (tests/fixtures/shards.py); what is refused; records made of members; indexes. */
#include "testing.h"

#include "base/buf.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/record.h"
#include "data/shard.h"
#include "tar_testing.h"

static char *folder, *path;
static struct buf t;                      /* the archive that a test makes */

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    path = path_join(folder, "t.tar");
    buf_init(&t, 1 << 24);
    return 0;
}

static int tear_down(void **state)
{
    struct err e = {0};
    (void)state;
    assert_int_equal(dir_remove(folder, &e), 0);
    buf_release(&t);
    free(path);
    free(folder);
    return 0;
}

static int write_and_index(struct shard *s, struct err *e)
{
    memset(e, 0, sizeof *e);
    assert_int_equal(file_write(path, t.data, t.size, e), 0);
    int failed = shard_index(s, path, "gs://b/t.tar", NULL, 0, e);
    buf_clear(&t);
    assert_int_equal(failed != 0, e->kind != 0);
    return failed;
}

static void open_shard(struct shard *s)
{
    struct err e;
    tar_end(&t);
    write_and_index(s, &e);
    assert_ok(e);
}

static void check_bad(const char *part)
{
    struct shard s;
    struct err e;
    tar_end(&t);
    assert_int_equal(write_and_index(&s, &e), -1);
    assert_err(e, ERR_DATA, part);
    assert_int_equal(strncmp(e.text, "gs://b/t.tar: ", 14), 0);
    assert_null(s.members);
}

static int read_file(void *arg, int64_t offset, void *out, size_t size, struct err *e)
{
    FILE *f = fopen(arg, "rb");
    assert_non_null(f);
    fseek(f, (long)offset, SEEK_SET);
    size_t n = fread(out, 1, size, f);
    fclose(f);
    return n == size ? 0 : err_set(e, ERR_DATA, "short");
}

/* ----------------------------------------------------------------- reference -- */

static void check_samples(const struct shard *s, const json_t *samples)
{
    assert_int_equal(s->record_count, json_array_size(samples));
    for (int i = 0; i < s->record_count; i++) {
        const struct shard_record *r = &s->records[i];
        const json_t *sample = json_array_get(samples, (size_t)i);
        const json_t *members = json_array_get(sample, 1);
        assert_string_equal(r->key, json_string_value(json_array_get(sample, 0)));
        assert_int_equal(r->count, json_array_size(members));
        for (int k = 0; k < r->count; k++) {
            const json_t *m = json_array_get(members, (size_t)k);
            const struct shard_member *found = &s->members[r->first + k];
            assert_string_equal(found->name, json_string_value(json_array_get(m, 0)));
            assert_int_equal(found->offset, json_integer_value(json_array_get(m, 2)));
            assert_int_equal(found->size, json_integer_value(json_array_get(m, 3)));
        }
    }
}

static void test_shard__finds_what_tarfile_and_webdataset_find(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *told = json_read_file("tests/data/shards/shards.json", 1 << 20, &e);
    assert_ok(e);
    const char *name;
    json_t *samples;
    assert_int_equal(json_object_size(told), 3);
    json_object_foreach(told, name, samples)
    {
        char *file = xasprintf("tests/data/shards/%s.tar", name);
        struct shard s;
        int failed = shard_index(&s, file, file, NULL, 0, &e);
        assert_ok(e);
        assert_int_equal(failed, 0);
        check_samples(&s, samples);
        assert_int_equal(s.size, 20480);
        char *where = shard_where(&s, 1);
        assert_int_equal(strncmp(where, file, strlen(file)), 0);
        assert_string_equal(where + strlen(file), ":a/0002");
        free(where);
        free(file);
        shard_release(&s);
    }
    json_decref(told);
}

/* ------------------------------------------------------------------- grouping -- */

static void test_shard__passes_over_what_is_no_sample(void **state)
{
    (void)state;
    struct shard s;
    tar_header(&t, "./", '5', 0);
    tar_add(&t, "./._1.txt", "resource fork");
    tar_add(&t, "./1.txt", "one");
    tar_add(&t, ".hidden", "x");
    tar_add(&t, "LICENSE", "x");
    tar_header(&t, "d.e/", '5', 0);
    tar_add(&t, "./1.JSON", "{}");
    tar_add(&t, "../../etc/2.txt", "only a name");
    tar_add(&t, "/abs/3.txt", "only a name");
    open_shard(&s);
    assert_int_equal(s.record_count, 3);
    assert_string_equal(s.records[0].key, "1");
    assert_int_equal(s.records[0].count, 2);
    assert_string_equal(s.members[0].name, "1.txt");
    assert_string_equal(s.records[1].key, "../../etc/2");
    assert_string_equal(s.records[2].key, "/abs/3");
    shard_release(&s);
    shard_release(&s);
}

static void test_shard__refuses_samples_that_would_be_split(void **state)
{
    (void)state;
    tar_add(&t, "1.txt", "a");
    tar_add(&t, "2.txt", "b");
    tar_add(&t, "1.json", "{}");
    check_bad("the members of sample \"1\" do not stand together");
    tar_add(&t, "1.txt", "a");
    tar_add(&t, "1.json", "{}");
    tar_add(&t, "./1.txt", "a");
    check_bad("byte 2048: two members called \"1.txt\"");
    tar_add(&t, "2.txt", "b");
    tar_add(&t, "1.txt", "a");
    tar_add(&t, "1/2.txt", "folders count");
    struct shard s;
    open_shard(&s);
    assert_int_equal(s.record_count, 3);
    shard_release(&s);
}

static void test_shard__refuses_what_is_no_plain_file(void **state)
{
    (void)state;
    struct shard s;
    static const struct {
        char type;
        const char *part;
    } bad[] = {{'2', "byte 1024: \"1.flac\" is a link"},
               {'1', "\"1.flac\" is a link"},
               {'3', "\"1.flac\" is a device"},
               {'S', "\"1.flac\" is a sparse file"},
               {'M', "\"1.flac\" is of a type that is not known"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tar_add(&t, "1.txt", "a");
        tar_header(&t, "1.flac", bad[i].type, 0);
        check_bad(bad[i].part);
    }
    tar_add(&t, "a\nb.txt", "a");
    check_bad("byte 0: a name with the control byte 0x0a");
    tar_add(&t, "a\x7f.txt", "a");
    check_bad("byte 0: a name with the control byte 0x7f");
    tar_add(&t, "a\xff.txt", "a");
    check_bad("byte 0: a name that is not UTF-8");
    check_bad("holds no sample");
    tar_add(&t, "README", "a");
    check_bad("holds no sample");
    for (int i = 0; i <= SHARD_MEMBERS_MAX; i++) {
        char name[20];
        snprintf(name, sizeof name, "1.%d", i);
        tar_add(&t, name, "");
    }
    check_bad("a sample of more than 1024 members");
    struct err e = {0};
    assert_int_equal(shard_index(&s, "/nothing/here.tar", "x", NULL, 0, &e), -1);
    assert_err(e, ERR_DATA, "/nothing/here.tar");
}

/* The shapes of a cut that Python's tarfile and libarchive do not see. */
static void test_shard__refuses_a_cut_archive(void **state)
{
    (void)state;
    struct shard s;
    struct err e;
    for (size_t keep = 512; keep <= 2560; keep += 512) {
        tar_add(&t, "1.txt", "a");
        tar_add(&t, "2.txt", "b");
        tar_end(&t);
        buf_truncate(&t, keep);
        assert_int_equal(write_and_index(&s, &e), -1);
        char part[60];
        snprintf(part, sizeof part, "gs://b/t.tar: byte %d: the file ends here", (int)keep);
        assert_err(e, ERR_DATA, part);
    }
}

/* -------------------------------------------------------------------- records -- */

/* The record of the one sample in the archive, as JSON text; the caller frees. */
static char *merged(struct err *e)
{
    struct shard s;
    open_shard(&s);
    assert_int_equal(s.record_count, 1);
    memset(e, 0, sizeof *e);
    json_t *o = shard_json(&s, 0, read_file, path, e);
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(o);
    shard_release(&s);
    return text;
}

static void check_merged(const char *expected)
{
    struct err e;
    char *found = merged(&e);
    assert_ok(e);
    assert_string_equal(found, expected);
    free(found);
}

static void check_not_merged(const char *part)
{
    struct err e;
    assert_null(merged(&e));
    assert_err(e, ERR_DATA, part);
}

static void test_shard__makes_a_record_of_members(void **state)
{
    (void)state;
    tar_add(&t, "a/1.flac", "x");
    tar_add(&t, "a/1.txt", "\xef\xbb\xbfhello\r\n");
    tar_add(&t, "a/1.lang", "en\n");
    tar_add(&t, "a/1.pdf", "x");
    check_merged("{\"audio\":\"a/1.flac\",\"id\":\"a/1\",\"language\":\"en\",\"text\":\"hello\"}");
    tar_add(&t, "1.json",
            "{\"text\": \"own\", \"id\": 5, \"audio\": \"b.wav\", \"language\": null}");
    tar_add(&t, "1.txt", "other");
    tar_add(&t, "1.WAV", "x");
    tar_add(&t, "1.mp3", "x");
    tar_add(&t, "1.lang", "de");
    check_merged("{\"audio\":\"b.wav\",\"id\":5,\"language\":\"de\",\"text\":\"own\"}");
    tar_add(&t, "1.left.OPUS", "x");
    tar_add(&t, "1.text", "");
    check_merged("{\"audio\":\"1.left.OPUS\",\"id\":\"1\",\"text\":\"\"}");
    tar_add(&t, "1.json",
            "{\"messages\": [{\"role\": \"user\", \"content\": "
            "[{\"type\": \"audio\"}]}]}");
    tar_add(&t, "1.flac", "x");
    check_merged("{\"audios\":[\"1.flac\"],\"id\":\"1\",\"messages\":[{\"content\":"
                 "[{\"type\":\"audio\"}],\"role\":\"user\"}]}");
    tar_add(&t, "1.json",
            "{\"messages\": [{\"role\": \"user\", \"content\": "
            "[{\"type\": \"audio\", \"path\": \".flac\"}]}]}");
    tar_add(&t, "1.flac", "x");
    check_merged("{\"id\":\"1\",\"messages\":[{\"content\":"
                 "[{\"path\":\".flac\",\"type\":\"audio\"}],\"role\":\"user\"}]}");
    /* record.h refuses it then. */
    tar_add(&t, "1.json", "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}");
    tar_add(&t, "1.flac", "x");
    check_merged("{\"audio\":\"1.flac\",\"id\":\"1\",\"messages\":[{\"content\":\"hi\","
                 "\"role\":\"user\"}]}");
}

static void test_shard__makes_records_of_pictures_and_videos(void **state)
{
    (void)state;
    tar_add(&t, "1.txt", "hello");
    tar_add(&t, "1.flac", "x");
    tar_add(&t, "1.big.JPEG", "x");
    check_merged("{\"audio\":\"1.flac\",\"id\":\"1\",\"image\":\"1.big.JPEG\",\"text\":\"hello\"}");
    tar_add(&t, "1.txt", "hello");
    tar_add(&t, "1.mp4", "x");
    check_merged("{\"id\":\"1\",\"text\":\"hello\",\"video\":\"1.mp4\"}");
    /* A .webm is sound, unless the json says what else it is. */
    tar_add(&t, "1.webm", "x");
    check_merged("{\"audio\":\"1.webm\",\"id\":\"1\"}");
    tar_add(&t, "1.json", "{\"video\": \".mp4\", \"sound\": true}");
    tar_add(&t, "1.mp4", "x");
    tar_add(&t, "1.jpg", "a thumbnail");
    check_merged("{\"id\":\"1\",\"sound\":true,\"video\":\".mp4\"}");
    tar_add(&t, "1.json", "{\"audio\": \"1.mp4\"}");
    tar_add(&t, "1.mp4", "x");
    check_merged("{\"audio\":\"1.mp4\",\"id\":\"1\"}");
    /* As many as there are places for. */
    tar_add(&t, "1.json",
            "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\"},"
            "{\"type\": \"audio\", \"audio\": \".wav\"}, {\"type\": \"image\"}]}]}");
    tar_add(&t, "1.0.png", "x");
    tar_add(&t, "1.1.webp", "x");
    tar_add(&t, "1.wav", "x");
    struct err e;
    char *text = merged(&e);
    assert_ok(e);
    assert_non_null(strstr(text, "\"images\":[\"1.0.png\",\"1.1.webp\"]"));
    assert_null(strstr(text, "audios"));
    free(text);
    tar_add(&t, "1.0.png", "x");
    tar_add(&t, "1.1.webp", "x");
    check_not_merged("\"1.0.png\" and \"1.1.webp\" in one sample");
}

static void test_shard__says_what_is_wrong_with_a_sample(void **state)
{
    (void)state;
    tar_add(&t, "a/1.json", "{\n \"text\" 5}");
    check_not_merged("1.json:2:");
    tar_add(&t, "a/1.json", "[]");
    check_not_merged("1.json: expected an object, found an array");
    tar_add(&t, "1.json", "{}");
    tar_add(&t, "1.JSON", "{}");
    check_not_merged("\"1.json\" and \"1.JSON\" in one sample");
    tar_add(&t, "1.a.flac", "x");
    tar_add(&t, "1.b.flac", "x");
    check_not_merged("\"1.a.flac\" and \"1.b.flac\" in one sample");
    tar_add(&t, "1.txt", "\xff");
    check_not_merged("\"1.txt\" is not UTF-8 text");
    tar_add_bytes(&t, "1.txt", '0', "a\0b", 3);
    check_not_merged("\"1.txt\" is not UTF-8 text");
    char *text = xcalloc(1, 70);
    memset(text, 'x', 65);
    tar_add(&t, "1.lang", text);
    check_not_merged("\"1.lang\": 65 bytes, at most 64 are allowed");
    free(text);
}

static void test_shard__finds_members(void **state)
{
    (void)state;
    struct shard s;
    tar_add(&t, "a/1.left.flac", "x");
    tar_add(&t, "a/1.flac", "x");
    tar_add(&t, "a/2.flac", "x");
    open_shard(&s);
    assert_ptr_equal(shard_find(&s, 0, "a/1.flac"), &s.members[1]);
    assert_ptr_equal(shard_find(&s, 0, "./a/1.flac"), &s.members[1]);
    assert_ptr_equal(shard_find(&s, 0, "1.flac"), &s.members[1]);
    assert_ptr_equal(shard_find(&s, 0, "/corpus/wavs/1.flac"), &s.members[1]);
    assert_ptr_equal(shard_find(&s, 0, ".flac"), &s.members[1]);
    assert_ptr_equal(shard_find(&s, 0, ".left.flac"), &s.members[0]);
    assert_ptr_equal(shard_find(&s, 1, "2.flac"), &s.members[2]);
    assert_null(shard_find(&s, 0, "2.flac"));
    assert_null(shard_find(&s, 0, "gs://b/1.flac"));
    assert_null(shard_find(&s, 0, "flac"));
    assert_null(shard_find(&s, 0, ""));
    shard_release(&s);
}

/* A member named in a record is its medium; everything else lies beside the shard. */
static void test_shard__records_know_their_members(void **state)
{
    (void)state;
    struct shard s;
    struct err e = {0};
    tar_add(&t, "1.flac", "x");
    tar_add(&t, "1.json",
            "{\"messages\": [{\"role\": \"user\", \"content\": ["
            "{\"type\": \"audio\", \"path\": \"1.flac\"},"
            "{\"type\": \"audio\", \"path\": \"other.flac\"}]}]}");
    open_shard(&s);
    struct record_place place = {.where = "t.tar:1", .dir = "gs://b", .shard = &s};
    struct record r;
    json_t *o = shard_json(&s, 0, read_file, path, &e);
    assert_int_equal(record_of_json(&r, o, &place, &e), 0);
    assert_ptr_equal(r.media[0].member, &s.members[0]);
    assert_null(r.media[0].uri);
    assert_string_equal(r.media[0].name, "1.flac");
    assert_null(r.media[1].member);
    assert_string_equal(r.media[1].uri, "gs://b/other.flac");
    assert_string_equal(r.id, "1");
    record_release(&r);
    shard_release(&s);
}

/* ---------------------------------------------------------------------- facts -- */

static void test_shard__knows_lengths_and_ids(void **state)
{
    (void)state;
    struct shard s;
    char flac[2560] = "fLaC\0\0\0\42", wav[3244] = "RIFF\0\0\0\0WAVEfmt \20\0\0\0\1\0\1\0";
    /* 16000 Hz, 1 channel, 16 bits, 24000 samples. */
    memcpy(flac + 18, "\x03\xe8\x00\xf0\x00\x00\x5d\xc0", 8);
    memcpy(wav + 24, "\x80\x3e\0\0\0\x7d\0\0", 8);
    tar_add_bytes(&t, "1.flac", '0', flac, sizeof flac);
    tar_add(&t, "1.txt", "sixteen letters.");
    tar_add_bytes(&t, "2.wav", '0', wav, sizeof wav);
    tar_add(&t, "3.mp3", "x");
    tar_add(&t, "3.json", "{\"duration\": 4, \"id\": \"three\"}");
    tar_add_bytes(&t, "4.mp3", '0', flac + 8, sizeof flac - 8);
    tar_add(&t, "5.json", "{");
    tar_add(&t, "6.json", "{\"text\": \"12345678\", \"id\": 60}");
    open_shard(&s);
    const struct {
        const char *id;
        uint32_t length;
        double seconds;
    } expected[] = {{NULL, 37 + 4, 1.5}, {NULL, 2, 0.1}, {"three", 100, 4},
                    {NULL, 1, 0},        {NULL, 0, 0},   {"60", 2, 0}};
    assert_int_equal(s.record_count, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(s.records[i].length, expected[i].length);
        assert_near(s.records[i].seconds, expected[i].seconds, 1e-6);
        if (expected[i].id)
            assert_string_equal(s.records[i].id, expected[i].id);
        else
            assert_null(s.records[i].id);
    }
    shard_release(&s);
}

static void test_shard__ids_and_texts_may_have_other_names(void **state)
{
    (void)state;
    struct shard s;
    struct err e = {0};
    char *columns[] = {"id=utt", "text=transcript", "duration=s"};
    tar_add(&t, "1.json", "{\"utt\": \"u1\", \"transcript\": \"12345678\", \"s\": 2}");
    tar_add(&t, "1.flac", "x");
    tar_end(&t);
    assert_int_equal(file_write(path, t.data, t.size, &e), 0);
    buf_clear(&t);
    assert_int_equal(shard_index(&s, path, "t.tar", columns, 3, &e), 0);
    assert_string_equal(s.records[0].id, "u1");
    assert_int_equal(s.records[0].length, 52);
    shard_release(&s);
}

/* --------------------------------------------------------------------- indexes -- */

static struct object object = {.uri = "gs://b/t.tar", .size = 20480};
static char *columns[] = {"id=utt"};

static void check_same(const struct shard *a, const struct shard *b)
{
    assert_int_equal(a->record_count, b->record_count);
    assert_int_equal(a->member_count, b->member_count);
    assert_int_equal(a->size, b->size);
    for (int i = 0; i < a->record_count; i++) {
        const struct shard_record *x = &a->records[i], *y = &b->records[i];
        assert_string_equal(x->key, y->key);
        assert_string_equal(x->id ? x->id : "", y->id ? y->id : "");
        assert_int_equal(x->first, y->first);
        assert_int_equal(x->count, y->count);
        assert_int_equal(x->length, y->length);
        assert_true(x->seconds == y->seconds);
    }
    for (int i = 0; i < a->member_count; i++) {
        assert_string_equal(a->members[i].name, b->members[i].name);
        assert_int_equal(a->members[i].offset, b->members[i].offset);
        assert_int_equal(a->members[i].size, b->members[i].size);
        assert_int_equal(a->members[i].has_crc, b->members[i].has_crc);
        assert_int_equal(a->members[i].crc, b->members[i].crc);
    }
}

static void test_shard__an_index_tells_the_same(void **state)
{
    (void)state;
    static const char *const names[] = {"ustar", "pax", "gnu"};
    struct err e = {0};
    object.has_crc32c = true;
    object.crc32c = 0x0a1b2c3d;
    for (int i = 0; i < 3; i++) {
        struct shard s, back;
        struct buf text;
        char *file = xasprintf("tests/data/shards/%s.tar", names[i]);
        buf_init(&text, 1 << 20);
        assert_int_equal(shard_index(&s, file, file, columns, 1, &e), 0);
        if (i > 0)
            assert_int_equal(shard_sum(&s, file, &e), 0);
        shard_write_index(&s, &object, columns, 1, &text);
        int failed = shard_read_index(&back, &object, columns, 1, text.data, text.size, &e);
        assert_ok(e);
        assert_int_equal(failed, 0);
        assert_string_equal(back.name, "gs://b/t.tar");
        check_same(&s, &back);
        shard_release(&s);
        shard_release(&back);
        /* Cut anywhere, it is an error. */
        for (size_t size = 0; size + 1 < text.size; size++) {
            assert_int_equal(shard_read_index(&back, &object, columns, 1, text.data, size, &e), -1);
            assert_int_equal(e.kind, ERR_DATA);
            assert_int_equal(strncmp(e.text, "gs://b/t.tar.idx:", 17), 0);
            e = (struct err){0};
        }
        buf_release(&text);
        free(file);
    }
}

#define HEAD                                                                                       \
    "{\"shard\":\"t.tar\",\"format\":1,\"size\":20480,\"crc32c\":\"0a1b2c3d\","                    \
    "\"unpacked\":20480,\"columns\":[\"id=utt\"],\"samples\":1,\"members\":1}\n"

static void check_index(const char *text, enum err_kind kind, const char *part)
{
    struct err e = {0};
    struct shard s;
    int failed = shard_read_index(&s, &object, columns, 1, text, strlen(text), &e);
    assert_int_equal(failed != 0, kind != 0);
    if (failed)
        assert_err(e, kind, part);
    shard_release(&s);
}

/* RFC 3720, B.4: 32 bytes of zeros. */
static void test_shard__sums_members(void **state)
{
    (void)state;
    struct shard s;
    struct err e = {0};
    char zeros[32] = {0}, large[300000] = {0};
    tar_add_bytes(&t, "1.a", '0', zeros, sizeof zeros);
    tar_add(&t, "1.b", "");
    tar_add(&t, "1.c", "123456789");
    tar_add_bytes(&t, "1.d", '0', large, sizeof large);
    open_shard(&s);
    assert_false(s.members[0].has_crc);
    assert_int_equal(shard_sum(&s, path, &e), 0);
    assert_true(s.members[1].has_crc);
    assert_int_equal(s.members[0].crc, 0x8a9136aa);
    assert_int_equal(s.members[1].crc, 0);
    assert_int_equal(s.members[2].crc, 0xe3069283);
    assert_int_equal(file_write(path, "short", 5, &e), 0);
    assert_int_equal(shard_sum(&s, path, &e), -1);
    assert_err(e, ERR_DATA, "gs://b/t.tar: byte 512: the file ends at byte 5");
    shard_release(&s);
}

static void test_shard__an_index_belongs_to_one_version(void **state)
{
    (void)state;
    const char good[] = HEAD "{\"key\":\"1\",\"length\":3,\"seconds\":0.5,"
                             "\"members\":[[\"flac\",512,7]]}\n";
    object = (struct object){.uri = "gs://b/t.tar", .size = 20480, .has_crc32c = true};
    object.crc32c = 0x0a1b2c3d;
    check_index(good, ERR_NONE, "");
    object.crc32c++;
    check_index(good, ERR_INTEGRITY, "gs://b/t.tar.idx:1: the index belongs to another version");
    object.has_crc32c = false;
    check_index(good, ERR_NONE, "");
    object.size = 20481;
    check_index(good, ERR_INTEGRITY, "another version of the shard: of 20480 bytes, found 20481");
    object.size = 20480;
    columns[0] = "id=name";
    check_index(good, ERR_INTEGRITY, "made with other columns");
    columns[0] = "id=utt";
    snprintf(object.digest, sizeof object.digest, "%s", "0123456789abcdef0123456789abcdef");
    check_index("{\"format\":1,\"size\":20480,\"digest\":\"0123456789abcdef0123456789abcdee\"}\n",
                ERR_INTEGRITY, "its digest differs");
    object.digest[0] = 0;
}

static void test_shard__an_index_is_not_trusted(void **state)
{
    (void)state;
    static const struct {
        const char *line, *part;
    } bad[] = {
        {"{\"key\":", "t.tar.idx:2: column "},
        {"{\"length\":3}", "t.tar.idx:2: \"key\" is missing"},
        {"{\"key\":\"1\",\"length\":-1,\"seconds\":0,\"members\":[[\"a\",0,1]]}", "out of range"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":1e9,\"members\":[[\"a\",0,1]]}", "out of range"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[]}", "without members"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[0,1]]}", "members[0]: expected"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",20480,1]]}",
         "members[0]: 1 bytes at 20480: expected from 0 to 20480"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",-1,1]]}", "1 bytes at -1"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",9,-1]]}", "-1 bytes at 9"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",9,9223372036854775807]]}",
         "bytes at 9"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",9,4],[\"b\",12,1]]}",
         "members[1]: 1 bytes at 12: expected from 13"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[\"a/b\",9,4]]}",
         "\"a/b\" is not"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",9,4],[\"a\",13,1]]}",
         "two members called \"1.a\""},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",9,4,\"0A1b2c3d\"]]}",
         "members[0]: a checksum that is not eight hexadecimal digits"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",9,4,7]]}",
         "members[0]: a checksum"},
        {"{\"key\":\"1.2\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",0,1]]}",
         "\"1.2\" is not"},
        {"{\"key\":\"a/\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",0,1]]}", "\"a/\" is not"},
        {"{\"key\":\"1\\n\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",0,1]]}", "control byte"},
        {"{\"key\":\"1\",\"length\":1,\"seconds\":0,\"members\":[[\"a\",0,1],[\"b\",1,1]]}",
         "found 1 samples and 2 members, expected 1 and 1"},
        {"", "found 0 samples and 0 members"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = xasprintf("%s%s%s", HEAD, bad[i].line, *bad[i].line ? "\n" : "");
        check_index(text, ERR_DATA, bad[i].part);
        free(text);
    }
    check_index("", ERR_DATA, "t.tar.idx:1: an empty index");
    check_index("{}\n", ERR_DATA, "\"size\" is missing");
    check_index("{\"size\":20480,\"format\":2}\n", ERR_DATA, "an index of format 2, expected 1");
    check_index("{\"size\":20480,\"format\":1,\"columns\":[\"id=utt\"],\"unpacked\":1,"
                "\"samples\":1,\"members\":1}\n",
                ERR_DATA, "\"unpacked\": found 1 bytes, the shard has 20480");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shard__finds_what_tarfile_and_webdataset_find),
        cmocka_unit_test(test_shard__passes_over_what_is_no_sample),
        cmocka_unit_test(test_shard__refuses_samples_that_would_be_split),
        cmocka_unit_test(test_shard__refuses_what_is_no_plain_file),
        cmocka_unit_test(test_shard__refuses_a_cut_archive),
        cmocka_unit_test(test_shard__makes_a_record_of_members),
        cmocka_unit_test(test_shard__makes_records_of_pictures_and_videos),
        cmocka_unit_test(test_shard__says_what_is_wrong_with_a_sample),
        cmocka_unit_test(test_shard__finds_members),
        cmocka_unit_test(test_shard__records_know_their_members),
        cmocka_unit_test(test_shard__knows_lengths_and_ids),
        cmocka_unit_test(test_shard__ids_and_texts_may_have_other_names),
        cmocka_unit_test(test_shard__sums_members),
        cmocka_unit_test(test_shard__an_index_tells_the_same),
        cmocka_unit_test(test_shard__an_index_belongs_to_one_version),
        cmocka_unit_test(test_shard__an_index_is_not_trusted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
