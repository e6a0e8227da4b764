/* model_open: what is read, what is left alone, and what is refused, with its name. */
#include "gemma4_fixture.h"

#include "base/file.h"

static struct model *open_with(const char *dir, struct model_options o, struct err *e)
{
    o.dtype = MX_FLOAT32;
    return model_open(dir, &o, e);
}

static void close_all(struct model *m)
{
    model_close(m);
    mx_leave(MX_NONE);
    assert_int_equal(mx_live(), 0);
}

/* A folder with AUDIO_MODEL's config, changed by `text` (JSON merged into text_config), `audio`
 * and `top`; any may be NULL. */
static char *folder_with(const char *top, const char *text, const char *audio)
{
    struct err e = {0};
    struct buf out;
    char *dir = testing_folder(), *path = path_join(dir, "config.json");
    json_t *c = json_read_file(AUDIO_MODEL "/config.json", 1 << 20, &e);
    const char *parts[] = {top, text, audio};
    json_t *into[] = {c, json_object_get(c, "text_config"), json_object_get(c, "audio_config")};

    for (int i = 0; i < 3; i++) {
        if (!parts[i])
            continue;
        json_t *more = json_read_text("more", parts[i], strlen(parts[i]), &e);
        assert_ok(e);
        json_object_update(into[i], more);
        json_decref(more);
    }
    buf_init(&out, 1 << 20);
    json_write_pretty(c, &out);
    assert_int_equal(file_write(path, out.data, out.size, &e), 0);
    buf_release(&out);
    json_decref(c);
    free(path);
    return dir;
}

static void remove_folder(char *dir)
{
    struct err e = {0};
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
}

/* ------------------------------------------------------------ what is read -- */

static void test_model__opens_towers_and_facts(void **state)
{
    struct err e = {0};
    int towers[4] = {0};
    (void)state;
    mx_enter();
    struct model *m = open_with(AUDIO_MODEL, (struct model_options){0}, &e);
    assert_ok(e);
    assert_string_equal(m->family->model_type, "gemma4");
    assert_int_equal(m->facts.vocab, 160);
    assert_int_equal(m->facts.pad_id, 0);
    assert_int_equal(m->facts.bos_id, 2);
    assert_int_equal(m->facts.eos_count, 1);
    assert_int_equal(m->facts.eos_ids[0], 1);
    assert_int_equal(m->facts.audio_id, 151);
    assert_int_equal(m->facts.mel_bins, 32);
    assert_int_equal(m->facts.positions_max, 512);
    assert_int_equal(m->facts.image_id, 150);
    assert_int_equal(m->facts.video_id, 152);
    assert_int_equal(m->facts.patch, 4);
    assert_int_equal(m->facts.pool, 3);
    assert_int_equal(m->facts.picture_side, 4);
    assert_true(m->facts.has_audio_tower && m->facts.has_vision_tower && !m->facts.is_merged);
    for (int i = 0; i < m->params.count; i++) {
        const char *tower = m->params.at[i].tower;
        towers[0] += strcmp(tower, "language") == 0;
        towers[1] += strcmp(tower, "audio") == 0;
        towers[2] += strcmp(tower, "projector") == 0;
        towers[3] += strcmp(tower, "vision") == 0;
    }
    assert_true(towers[0] > 0 && towers[1] > 0 && towers[2] == 2 && towers[3] > 0);
    assert_int_equal(towers[0] + towers[1] + towers[2] + towers[3], m->params.count);
    /* Keys and values that real files hold for layers that share others' are not read. */
    assert_non_null(
        nn_params_find(&m->params, "model.language_model.layers.3.self_attn.k_proj.weight"));
    assert_null(
        nn_params_find(&m->params, "model.language_model.layers.4.self_attn.k_proj.weight"));
    close_all(m);
}

/* config.json says all that the data side must know: the folder has no weights. */
static void test_model__facts_need_no_weights(void **state)
{
    struct err e = {0};
    struct model_facts f;
    char *dir = folder_with("{\"eos_token_id\": 7}", NULL, NULL);
    (void)state;
    assert_int_equal(model_facts_read(dir, &f, &e), 0);
    assert_ok(e);
    assert_int_equal(f.eos_ids[0], 7);
    assert_int_equal(f.image_id, 150);
    assert_int_equal(f.picture_side, 4);
    assert_int_equal(f.mel_bins, 32);
    assert_int_equal(mx_live(), 0);
    remove_folder(dir);
    assert_int_equal(model_facts_read("tests/data/no-such-model", &f, &e), -1);
    assert_err(e, ERR_FAILED, "no such folder");
}

