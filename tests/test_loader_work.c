/* test_loader_work.c - what samples and batches take stays within the memory. */
#include "data_testing.h"

#include "base/clock.h"
#include "data/loader.h"

static struct manifest open_text(const char *name, const char *text)
{
    char *path = kit_write(&kit, name, text, strlen(text));
    struct manifest m = open_files(&path, 1, NULL);
    free(path);
    return m;
}

static struct plan *make_plan(const struct plan_options *o)
{
    struct err e = {0};
    struct plan *p = plan_new(o, &e);
    assert_ok(e);
    return p;
}

/* Many small samples and a few huge ones, a slow consumer: what is counted stays within the
 * limit. */
static void test_loader_work__stays_within_its_memory(void **state)
{
    (void)state;
    enum { COUNT = 60, LIMIT = 48 << 20 };
    struct err e = {0};
    struct buf tar;
    buf_init(&tar, 64 << 20);
    for (int i = 0; i < COUNT; i++) {
        char name[40];
        size_t size;
        unsigned char *wav = tone(i % 20 == 7 ? 480000 : 3000, 0.3, i, &size);
        snprintf(name, sizeof name, "%03d.wav", i);
        tar_add_bytes(&tar, name, '0', wav, size);
        snprintf(name, sizeof name, "%03d.txt", i);
        tar_add(&tar, name, "words");
        free(wav);
    }
    tar_end(&tar);
    char *path = kit_write(&kit, "memory.tar", tar.data, tar.size);
    struct manifest m = open_files(&path, 1, NULL);
    struct data_format f = kit.format;
    f.max_tokens = 0;
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .batch = 4});
    struct loader *l = loader_open(&(struct loader_options){.plan = p,
                                                            .format = &f,
                                                            .end_step = 30,
                                                            .threads = 8,
                                                            .ahead = 15,
                                                            .memory_max = LIMIT},
                                   &e);
    struct loader_step s;
    int64_t records = 0;
    while (loader_next(l, &s, &e) == 1) {
        clock_sleep(0.01);
        for (int i = 0; i < s.count; i++)
            records += s.micros[i].rows;
        loader_step_release(&s);
    }
    assert_ok(e);
    assert_int_equal(records, 2 * COUNT);
    assert_true(loader_memory_peak(l) <= LIMIT);
    assert_true(loader_memory_peak(l) > LIMIT / 4);
    loader_close(l);

    /* With less than a single one of them needs, they come one by one; those that take more than
     * half by their size alone are bad. */
    l = loader_open(&(struct loader_options){.plan = p,
                                             .format = &f,
                                             .end_step = 15,
                                             .threads = 8,
                                             .memory_max = 1800000,
                                             .bad_min = 10},
                    &e);
    while (loader_next(l, &s, &e) == 1)
        loader_step_release(&s);
    assert_ok(e);
    assert_int_equal(loader_bad_count(l), 3);
    int kept;
    assert_non_null(strstr(loader_bad_records(l, &kept)[0].text,
                           "960049 bytes, at most half of the memory (1800000) is for one record"));
    loader_close(l);
    plan_free(p);
    manifest_release(&m);
    buf_release(&tar);
    free(path);
}

/* The same for pictures: large ones in small files, which nobody can tell from their length. */
static void test_loader_work__stays_within_its_memory_with_pictures(void **state)
{
    (void)state;
    enum { COUNT = 24, LIMIT = 100 << 20 };
    struct err e = {0};
    struct picture_config large = kit.picture;
    struct data_format f = kit.format;
    struct buf text;
    buf_init(&text, 1 << 20);
    large.tokens_max = 560;
    f.picture = &large;
    f.max_tokens = 0;
    kit_write_picture(&kit, "large.png", 400, 300, 0x456789);
    for (int i = 0; i < COUNT; i++)
        buf_printf(&text, "{\"image\": [\"large.png\"%s], \"text\": \"%d\"}\n",
                   i % 5 ? "" : ", \"large.png\"", i);
    struct manifest m = open_text("large.jsonl", text.data);
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .batch = 2});
    struct loader *l = loader_open(&(struct loader_options){.plan = p,
                                                            .format = &f,
                                                            .end_step = 12,
                                                            .threads = 8,
                                                            .ahead = 12,
                                                            .memory_max = LIMIT},
                                   &e);
    struct loader_step s;
    int64_t pictures = 0, bytes = 0;
    while (loader_next(l, &s, &e) == 1) {
        const struct batch *b = &s.micros[0];
        clock_sleep(0.02);
        pictures += s.pictures;
        bytes += (int64_t)b->pictures * b->patches * b->patch_numbers;
        loader_step_release(&s);
    }
    assert_ok(e);
    assert_int_equal(pictures, COUNT + 5);
    assert_true(bytes > LIMIT);
    assert_true(loader_memory_peak(l) <= LIMIT);
    assert_true(loader_memory_peak(l) > LIMIT / 4);
    loader_close(l);
    plan_free(p);
    manifest_release(&m);
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loader_work__stays_within_its_memory),
        cmocka_unit_test(test_loader_work__stays_within_its_memory_with_pictures),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
