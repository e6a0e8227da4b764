/* Whole runs on a model that hears and sees: frozen towers, packing, memory, and settings that do
 * not go together. */
#include "trainer_testing.h"

#define SCORE "tests/data/score/"
#define PICTURES "tests/data/picture/files/"

static char *seeing_path, *media_path;         /* the checkpoint's folder, its records */

/* The checkpoint of `attune score`'s tests with a vision tower, without weights. */
static void make_seeing_model(void)
{
    struct err e = {0};
    static const char *const copied[] = {"tokenizer.json", "processor_config.json"};
    json_t *c = json_read_file(SCORE "model/config.json", 1 << 20, &e);
    json_t *e2b = json_read_file("tests/data/gemma4_e/config.json", 1 << 20, &e);
    assert_ok(e);
    json_t *vision = json_deep_copy(json_object_get(e2b, "vision_config"));
    json_put_int(vision, "patch_size", 16);
    json_put_int(vision, "pooling_kernel_size", 3);
    json_put_int(vision, "position_embedding_size", 64);
    json_put(c, "vision_config", vision);
    assert_int_equal(dir_make(seeing_path, &e), 0);
    struct buf b;
    buf_init(&b, 1 << 20);
    json_write_pretty(c, &b);
    char *path = path_join(seeing_path, "config.json");
    spit(path, b.data, b.size);
    free(path);
    buf_release(&b);
    json_decref(c);
    json_decref(e2b);
    for (int i = 0; i < 2; i++) {
        size_t size;
        char *from = xasprintf(SCORE "model/%s", copied[i]), *text = slurp(from, &size);
        path = path_join(seeing_path, copied[i]);
        spit(path, text, size);
        free(path);
        free(from);
        free(text);
    }
}

/* Eight records: pictures, clips, both, and text alone. */
static void make_media(void)
{
    char cwd[2000];
    assert_non_null(getcwd(cwd, sizeof cwd));
    static const char *const images[] = {"411.jpg", "exif_6.png", "alpha_lossy.webp", "444.jpg"};
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 4; i++) {
        buf_printf(&b, "{\"image\":\"%s/" PICTURES "%s\",", cwd, images[i]);
        if (i % 2)
            buf_printf(&b, "\"audio\":\"%s/" SCORE "a.wav\",", cwd);
        buf_printf(&b, "\"prompt\":\"say it\",\"text\":\"the %d\"}\n", i * 11);
        if (i % 2)
            buf_printf(&b, "{\"prompt\":\"say %d\",\"completion\":\"it is %d\"}\n", i, i * i);
        else
            buf_printf(&b, "{\"audio\":\"%s/" SCORE "%c.wav\",\"text\":\"good %d\"}\n", cwd,
                       i ? 'b' : 'a', i);
    }
    spit(media_path, b.data, b.size);
    buf_release(&b);
}

static int set_up_media(void **state)
{
    set_up(state);
    seeing_path = in_folder("seeing");
    media_path = in_folder("media.jsonl");
    make_seeing_model();
    make_media();
    return 0;
}

static int tear_down_media(void **state)
{
    free(seeing_path);
    free(media_path);
    return tear_down(state);
}

/* 8 records, 4 a step: three epochs. */
static struct run make_media_run(const char *name)
{
    struct run r = make_run(name);
    r.c.model = seeing_path;
    r.c.train = (struct string_list){&media_path, 1};
    r.c.lora.dropout = 0;
    r.c.steps = 6;
    r.c.save_every = 2;
    r.c.image_tokens = 70;
    r.c.tower_cache = 1 << 20;
    return r;
}

static json_t *result_of(const struct run *r)
{
    struct err e = {0};
    char *path = xasprintf("%s/%s/result.json", runs_path, r->c.name);
    json_t *o = json_read_file(path, 1 << 20, &e);
    assert_ok(e);
    free(path);
    return o;
}