static void test_model__without_audio_reads_and_runs_no_audio(void **state)
{
    struct err e = {0};
    struct fixture f;
    (void)state;
    fixture_open(&f, AUDIO_MODEL);
    struct model_options o = {.without_audio = true, .without_vision = true};
    struct model *m = open_with(AUDIO_MODEL, o, &e);
    assert_ok(e);
    assert_int_equal(m->facts.audio_id, -1);
    assert_int_equal(m->facts.image_id, -1);
    assert_int_equal(m->facts.picture_side, 0);
    for (int i = 0; i < m->params.count; i++)
        assert_string_equal(m->params.at[i].tower, "language");

    /* The third row has no sound: the same with and without the tower. */
    int32_t length = ((const int32_t *)fixture_find(&f, "lengths")->data)[2];
    struct model_input text = {.tokens = mx_slice(mx_slice(f.in.tokens, 0, 2, 3), 1, 0, length)};
    mx_array got = model_logits(m, model_hidden(m, &text));
    mx_array want = fixture_array(&f, "logits", MX_FLOAT32);
    want = mx_slice(mx_slice(want, 0, 2, 3), 1, 0, length);
    size_t n, k;
    float *a = read_floats(got, &n), *b = read_floats(want, &k);
    assert_int_equal(n, k);
    assert_true(relative_error(a, b, n) < 1e-5);
    free(a);
    free(b);

    mx_array h = model_hidden(m, &f.in);
    assert_int_equal(mx_eval(&h, 1, &e), -1);
    assert_err(e, ERR_FAILED, "hears nothing");
    model_close(m);
    fixture_close(&f);
}

static void test_model__generation_config_says_what_ends_a_turn(void **state)
{
    struct err e = {0};
    const char *text = "{\"eos_token_id\": [1, 106, 50]}";
    (void)state;
    char *dir = folder_with("{\"eos_token_id\": 7}", NULL, NULL);
    char *path = path_join(dir, "generation_config.json");
    mx_enter();
    struct model *m = open_with(dir, (struct model_options){.init_random = true}, &e);
    assert_ok(e);
    assert_int_equal(m->facts.eos_count, 1);
    assert_int_equal(m->facts.eos_ids[0], 7);
    model_close(m);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    m = open_with(dir, (struct model_options){.init_random = true}, &e);
    assert_ok(e);
    assert_int_equal(m->facts.eos_count, 3);
    assert_int_equal(m->facts.eos_ids[1], 106);
    close_all(m);
    free(path);
    remove_folder(dir);
}

/* ---------------------------------------------------------- random weights -- */

static double loss_of_random(const char *dir, uint64_t seed)
{
    struct err e = {0};
    struct fixture f;
    double loss;
    struct model_options o = {.init_random = true, .seed = seed};

    fixture_open(&f, AUDIO_MODEL);
    struct model *m = open_with(dir, o, &e), *stored = f.model;
    assert_ok(e);
    f.model = m;
    mx_array l;
    fixture_loss(&f, NULL, 0, &l, 1);
    assert_int_equal(mx_item(l, &loss, &e), 0);
    assert_ok(e);
    f.model = stored;
    model_close(m);
    fixture_close(&f);
    return loss;
}

static void test_model__random_weights_know_nothing(void **state)
{
    (void)state;
    char *dir = folder_with(NULL, NULL, NULL);          /* there is no weight file in it */
    double first = loss_of_random(dir, 1), again = loss_of_random(dir, 1);
    double other = loss_of_random(dir, 2);
    assert_true(first == again);
    assert_true(first != other);
    assert_near(first, log(160), 2.0);
    assert_near(other, log(160), 2.0);
    remove_folder(dir);
}

static void test_model__queries_and_keys_start_at_one_over_the_root_of_their_size(void **state)
{
    struct err e = {0};
    double v;
    (void)state;
    char *dir = folder_with(NULL, NULL, NULL);
    mx_enter();
    struct model *m = open_with(dir, (struct model_options){.init_random = true}, &e);
    assert_ok(e);
    struct nn_param *p =
        nn_params_find(&m->params, "model.language_model.layers.1.self_attn.q_norm.weight");
    assert_non_null(p);
    assert_int_equal(mx_item(mx_index(p->slot, 0, 3), &v, &e), 0);
    assert_near(v, pow(16, -0.25), 1e-6);
    close_all(m);
    remove_folder(dir);
}

