/*
 * base/random.h - seeded pseudo-random numbers that repeat themselves, and a seed from the system
 *
 * xoshiro256** by Blackman and Vigna (2018), seeded through splitmix64. Not for secrets: those come from libsodium.
 * One owner, no locks.
 */
#pragma once

#include <stdint.h>

struct ap_random {
    uint64_t state[4];
};

void ap_random_init(struct ap_random *random, uint64_t seed);
uint64_t ap_random_u64(struct ap_random *random);

/* 0 <= result < bound; bound must not be 0. */
uint64_t ap_random_below(struct ap_random *random, uint64_t bound);

/* 0 <= result < 1. */
double ap_random_unit(struct ap_random *random);

/* Normally distributed with mean 0 and standard deviation 1. */
double ap_random_normal(struct ap_random *random);

/* From the system's entropy, for seeding hash tables and the above. */
uint64_t ap_random_system_seed(void);
