/* rng.c - see rng.h. */
#include "base/rng.h"

#include <assert.h>
#include <math.h>

#define ROUNDS ((int)(sizeof((struct rng_shuffle *)0)->keys / sizeof(uint64_t)))

void rng_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int i = 0; i < 10; i++) {
        uint64_t a = (uint64_t)c0 * 0xd2511f53u;
        uint64_t b = (uint64_t)c2 * 0xcd9e8d57u;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static void draw(uint64_t seed, uint64_t stream, uint64_t index, uint64_t out[2])
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, words[4];
    uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream,
                           (uint32_t)(stream >> 32)};
    rng_philox(key, counter, words);
    out[0] = words[0] | (uint64_t)words[1] << 32;
    out[1] = words[2] | (uint64_t)words[3] << 32;
}

uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t out[2];
    draw(seed, stream, index, out);
    return out[0];
}

static double unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return unit(rng_u64(seed, stream, index));
}

/* Box and Muller; 1 - u keeps the logarithm away from zero. */
double rng_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t out[2];
    draw(seed, stream, index, out);
    return sqrt(-2 * log(1 - unit(out[0]))) * cos(6.283185307179586477 * unit(out[1]));
}

/* The high word of a 64 by 64 bit product: off from uniform by less than n / 2^64. */
uint64_t rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n)
{
    uint64_t x = rng_u64(seed, stream, index);
    uint64_t low = (x & 0xffffffff) * (n & 0xffffffff);
    uint64_t mid = (x >> 32) * (n & 0xffffffff) + (low >> 32);
    uint64_t cross = (x & 0xffffffff) * (n >> 32) + (mid & 0xffffffff);
    return (x >> 32) * (n >> 32) + (mid >> 32) + (cross >> 32);
}

uint64_t rng_seed(uint64_t seed, const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;      /* FNV-1a names the stream */
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return rng_u64(seed, h, 0);
}

/* The finaliser of SplitMix64. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

void rng_shuffle_init(struct rng_shuffle *s, uint64_t seed, uint64_t stream, uint64_t n)
{
    s->n = n;
    s->half_bits = 1;
    while (s->half_bits < 32 && n > (uint64_t)1 << 2 * s->half_bits)
        s->half_bits++;
    for (int i = 0; i < ROUNDS; i++)
        s->keys[i] = rng_u64(seed, stream, (uint64_t)i);
}

uint64_t rng_shuffle_at(const struct rng_shuffle *s, uint64_t i)
{
    assert(i < s->n);
    uint64_t mask = ((uint64_t)1 << s->half_bits) - 1;
    do {
        uint64_t left = i >> s->half_bits, right = i & mask;
        for (int r = 0; r < ROUNDS; r++) {
            uint64_t next = left ^ (mix(right + s->keys[r]) & mask);
            left = right;
            right = next;
        }
        i = left << s->half_bits | right;
    } while (i >= s->n);
    return i;
}