/* Their results are all that lives on in the caller's scope. */
static void test_model__results_keep_nothing_of_what_made_them(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, E_MODEL);
    int live = mx_live();
    model_see(f.model, &f.in);
    assert_int_equal(mx_live(), live + 1);
    model_hear(f.model, &f.in);
    assert_int_equal(mx_live(), live + 2);
    model_logprobs(f.model, &f.in);
    assert_int_equal(mx_live(), live + 3);
    struct model_cache *c = model_cache_new(f.model, f.B, f.T + 1);
    live = mx_live();
    mx_array h = model_prefill(f.model, c, &f.in, f.lengths);
    assert_int_equal(mx_live(), live + 1);
    model_decode(f.model, c, mx_argmax(model_logits(f.model, h), -1, false));
    model_cache_free(f.model, c);
    fixture_close(&f);
}

/* --------------------------------------------------------- what is refused -- */

static void refuse(const char *top, const char *text, const char *audio, const char *message)
{
    struct err e = {0};
    char *dir = folder_with(top, text, audio);
    mx_enter();
    struct model *m = open_with(dir, (struct model_options){.init_random = true}, &e);
    assert_err(e, ERR_FAILED, message);
    assert_non_null(strstr(e.text, "config.json: "));
    close_all(m);
    remove_folder(dir);
}

static void test_model__config_values_that_are_not_known_are_errors(void **state)
{
    (void)state;
    refuse("{\"model_type\": \"llama\"}", NULL, NULL, "model_type: 'llama'");
    refuse("{\"tie_word_embeddings\": false}", NULL, NULL, "tie_word_embeddings: false");
    refuse("{\"eos_token_id\": [1, 999]}", NULL, NULL, "eos_token_id: entry 1");
    refuse("{\"vision_config\": {\"hidden_activation\": \"relu\"}}", NULL, NULL,
           "vision_config: hidden_activation: 'relu'");
    refuse(NULL, "{\"attention_bias\": true}", NULL, "attention_bias: true");
    refuse(NULL, "{\"hidden_activation\": \"silu\"}", NULL, "hidden_activation: 'silu'");
    refuse(NULL, "{\"use_bidirectional_attention\": \"all\"}", NULL, "'all'");
    refuse(NULL, "{\"layer_types\": [\"full_attention\"]}", NULL, "found 1, expected 7");
    refuse(NULL, "{\"num_hidden_layers\": 8}", NULL, "found 7, expected 8");
    refuse(NULL, "{\"num_kv_shared_layers\": 7}", NULL, "num_kv_shared_layers: 7");
    refuse(NULL, "{\"num_kv_shared_layers\": 6}", NULL, "no earlier layer of its kind");
    refuse(NULL, "{\"per_layer_config\": {\"9\": {}}}", NULL, "'9' is not a layer of 7");
    refuse(NULL, "{\"per_layer_config\": {\"1\": {\"head_dim\": 16}}}", NULL, "must be alike");
    refuse(NULL, "{\"per_layer_config\": {\"1\": {\"heads\": 16}}}", NULL, "'heads' (layer 1)");
    refuse(NULL, "{\"num_key_value_heads\": 3}", NULL, "a multiple of");
    refuse(NULL, "{\"pad_token_id\": 160}", NULL, "pad_token_id: 160");
    refuse(NULL, "{\"rope_parameters\": {\"full_attention\": {}}}", NULL, "'sliding_attention' is");
    refuse(NULL,
           "{\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"yarn\"}, "
           "\"sliding_attention\": {}}}",
           NULL, "rope_type 'yarn'");
    refuse(NULL, NULL, "{\"hidden_act\": \"gelu\"}", "audio_config: hidden_act: 'gelu'");
    refuse(NULL, NULL, "{\"num_attention_heads\": 5}", "a multiple of 5 heads");
    refuse(NULL, NULL, "{\"subsampling_conv_channels\": [32]}", "found 1, expected 2");
    refuse(NULL, NULL, "{\"attention_context_left\": 200}", "attention_context_left: 200");
}

