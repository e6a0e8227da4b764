/* Encoder-free Gemma 4: raw patches and samples, as transformers sees and hears them. */
#include "gemma4_fixture.h"

#include "base/file.h"
#include "model/gemma4_towers_config.h"

/* [I,J,1]: 1 for patches that are real. */
static mx_array real_patches(const struct fixture *f)
{
    mx_array real = mx_greater_equal(mx_index(f->in.patch_at, 2, 0), mx_int(0));
    return mx_astype(mx_expand_dims(real, -1), MX_FLOAT32);
}

static void test_gemma4_unified__soft_tokens_equal(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, UNIFIED_MODEL);
    assert_same(&f, mx_multiply(model_see(f.model, &f.in), real_patches(&f)), "seen", 1e-5);
    assert_same(&f, model_hear(f.model, &f.in), "mel", 0);
    fixture_close(&f);
}

static void test_gemma4_unified__facts(void **state)
{
    struct err e = {0};
    struct model_facts f;
    (void)state;
    assert_int_equal(model_facts_read(UNIFIED_MODEL, &f, &e), 0);
    assert_ok(e);
    assert_true(f.is_merged);
    assert_false(f.has_audio_tower);
    assert_false(f.has_vision_tower);
    assert_int_equal(f.mel_bins, 40);
    assert_int_equal(f.patch, 4);
    assert_int_equal(f.pool, 2);
    assert_int_equal(f.picture_side, 12);
    assert_int_equal(f.image_id, 150);
    assert_int_equal(f.audio_id, 151);
    assert_int_equal(f.video_id, 152);
}

/* The patch embedder is the vision tower, what leads into the decoder the projector. */
static void test_gemma4_unified__towers(void **state)
{
    struct err e = {0};
    struct fixture f;
    int vision = 0, projector = 0;
    (void)state;
    fixture_open(&f, UNIFIED_MODEL);
    for (int i = 0; i < f.model->params.count; i++) {
        const struct nn_param *p = &f.model->params.at[i];
        vision += strcmp(p->tower, "vision") == 0;
        projector += strcmp(p->tower, "projector") == 0;
        assert_string_not_equal(p->tower, "audio");
    }
    assert_int_equal(vision, 9);
    assert_int_equal(projector, 2);
    assert_int_equal(nn_params_check_tower(&f.model->params, "audio", &e), -1);
    assert_non_null(strstr(e.text, "vision"));
    fixture_close(&f);
}

/* What was seen and heard before gives the same, and padded patches nothing. */
static void test_gemma4_unified__seen_and_heard_before_is_the_same(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, UNIFIED_MODEL);
    f.in.seen = model_see(f.model, &f.in);
    f.in.heard = model_hear(f.model, &f.in);
    f.in.pixels = f.in.patch_at = f.in.mel = f.in.frame_valid = MX_NONE;
    assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
    fixture_close(&f);
}

static void test_gemma4_unified__senses_can_be_left_out(void **state)
{
    struct err e = {0};
    struct fixture f;
    (void)state;
    fixture_open(&f, UNIFIED_MODEL);
    struct model_options o = {.dtype = MX_FLOAT32, .without_audio = true, .without_vision = true};
    struct model *m = model_open(UNIFIED_MODEL, &o, &e);
    assert_ok(e);
    assert_int_equal(m->facts.audio_id, -1);
    assert_int_equal(m->facts.image_id, -1);
    for (int i = 0; i < m->params.count; i++)
        assert_string_equal(m->params.at[i].tower, "language");
    mx_array h = model_hidden(m, &f.in);
    assert_int_equal(mx_eval(&h, 1, &e), -1);
    assert_err(e, ERR_FAILED, "hears nothing");
    model_close(m);
    fixture_close(&f);
}

/* transformers' modules have other names than the files on the Hub: both are read. */
static void test_gemma4_unified__names_of_modules_are_read_too(void **state)
{
    struct err e = {0};
    struct fixture f;
    char *dir = testing_folder(), *path = path_join(dir, "model.safetensors");
    char *config = path_join(dir, "config.json");
    struct buf text;
    (void)state;
    fixture_open(&f, UNIFIED_MODEL);
    int n = f.model->params.count;
    struct safetensors_item *items = xcalloc((size_t)n, sizeof *items);
    for (int i = 0; i < n; i++) {
        const char *name = f.model->params.at[i].name, *tail = strrchr(name, '.');
        if (strncmp(name, "model.vision_embedder.", 22) == 0)
            items[i].name = xasprintf("model.embed_vision.%s", name + 22);
        else if (strncmp(name, "model.embed_vision.", 19) == 0)
            items[i].name = xasprintf("model.embed_vision.multimodal_embedder."
                                      "embedding_projection%s",
                                      tail);
        else
            items[i].name = xstrdup(name);
        items[i].array = f.model->params.at[i].slot;
        items[i].dtype = MX_FLOAT32;
    }
    assert_int_equal(safetensors_write(path, items, n, NULL, 0, NULL, &e), 0);
    buf_init(&text, 1 << 20);
    json_write_pretty(f.model->config, &text);
    assert_int_equal(file_write(config, text.data, text.size, &e), 0);
    struct model *m = model_open(dir, &(struct model_options){.dtype = MX_FLOAT32}, &e);
    assert_ok(e);
    mx_array got = model_logprobs(m, &f.in);
    assert_same(&f, got, "logprobs", 1e-5);
    model_close(m);
    fixture_close(&f);
    for (int i = 0; i < n; i++)
        free((char *)items[i].name);
    free(items);
    buf_release(&text);
    assert_int_equal(dir_remove(dir, &e), 0);
    free(config);
    free(path);
    free(dir);
}

static void test_gemma4_unified__config_values_that_are_not_known_are_errors(void **state)
{
    struct err e = {0};
    struct gemma4_unified u = {0};
    const char *text = "{\"mm_embed_dim\": 16, \"output_proj_dims\": 24}";
    json_t *c = json_read_text("config", text, strlen(text), &e);
    (void)state;
    assert_int_equal(gemma4_unified_configure(&u, c, &e), -1);
    assert_err(e, ERR_FAILED, "output_proj_dims: 24, but mm_embed_dim is 16");
    json_decref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemma4_unified__soft_tokens_equal),
        cmocka_unit_test(test_gemma4_unified__facts),
        cmocka_unit_test(test_gemma4_unified__towers),
        cmocka_unit_test(test_gemma4_unified__seen_and_heard_before_is_the_same),
        cmocka_unit_test(test_gemma4_unified__senses_can_be_left_out),
        cmocka_unit_test(test_gemma4_unified__names_of_modules_are_read_too),
        cmocka_unit_test(test_gemma4_unified__config_values_that_are_not_known_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
