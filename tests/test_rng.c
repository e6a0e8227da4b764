/* test_rng.c - the generator against published vectors, the shuffle against its promises. */
#include "base/rng.h"
#include "testing.h"

#include <stdbool.h>

/* From kat_vectors of the Random123 library: philox4x32, 10 rounds. */
static void test_rng__philox_gives_the_published_vectors(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        rng_philox(known[i].key, known[i].counter, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
    assert_int_equal(rng_u64(0, 0, 0), 0xe169c58d6627e8d5u);
}

static void test_rng__streams_and_seeds_differ(void **state)
{
    (void)state;
    assert_true(rng_u64(1, 2, 3) == rng_u64(1, 2, 3));
    assert_true(rng_u64(1, 2, 3) != rng_u64(1, 3, 2));
    assert_true(rng_u64(1, 2, 3) != rng_u64(2, 2, 3));
    assert_true(rng_seed(1, "order") != rng_seed(1, "dropout"));
    assert_true(rng_seed(1, "order") != rng_seed(2, "order"));
}

static void test_rng__uniform_and_normal_have_their_moments(void **state)
{
    (void)state;
    enum { N = 200000 };
    double sum = 0, square = 0, lowest = 1, highest = 0, nsum = 0, nsquare = 0, nfourth = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_uniform(7, 1, i), z = rng_normal(7, 2, i);
        sum += u;
        square += u * u;
        lowest = u < lowest ? u : lowest;
        highest = u > highest ? u : highest;
        nsum += z;
        nsquare += z * z;
        nfourth += z * z * z * z;
    }
    assert_true(lowest >= 0 && highest < 1);
    assert_near(sum / N, 0.5, 0.003);
    assert_near(square / N, 1.0 / 3, 0.003);
    assert_near(nsum / N, 0, 0.01);
    assert_near(nsquare / N, 1, 0.015);
    assert_near(nfourth / N, 3, 0.1);
}

static void test_rng__below_is_in_range_and_even(void **state)
{
    (void)state;
    int found[7] = {0};
    for (uint64_t i = 0; i < 70000; i++) {
        uint64_t x = rng_below(3, 4, i, 7);
        assert_true(x < 7);
        found[x]++;
    }
    for (int i = 0; i < 7; i++)
        assert_near(found[i], 10000, 400);
    uint64_t big = rng_below(3, 4, 5, (uint64_t)1 << 63);
    assert_true(big == rng_u64(3, 4, 5) >> 1);
}

/* Every size to 600, and sizes around powers of two: each value exactly once. */
static void test_rng__shuffle_is_a_bijection(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 70000; n = n < 600 ? n + 1 : 2 * n - 37) {
        struct rng_shuffle s;
        bool *seen = calloc(n, 1);
        rng_shuffle_init(&s, 11, n, n);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t x = rng_shuffle_at(&s, i);
            assert_true(x < n);
            assert_false(seen[x]);
            seen[x] = true;
        }
        free(seen);
    }
}

static void test_rng__shuffle_works_at_the_largest_sizes(void **state)
{
    (void)state;
    struct rng_shuffle s;
    rng_shuffle_init(&s, 1, 1, UINT64_MAX);
    assert_true(rng_shuffle_at(&s, 0) != rng_shuffle_at(&s, UINT64_MAX - 1));
    rng_shuffle_init(&s, 1, 1, ((uint64_t)1 << 40) + 1);
    assert_true(rng_shuffle_at(&s, 5) <= (uint64_t)1 << 40);
}

/* Where element 0 of five lands, and which neighbours stay neighbours, over many keys. */
static void test_rng__shuffle_is_even_over_keys(void **state)
{
    (void)state;
    int place[5][5] = {{0}}, stayed = 0;
    for (uint64_t k = 0; k < 20000; k++) {
        struct rng_shuffle s;
        uint64_t x[5];
        rng_shuffle_init(&s, k, 0, 5);
        for (uint64_t i = 0; i < 5; i++) {
            x[i] = rng_shuffle_at(&s, i);
            place[i][x[i]]++;
        }
        for (int i = 0; i < 4; i++)
            stayed += x[i] + 1 == x[i + 1];
    }
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++)
            assert_near(place[i][j], 4000, 300);
    assert_near(stayed, 20000 * 0.8, 700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng__philox_gives_the_published_vectors),
        cmocka_unit_test(test_rng__streams_and_seeds_differ),
        cmocka_unit_test(test_rng__uniform_and_normal_have_their_moments),
        cmocka_unit_test(test_rng__below_is_in_range_and_even),
        cmocka_unit_test(test_rng__shuffle_is_a_bijection),
        cmocka_unit_test(test_rng__shuffle_works_at_the_largest_sizes),
        cmocka_unit_test(test_rng__shuffle_is_even_over_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