static void test_model__folders_that_are_no_models_are_errors(void **state)
{
    struct err e = {0}, f = {0}, g = {0};
    (void)state;
    mx_enter();
    assert_null(open_with("tests/data/no-such-model", (struct model_options){0}, &e));
    assert_err(e, ERR_FAILED, "tests/data/no-such-model: no such folder");
    assert_true(e.hint[0] != '\0');
    char *empty = testing_folder();
    assert_null(open_with(empty, (struct model_options){0}, &f));
    assert_non_null(strstr(f.text, "config.json"));
    remove_folder(empty);
    char *unweighted = folder_with(NULL, NULL, NULL);
    assert_null(open_with(unweighted, (struct model_options){0}, &g));
    assert_non_null(strstr(g.text, "safetensors"));
    remove_folder(unweighted);
    close_all(NULL);
}

/* Write AUDIO_MODEL's weights without `without`, with `wider` one row longer, and `more`. */
static void write_weights(const char *dir, const char *without, const char *wider, const char *more)
{
    struct err e = {0};
    struct safetensors *s = safetensors_open(AUDIO_MODEL, &e);
    int n = safetensors_count(s), count = 0;
    struct safetensors_item *items = xcalloc((size_t)n + 1, sizeof *items);
    char *path = path_join(dir, "model.safetensors");

    for (int i = 0; i < n; i++) {
        const struct safetensors_tensor *t = safetensors_at(s, i);
        mx_array x = safetensors_array(s, t);
        if (strcmp(t->name, without) == 0)
            continue;
        if (strcmp(t->name, wider) == 0)
            x = mx_pad(x, 0, 0, 1, 0.0);
        items[count++] = (struct safetensors_item){t->name, x, MX_FLOAT32};
    }
    items[count++] = (struct safetensors_item){more, mx_zeros(MX_FLOAT32, 3), MX_FLOAT32};
    assert_int_equal(safetensors_write(path, items, count, NULL, 0, NULL, &e), 0);
    assert_ok(e);
    safetensors_close(s);
    free(items);
    free(path);
}

static void test_model__missing_misshapen_and_left_over_tensors_are_listed_at_once(void **state)
{
    struct err e = {0};
    (void)state;
    char *dir = folder_with(NULL, NULL, NULL);
    mx_enter();
    write_weights(dir, "model.language_model.layers.2.mlp.up_proj.weight",
                  "model.audio_tower.output_proj.bias", "model.language_model.layers.9.extra");
    assert_null(open_with(dir, (struct model_options){0}, &e));
    assert_true(e.kind != 0);
    assert_non_null(strstr(e.text, "model.language_model.layers.2.mlp.up_proj.weight"));
    assert_non_null(strstr(e.text, "model.audio_tower.output_proj.bias"));
    assert_non_null(strstr(e.text, "model.language_model.layers.9.extra"));
    assert_null(strchr(e.text, '\n'));
    close_all(NULL);
    remove_folder(dir);
}

/* Configs of the first release say the heads of full layers by global_ keys, and no rope. */
static void test_model__older_configs_mean_the_same(void **state)
{
    struct err e = {0};
    struct fixture f;
    (void)state;
    char *dir = folder_with(NULL,
                            "{\"per_layer_config\": null, \"global_head_dim\": 16, "
                            "\"rope_parameters\": null, "
                            "\"num_global_key_value_heads\": null}",
                            NULL);
    fixture_open(&f, AUDIO_MODEL);
    write_weights(dir, "", "", "lm_head.weight");
    struct model *m = open_with(dir, (struct model_options){0}, &e), *stored = f.model;
    assert_ok(e);
    f.model = m;
    assert_same(&f, model_logprobs(m, &f.in), "logprobs", 1e-5);
    f.model = stored;
    model_close(m);
    fixture_close(&f);
    remove_folder(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model__opens_towers_and_facts),
        cmocka_unit_test(test_model__facts_need_no_weights),
        cmocka_unit_test(test_model__without_audio_reads_and_runs_no_audio),
        cmocka_unit_test(test_model__generation_config_says_what_ends_a_turn),
        cmocka_unit_test(test_model__random_weights_know_nothing),
        cmocka_unit_test(test_model__queries_and_keys_start_at_one_over_the_root_of_their_size),
        cmocka_unit_test(test_model__results_keep_nothing_of_what_made_them),
        cmocka_unit_test(test_model__config_values_that_are_not_known_are_errors),
        cmocka_unit_test(test_model__folders_that_are_no_models_are_errors),
        cmocka_unit_test(test_model__missing_misshapen_and_left_over_tensors_are_listed_at_once),
        cmocka_unit_test(test_model__older_configs_mean_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
