/* test_plan.c - every record once an epoch, whatever count, batch and lengths. */
#include "testing.h"

#include "base/rng.h"
#include "data/plan.h"

static const int64_t counts[] = {1, 2, 3, 7, 64, 100, 257, 1031};
static const int batches[] = {1, 2, 3, 8, 50};

/* The first `epochs` epochs of the stream hold each record once in each. */
static void check_epochs(const struct plan *p, int epochs)
{
    int64_t steps = (p->count * epochs + p->batch - 1) / p->batch;
    int64_t *stream = calloc((size_t)(steps * p->batch), sizeof *stream);
    int *seen = calloc((size_t)p->count, sizeof *seen);
    for (int64_t s = 0; s < steps; s++)
        assert_int_equal(plan_step(p, s, stream + s * p->batch), p->batch);
    for (int64_t i = 0; i < p->count * epochs; i++) {
        assert_true(stream[i] >= 0 && stream[i] < p->count);
        assert_int_equal(seen[stream[i]]++, i / p->count);
    }
    free(stream);
    free(seen);
}

static void test_plan__takes_each_record_once_an_epoch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (size_t k = 0; k < sizeof batches / sizeof *batches; k++)
            check_epochs(&(struct plan){.count = counts[i], .seed = 5, .batch = batches[k]}, 3);
}

static uint32_t *make_lengths(int64_t count)
{
    uint32_t *lengths = calloc((size_t)count, sizeof *lengths);
    for (int64_t i = 0; i < count; i++)
        lengths[i] = (uint32_t)rng_below(1, 2, (uint64_t)i, 50);
    return lengths;
}

static void test_plan__sorted_takes_each_record_once_an_epoch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        uint32_t *lengths = make_lengths(counts[i]);
        for (size_t k = 0; k < sizeof batches / sizeof *batches; k++)
            check_epochs(
                &(struct plan){
                    .count = counts[i], .seed = 5, .batch = batches[k], .lengths = lengths},
                3);
        free(lengths);
    }
}

/* Sum over steps of (batch * longest - sum of lengths) / (batch * longest). */
static double padding(const struct plan *p, const uint32_t *lengths, int64_t steps)
{
    double padded = 0, real = 0;
    int64_t out[8];
    for (int64_t s = 0; s < steps; s++) {
        uint32_t longest = 0;
        plan_step(p, s, out);
        for (int j = 0; j < p->batch; j++) {
            real += lengths[out[j]];
            longest = lengths[out[j]] > longest ? lengths[out[j]] : longest;
        }
        padded += (double)longest * p->batch;
    }
    return (padded - real) / padded;
}

static void test_plan__sorting_saves_padding_in_every_epoch(void **state)
{
    (void)state;
    int64_t count = 5003;
    uint32_t *lengths = make_lengths(count);
    struct plan plain = {.count = count, .seed = 9, .batch = 8}, sorted = plain;
    sorted.lengths = lengths;
    int64_t steps = 3 * count / 8;
    assert_true(padding(&plain, lengths, steps) > 0.3);
    assert_true(padding(&sorted, lengths, steps) < 0.05);
    free(lengths);
}

static void test_plan__sorted_batches_are_shuffled(void **state)
{
    (void)state;
    int64_t count = 2048, out[8];
    uint32_t *lengths = make_lengths(count);
    struct plan p = {.count = count, .seed = 9, .batch = 8, .lengths = lengths};
    int falls = 0;
    uint32_t before = 0;
    for (int64_t s = 0; s < 64; s++) {
        plan_step(&p, s, out);
        falls += lengths[out[0]] < before;
        before = lengths[out[0]];
    }
    assert_true(falls > 16);
    free(lengths);
}

/* Sorting must not bring the same records together in every epoch. */
static void test_plan__sorted_batches_change_their_company(void **state)
{
    (void)state;
    enum { COUNT = 80, BATCH = 8 };
    uint32_t *lengths = make_lengths(COUNT);
    struct plan p = {.count = COUNT, .seed = 9, .batch = BATCH, .lengths = lengths};
    int company[2][COUNT], again = 0;
    for (int epoch = 0; epoch < 2; epoch++)
        for (int s = 0; s < COUNT / BATCH; s++) {
            int64_t out[BATCH];
            plan_step(&p, epoch * (COUNT / BATCH) + s, out);
            for (int j = 0; j < BATCH; j++)
                company[epoch][out[j]] = s;
        }
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < i; k++)
            again += company[0][i] == company[0][k] && company[1][i] == company[1][k];
    /* Of 280 pairs in a batch, 25 would meet again by chance. */
    assert_true(again < 100);
    free(lengths);
}

static void test_plan__depends_on_seed_and_epoch(void **state)
{
    (void)state;
    int same_seed = 0, same_epoch = 0, in_place = 0;
    for (int64_t i = 0; i < 1000; i++) {
        int64_t a = plan_permute(1, 0, 1000, i);
        same_seed += a == plan_permute(2, 0, 1000, i);
        same_epoch += a == plan_permute(1, 1, 1000, i);
        in_place += a == i;
    }
    assert_true(same_seed < 10);
    assert_true(same_epoch < 10);
    assert_true(in_place < 10);
}

/* Runs must be resumable by later versions: the order is part of the format. */
static void test_plan__order_is_pinned(void **state)
{
    (void)state;
    static const int64_t expected[] = {7, 4, 0, 1, 8, 5, 6, 9, 2, 3, 1, 4};
    struct plan p = {.count = 10, .seed = 42, .batch = 4};
    int64_t out[12];
    for (int s = 0; s < 3; s++)
        plan_step(&p, s, out + 4 * s);
    for (int i = 0; i < 12; i++)
        assert_int_equal(out[i], expected[i]);
}

static void test_plan__sequential_ends(void **state)
{
    (void)state;
    struct plan p = {.count = 10, .batch = 4, .is_sequential = true};
    int64_t out[4];
    assert_int_equal(plan_steps(&p), 3);
    assert_int_equal(plan_step(&p, 0, out), 4);
    assert_int_equal(out[3], 3);
    assert_int_equal(plan_step(&p, 2, out), 2);
    assert_int_equal(out[0], 8);
    assert_int_equal(out[1], 9);
    assert_int_equal(plan_step(&p, 3, out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan__takes_each_record_once_an_epoch),
        cmocka_unit_test(test_plan__sorted_takes_each_record_once_an_epoch),
        cmocka_unit_test(test_plan__sorting_saves_padding_in_every_epoch),
        cmocka_unit_test(test_plan__sorted_batches_are_shuffled),
        cmocka_unit_test(test_plan__sorted_batches_change_their_company),
        cmocka_unit_test(test_plan__depends_on_seed_and_epoch),
        cmocka_unit_test(test_plan__order_is_pinned),
        cmocka_unit_test(test_plan__sequential_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
