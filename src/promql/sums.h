/*
 * promql/sums.h - sums that keep what rounding would lose
 *
 * Kahan's summation in Neumaier's form (A. Neumaier 1974, "Rundungsfehleranalyse einiger Verfahren zur Summation
 * endlicher Summen"), as Prometheus has it: a sum that overflows loses its compensation.
 */
#pragma once

#include <math.h>

struct kahan {
    double sum;
    double rest;
};

static inline void kahan_add(struct kahan *kahan, double value)
{
    double sum = kahan->sum + value;
    if (isinf(sum))
        kahan->rest = 0;
    else if (fabs(kahan->sum) >= fabs(value))
        kahan->rest += (kahan->sum - sum) + value;
    else
        kahan->rest += (value - sum) + kahan->sum;
    kahan->sum = sum;
}

static inline double kahan_total(const struct kahan *kahan)
{
    return isinf(kahan->sum) ? kahan->sum : kahan->sum + kahan->rest;
}

/* The mean of values that come one by one: the sum divided, or, once that would overflow, a running mean. */
struct mean {
    struct kahan kahan; /* of the sum, or of the mean */
    double count;
    bool is_running;
};

static inline void mean_add(struct mean *mean, double value)
{
    mean->count++;
    if (mean->count == 1) {
        mean->kahan.sum = value;
        return;
    }
    if (!mean->is_running) {
        struct kahan next = mean->kahan;
        kahan_add(&next, value);
        if (!isinf(next.sum)) {
            mean->kahan = next;
            return;
        }
        mean->is_running = true;
        mean->kahan.sum /= mean->count - 1;
        mean->kahan.rest /= mean->count - 1;
    }
    double share = (mean->count - 1) / mean->count;
    mean->kahan.sum *= share;
    mean->kahan.rest *= share;
    kahan_add(&mean->kahan, value / mean->count);
}

static inline double mean_total(const struct mean *mean)
{
    if (mean->is_running)
        return mean->kahan.sum + mean->kahan.rest;
    return mean->kahan.sum / mean->count + mean->kahan.rest / mean->count;
}
