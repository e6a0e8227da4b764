/* Names of tensors in checkpoints of MLX tools, and whole checkpoints that mlx-lm quantised: equal
 * to transformers with the weights that the quantised ones stand for. */
#include "gemma4_fixture.h"

#include "nn/spelling.h"

static void test_spelling__names(void **state)
{
    static const char *const PAIRS[][2] = {
        {"language_model.model.layers.0.mlp.up_proj.weight",
         "model.language_model.layers.0.mlp.up_proj.weight"},
        {"vision_tower.x", "model.vision_tower.x"},
        {"embed_audio.x", "model.embed_audio.x"},
        {"model.layers.0.x", "model.layers.0.x"},
        {"model.audio_tower.x", "model.audio_tower.x"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof PAIRS / sizeof *PAIRS; i++) {
        char *ours = spelling_ours(PAIRS[i][0]);
        assert_string_equal(ours, PAIRS[i][1]);
        free(ours);
    }
}

static void expect_same_as_transformers(const char *dir)
{
    struct fixture f;
    fixture_open(&f, dir);
    mx_array hidden = model_hidden(f.model, &f.in);
    mx_array rows = mx_take(mx_flatten(hidden, 0, 1), f.in.target_rows, 0);
    struct nn_head head;
    f.model->family->head(f.model->self, &head);
    assert_int_equal(head.quant.bits, 4);
    assert_same(&f, nn_logprobs(&head, rows, f.in.target_ids), "logprobs", 1e-5);
    mx_array picked =
        mx_take_along_axis(model_logits(f.model, rows), mx_expand_dims(f.in.target_ids, 1), 1);
    mx_array whole = mx_logsumexp(model_logits(f.model, rows), 1, true);
    assert_same(&f, mx_squeeze(mx_subtract(picked, whole), 1), "logprobs", 1e-5);
    fixture_close(&f);
}

/* QLoRA, the quantised head included: an adapter on every layer, its gradients with and without
 * blocks that are computed again, and ten steps. */
static void expect_same_training(const char *dir)
{
    struct fixture f;
    fixture_open(&f, dir);
    fixture_adapt(&f);
    int n = f.model->params.trainable_count;
    mx_array *grads = xcalloc((size_t)n, sizeof *grads);
    for (int k = 0; k < 2; k++) {
        f.model->checkpointing = k == 1;
        mx_array loss = fixture_gradients(&f, grads);
        assert_same(&f, mx_reshape(loss, 1), "lora_loss", 1e-5);
        for (int i = 0; i < n; i++) {
            char name[600];
            fixture_name(name, sizeof name, "lora_grad", f.model->params.trainable[i]->name);
            assert_same(&f, grads[i], name, 1e-4);
        }
    }
    fixture_ten_steps(&f, "lora_losses", 1e-3, 1e-5);
    free(grads);
    fixture_close(&f);
}

static void test_spelling__quantised_checkpoint_with_shared_layers(void **state)
{
    (void)state;
    expect_same_as_transformers("tests/data/gemma4_mlx_e");
    expect_same_training("tests/data/gemma4_mlx_e");
}

static void test_spelling__quantised_checkpoint_with_experts(void **state)
{
    (void)state;
    expect_same_as_transformers("tests/data/gemma4_mlx_moe");
    expect_same_training("tests/data/gemma4_mlx_moe");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spelling__names),
        cmocka_unit_test(test_spelling__quantised_checkpoint_with_shared_layers),
        cmocka_unit_test(test_spelling__quantised_checkpoint_with_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
