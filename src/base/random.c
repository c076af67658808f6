#include "base/random.h"

#include <math.h>
#include <sys/random.h>

#include "base/assert.h"

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void ap_random_init(struct ap_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix64(&seed);
}

static uint64_t rotate_left(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

uint64_t ap_random_u64(struct ap_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire, "Fast Random Integer Generation in an Interval" (2019): the rejection step keeps it unbiased. */
uint64_t ap_random_below(struct ap_random *random, uint64_t bound)
{
    AP_ASSERT(bound > 0);
    unsigned __int128 product = (unsigned __int128)ap_random_u64(random) * bound;
    if ((uint64_t)product < bound) {
        uint64_t threshold = -bound % bound;
        while ((uint64_t)product < threshold)
            product = (unsigned __int128)ap_random_u64(random) * bound;
    }
    return (uint64_t)(product >> 64);
}

double ap_random_unit(struct ap_random *random)
{
    return (double)(ap_random_u64(random) >> 11) * 0x1p-53;
}

/* Box and Muller (1958); the second value is thrown away to keep the state in one place. */
double ap_random_normal(struct ap_random *random)
{
    double u = 1.0 - ap_random_unit(random); /* never 0, so that the logarithm is finite */
    return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * ap_random_unit(random));
}

uint64_t ap_random_system_seed(void)
{
    uint64_t seed;
    AP_ASSERT(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
    return seed;
}