/* The numbers of the adapters are as near as that. */
static void expect_near_adapters(const struct run *a, const struct run *b, double tolerance)
{
    struct err e = {0};
    char *pa = adapter_of(a), *pb = adapter_of(b);
    struct safetensors *x = safetensors_open(pa, &e), *y = safetensors_open(pb, &e);
    assert_ok(e);
    assert_int_equal(safetensors_count(x), safetensors_count(y));
    double most = 0;
    for (int i = 0; i < safetensors_count(x); i++) {
        const struct safetensors_tensor *t = safetensors_at(x, i);
        const struct safetensors_tensor *u = safetensors_find(y, t->name);
        assert_true(u && t->bytes == u->bytes && t->dtype == MX_FLOAT32);
        for (uint64_t k = 0; k < t->bytes / sizeof(float); k++) {
            float v, w;
            memcpy(&v, (const char *)t->data + k * sizeof v, sizeof v);
            memcpy(&w, (const char *)u->data + k * sizeof w, sizeof w);
            most = fmax(most, fabs((double)v - (double)w));
        }
    }
    safetensors_close(x);
    safetensors_close(y);
    free(pa);
    free(pb);
    if (!(most <= tolerance))
        fail_msg("adapters differ by %g", most);
}

static void test_trainer_media__frozen_towers_are_kept_and_resume_is_exact(void **state)
{
    (void)state;
    struct err e = {0};
    struct run large = make_media_run("large"), small = make_media_run("small");
    struct run none = make_media_run("none"), cut = make_media_run("cut-media");
    small.c.tower_cache = 20000;
    none.c.tower_cache = 0;
    cut.signal = SIGTERM;
    cut.signal_at = 3;
    expect_success(&large);
    expect_success(&small);
    expect_success(&none);
    assert_int_equal(run(&cut), 143);
    cut.signal = 0;
    expect_success(&cut);
    assert_same_adapter(&large, &small);
    assert_same_adapter(&large, &cut);
    expect_near_adapters(&large, &none, 1e-5);
    json_t *o = result_of(&large);
    const json_t *cache = json_need_object(o, "tower_cache", &e);
    /* Four clips, two of them the same, and four pictures, three times; the rehearsal saw some. */
    int64_t hits = json_need_int(cache, "hits", &e), misses = json_need_int(cache, "misses", &e);
    assert_ok(e);
    assert_int_equal(hits + misses, 3 * 8);
    assert_true(hits >= 2 * 8 && json_need_int(cache, "bytes", &e) > 0);
    json_decref(o);
    o = result_of(&none);
    assert_null(json_object_get(o, "tower_cache"));
    json_decref(o);
}

static void test_trainer_media__memory_is_as_planned(void **state)
{
    (void)state;
    struct err e = {0};
    struct run r = make_media_run("memory");
    r.c.tower_cache = 0;
    expect_success(&r);
    json_t *o = result_of(&r);
    const json_t *m = json_need_object(o, "memory", &e);
    double total = (double)json_need_int(m, "total", &e),
           peak = (double)json_need_int(m, "peak", &e);
    assert_ok(e);
    assert_near(total, peak, 0.15 * peak);
    assert_int_equal(json_need_int(m, "weights", &e) + json_need_int(m, "adapters", &e) +
                         json_need_int(m, "optimizer", &e) + json_need_int(m, "activations", &e),
                     total);
    json_decref(o);
    r.c.name = (char *)"memory-less";
    r.c.device_memory = (int64_t)(0.8 * total);
    assert_int_equal(run(&r), ERR_SPACE);
    char *text = last_error();
    assert_non_null(strstr(text, "too little memory: a step needs "));
    free(text);
}

/* Losses of the first steps of a run. */
static void losses_of(const struct run *r, double *out, int count)
{
    struct err e = {0};
    char *path = xasprintf("%s/%s/metrics.jsonl", runs_path, r->c.name);
    size_t size;
    char *text = slurp(path, &size), *line = text;
    for (int i = 0; i < count; i++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        json_t *o = json_read_text("metrics", line, (size_t)(end - line), &e);
        out[i] = json_need_double(o, "loss", &e);
        assert_ok(e);
        json_decref(o);
        line = end + 1;
    }
    free(text);
    free(path);
}

static void test_trainer_media__packing_changes_nothing(void **state)
{
    (void)state;
    struct run plain = make_media_run("plain"), packed = make_media_run("packed");
    double a[6], b[6];
    packed.c.pack_tokens = 300;
    packed.c.accumulate = 2;
    plain.c.drop_rows = false;
    expect_success(&plain);
    expect_success(&packed);
    losses_of(&plain, a, 6);
    losses_of(&packed, b, 6);
    for (int i = 0; i < 6; i++)
        assert_near(b[i], a[i], 1e-4 * a[i]);
    expect_near_adapters(&plain, &packed, 2e-4);
    /* It is a fact of the run. */
    packed.c.pack_tokens = 0;
    packed.c.quantize = QUANTIZE_8BIT;
    packed.c.quantize_group = 64;
    packed.c.lora.dora = true;
    packed.c.image_tokens = 140;
    assert_int_equal(run(&packed), ERR_USAGE);
    char *text = last_error();
    assert_non_null(strstr(text, "pack_tokens (found 0, was 300)"));
    assert_non_null(strstr(text, "quantize (found \"8bit\", was \"none\")"));
    assert_non_null(strstr(text, "lora.dora (found true, was false)"));
    assert_non_null(strstr(text, "image_tokens (found 140, was 70)"));
    free(text);
}

