/* rng.h - random numbers that are functions: of a seed, a stream and an index, of nothing else.
 *
 * There is no state to save: what sample 7 of epoch 3 gets does not depend on who asked before,
 * on threads, or on where a run was resumed.  A stream keeps uses apart (order, dropout, ...);
 * rng_seed makes a seed for a part out of the seed of the whole.
 *
 * The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy
 * as 1, 2, 3", SC11) with the seed as key and (index, stream) as counter.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/* Four words for a key and a counter: Philox itself. */
void rng_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);

uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t index);
double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index);    /* in [0, 1), 53 bits */
double rng_normal(uint64_t seed, uint64_t stream, uint64_t index);     /* mean 0, variance 1 */
uint64_t rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n);   /* in [0, n) */

/* A seed for the part called `name`. */
uint64_t rng_seed(uint64_t seed, const char *name);

/* A shuffle of 0 .. n-1 that needs no memory: a Feistel network on the next even number of bits,
 * walked along its cycle until it falls below n (Black and Rogaway: "Ciphers with arbitrary
 * finite domains", CT-RSA 2002).  A bijection for every n, and the same on every machine. */
struct rng_shuffle {
    uint64_t n;
    int half_bits;
    uint64_t keys[8];
};
void rng_shuffle_init(struct rng_shuffle *s, uint64_t seed, uint64_t stream, uint64_t n);
uint64_t rng_shuffle_at(const struct rng_shuffle *s, uint64_t i);      /* i < n */

#endif
