/* test_manifest_media.c - clips, images and videos are found in tables and shards,
 * and little is read for it. */
#include "data_testing.h"

#include "bucket.h"
#include "data/spool.h"

static char *folder;

static int set_up(void **state)
{
    (void)state;
    setenv("HOME", "/nonexistent", 1);
    folder = testing_folder();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    return 0;
}

static char *write_text(const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    return path;
}

/* Writes a table, and asks for sound among `count` of its records. */
static bool has_sound_in(const char *name, const char *text, char *column, int64_t count)
{
    struct err e = {0};
    struct manifest m;
    char *path = write_text(name, text);
    struct manifest_options o = {
        .patterns = &path, .pattern_count = 1, .columns = &column, .column_count = column != NULL};
    assert_int_equal(manifest_open(&m, &o, &e), 0);
    bool found = manifest_has_sound(&m, count);
    manifest_release(&m);
    free(path);
    return found;
}

static bool has_sound(const char *text, int64_t count)
{
    return has_sound_in("s.jsonl", text, NULL, count);
}

static void test_manifest_media__in_tables(void **state)
{
    (void)state;
    assert_false(has_sound("{\"text\": \"audio\"}\n{\"prompt\": \"a\", \"completion\": "
                           "\"\\\"audio\\\"\"}\n",
                           0));
    assert_true(has_sound("{\"text\": \"a\"}\n{\"audio\": \"a.wav\", \"text\": \"a\"}\n", 0));
    assert_false(has_sound("{\"text\": \"a\"}\n{\"audio\": \"a.wav\", \"text\": \"a\"}\n", 1));
    assert_true(has_sound("{\"\\u0061udio\": \"a.wav\", \"text\": \"a\"}\n", 0));
    assert_true(has_sound("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
                          "\"input_audio\", \"input_audio\": {\"data\": \"UklGRg==\", "
                          "\"format\": \"wav\"}}]}]}\n",
                          0));
    assert_false(has_sound("{\"audio\": broken\n", 0));
    char column[] = "audio=file";
    assert_true(has_sound_in("s.jsonl", "{\"file\": \"a.wav\", \"text\": \"a\"}\n", column, 0));
    assert_true(
        has_sound_in("s.jsonl", "{\"f\\u0069le\": \"a.wav\", \"text\": \"a\"}\n", column, 0));
    assert_false(has_sound_in("s.jsonl", "{\"other\": \"audio\", \"text\": \"a\"}\n", column, 0));
    assert_true(has_sound_in("s.csv", "file,text\na.wav,a\n", column, 0));
    char odd[] = "audio=d\xc3\xa4tei";
    assert_true(has_sound_in("s.jsonl", "{\"d\\u00e4tei\": \"a.wav\", \"text\": \"a\"}\n", odd, 0));
    char other[] = "text=audio";
    assert_false(has_sound_in("s.jsonl", "{\"audio\": \"what was said\"}\n", other, 0));
    assert_true(has_sound_in("s.csv", "audio,text\n,a\na.wav,a\n", NULL, 0));
    assert_false(has_sound_in("s.csv", "audio,text\n,a\na.wav,a\n", NULL, 1));
    assert_false(has_sound_in("s.csv", "prompt,completion\naudio,a\n", NULL, 0));
}

/* The kinds in a table, in letters. */
static void check_kinds(const char *name, const char *text, const char *expected)
{
    struct err e = {0};
    struct manifest m;
    char found[4] = {0}, *path = write_text(name, text);
    assert_int_equal(
        manifest_open(&m, &(struct manifest_options){.patterns = &path, .pattern_count = 1}, &e),
        0);
    unsigned kinds = manifest_media(&m, 7, 0);
    for (int k = 0, n = 0; k < 3; k++)
        if (kinds & 1U << k)
            found[n++] = "aiv"[k];
    assert_string_equal(found, expected);
    assert_int_equal(manifest_has_sound(&m, 0), (kinds & 1) != 0);
    assert_int_equal(manifest_has_images(&m, 0), (kinds & 2) != 0);
    assert_int_equal(manifest_has_video(&m, 0), (kinds & 4) != 0);
    assert_int_equal(manifest_media(&m, 2, 0), kinds & 2);
    manifest_release(&m);
    free(path);
}

static void test_manifest_media__of_every_kind(void **state)
{
    (void)state;
    check_kinds("k.jsonl", "{\"text\": \"image audio video\"}\n", "");
    check_kinds("k.jsonl", "{\"image\": \"a.png\", \"text\": \"video\"}\n", "i");
    check_kinds("k.jsonl", "{\"video\": \"a.mp4\", \"text\": \"a\"}\n", "v");
    check_kinds("k.jsonl", "{\"video\": \"a.mp4\", \"text\": \"a\", \"sound\": true}\n", "av");
    check_kinds("k.jsonl",
                "{\"text\": \"a\"}\n{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
                "\"image_url\", \"image_url\": {\"url\": \"a\"}}]}]}\n"
                "{\"audio\": \"a.wav\", \"text\": \"a\"}\n",
                "ai");
    check_kinds("k.csv", "image,text\n,a\na.png,b\n", "i");
    check_kinds("k.csv", "images,text\n\"[\"\"a.png\"\", \"\"b.png\"\"]\",b\n", "i");
    check_kinds("k.csv", "video,sound,text\na.mp4,true,b\n", "av");
    check_kinds("k.csv", "video,sound,text\na.mp4,false,b\n", "v");
}