static void expect_usage(const struct run *r, const char *part)
{
    assert_int_equal(run(r), ERR_USAGE);
    char *text = last_error();
    if (!strstr(text, part))
        fail_msg("found: %s", text);
    free(text);
}

static void test_trainer_media__settings_that_do_not_go_together(void **state)
{
    (void)state;
    char audio_rate[] = "audio=1e-3", audio_rank[] = "audio=4";
    char *rates[] = {audio_rate}, *ranks[] = {audio_rank};
    struct run r = make_media_run("wrong-1");
    r.c.method = METHOD_FULL;
    r.c.quantize = QUANTIZE_4BIT;
    r.c.quantize_group = 32;
    expect_usage(&r, "quantize: only frozen weights can be kept in few bits");
    r = make_media_run("wrong-2");
    r.c.quantize = QUANTIZE_4BIT;
    r.c.quantize_group = 48;
    expect_usage(&r, "quantize_group: found 48, expected 32, 64 or 128");
    r = make_media_run("wrong-3");
    r.c.learning_rates = (struct string_list){rates, 1};
    expect_usage(&r, "learning_rates: nothing of tower audio is trained");
    r = make_media_run("wrong-4");
    r.c.lora.ranks = (struct string_list){ranks, 1};
    expect_usage(&r, "lora.ranks: audio is not among lora.towers");
    r = make_media_run("wrong-5");
    r.c.image_tokens = 100;
    expect_usage(&r, "image_tokens: found 100, expected 70, 140, 280, 560 or 1120");
}

/* Every tower learns, each with its own rank and rate; a tower that learns is not cached. */
static void test_trainer_media__towers_with_ranks_and_rates(void **state)
{
    (void)state;
    char a[] = "audio=1e-3", v[] = "vision=5e-4", ra[] = "audio=2", rv[] = "vision=3";
    char language_name[] = "language", audio[] = "audio", vision[] = "vision",
         projector[] = "projector";
    char *rates[] = {a, v}, *ranks[] = {ra, rv};
    char *towers[] = {language_name, audio, vision, projector};
    struct run r = make_media_run("towers");
    r.c.learning_rates = (struct string_list){rates, 2};
    r.c.lora.ranks = (struct string_list){ranks, 2};
    r.c.lora.towers = (struct string_list){towers, 4};
    r.c.lora.targets = (struct string_list){NULL, 0};
    r.c.lora.rslora = true;
    r.c.lora.dora = true;
    expect_success(&r);
    struct err e = {0};
    char *path = adapter_of(&r);
    struct safetensors *s = safetensors_open(path, &e);
    assert_ok(e);
    int found[3] = {0};
    for (int i = 0; i < safetensors_count(s); i++) {
        const struct safetensors_tensor *t = safetensors_at(s, i);
        bool is_audio = strstr(t->name, "audio_tower"), is_vision = strstr(t->name, "vision_tower");
        if (!strstr(t->name, "lora_A"))
            continue;
        assert_int_equal(t->shape[0], is_audio ? 2 : is_vision ? 3 : 4);
        found[is_audio ? 0 : is_vision ? 1 : 2]++;
    }
    assert_true(found[0] && found[1] && found[2]);
    safetensors_close(s);
    free(path);
    json_t *o = result_of(&r);
    assert_null(json_object_get(o, "tower_cache"));
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trainer_media__frozen_towers_are_kept_and_resume_is_exact),
        cmocka_unit_test(test_trainer_media__memory_is_as_planned),
        cmocka_unit_test(test_trainer_media__packing_changes_nothing),
        cmocka_unit_test(test_trainer_media__settings_that_do_not_go_together),
        cmocka_unit_test(test_trainer_media__towers_with_ranks_and_rates),
    };
    return cmocka_run_group_tests(tests, set_up_media, tear_down_media);
}