static void test_manifest_media__of_the_first_sample(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf tar;
    buf_init(&tar, 64 << 20);
    tar_add(&tar, "1.jpg", "x");
    tar_add(&tar, "1.json", "{\"text\": \"a\"}");
    tar_add(&tar, "2.flac", "x");
    tar_end(&tar);
    char *path = path_join(folder, "k.tar");
    assert_int_equal(file_write(path, tar.data, tar.size, &e), 0);
    struct manifest m;
    assert_int_equal(
        manifest_open(&m, &(struct manifest_options){.patterns = &path, .pattern_count = 1}, &e),
        0);
    assert_int_equal(manifest_media(&m, 7, 0), 1 << RECORD_IMAGE);
    manifest_release(&m);
    buf_release(&tar);
    free(path);
}

/* An archive whose first sample has a clip or not, behind a long name, and many others the
 * contrary. */
static void make_shard(struct buf *tar, bool has_clip, size_t clip_size)
{
    char name[250];
    memset(name, 'n', sizeof name);
    memcpy(name + 200, ".wav", 5);
    char *clip = xcalloc(1, clip_size + 1);
    buf_init(tar, 64 << 20);
    tar_add_bytes(tar, "././@LongLink", 'L', name, 205);
    tar_add_bytes(tar, "nnn", '0', clip, has_clip ? clip_size : 0);
    if (!has_clip) {
        buf_clear(tar);
        tar_add(tar, "a.txt", "first");
    } else {
        memcpy(name + 200, ".txt", 5);
        tar_add_bytes(tar, "././@LongLink", 'L', name, 205);
        tar_add(tar, "nnn", "first");
    }
    for (int i = 0; i < 500; i++) {
        char member[40];
        snprintf(member, sizeof member, has_clip ? "%d.txt" : "%d.wav", i);
        tar_add_bytes(tar, member, '0', clip, 5000);
    }
    tar_end(tar);
    free(clip);
}

static bool shard_has_sound(const char *pattern, struct net *net, struct spool *spool)
{
    struct err e = {0};
    struct manifest m;
    char *name = xstrdup(pattern);
    struct manifest_options o = {.patterns = &name, .pattern_count = 1, .net = net, .spool = spool};
    int failed = manifest_open(&m, &o, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    bool found = manifest_has_sound(&m, 0);
    manifest_release(&m);
    free(name);
    return found;
}

static void test_manifest_media__in_shards(void **state)
{
    (void)state;
    struct err e = {0};
    for (int has = 0; has < 2; has++) {
        struct buf tar;
        make_shard(&tar, has, 5000);
        char *path = path_join(folder, "sound.tar");
        assert_int_equal(file_write(path, tar.data, tar.size, &e), 0);
        assert_int_equal(shard_has_sound(path, NULL, NULL), has);
        buf_release(&tar);
        free(path);
    }
}

/* Of a remote shard the beginning is read, and not more than needed for the first sample. */
static void test_manifest_media__in_remote_shards(void **state)
{
    (void)state;
    struct err e = {0};
    static const size_t clips[] = {0, 5000, 1 << 20};
    for (int i = 0; i < 3; i++) {
        struct buf tar;
        struct bucket *b = bucket_start();
        char *dir = path_join(folder, "spool");
        struct net *net = net_open(&(struct net_options){.budget_s = 20});
        struct spool *spool = spool_open(&(struct spool_options){.net = net, .dir = dir}, &e);
        make_shard(&tar, clips[i] > 0, clips[i] > 0 ? clips[i] : 5000);
        bucket_put(b, "sound.tar", tar.data, tar.size);
        assert_int_equal(shard_has_sound("gs://bucket/sound.tar", net, spool), clips[i] > 0);
        struct spool_stats stats;
        spool_stats(spool, &stats);
        assert_int_equal(stats.fetched, 0);
        assert_int_equal(bucket_reads(b), i == 2 ? 2 : 1);
        /* One that cannot be read at all might have some. */
        bucket_put(b, "sound.tar", "no archive", 10);
        assert_true(shard_has_sound("gs://bucket/sound.tar", net, spool));
        spool_close(spool);
        net_close(net);
        bucket_stop(b);
        buf_release(&tar);
        free(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_media__of_every_kind),
        cmocka_unit_test(test_manifest_media__of_the_first_sample),
        cmocka_unit_test(test_manifest_media__in_tables),
        cmocka_unit_test(test_manifest_media__in_shards),
        cmocka_unit_test(test_manifest_media__in_remote_shards),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
