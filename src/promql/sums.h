/*
 * promql/sums.h - sums that keep what rounding would lose
 *
 * Kahan's summation in Neumaier's form (A. Neumaier 1974, "Rundungsfehleranalyse einiger Verfahren zur Summation
 * endlicher Summen"), as Prometheus has it: a sum that overflows loses its compensation.
 */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

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

/* The same where the two are kept apart. */
static inline void kahan_add_to(double *sum, double *rest, double value)
{
    struct kahan kahan = {*sum, *rest};
    kahan_add(&kahan, value);
    *sum = kahan.sum;
    *rest = kahan.rest;
}

/*
 * As kahan_add() for each of them. What is lost by an addition comes from D. E. Knuth's six operations (The Art of
 * Computer Programming 2, 4.2.2, theorem B) in place of a comparison: the same number, without a branch. False: a sum
 * is not finite, and nothing was done.
 */
static inline bool kahan_add_finite(struct kahan *kahan, const double *values, size_t count)
{
    double sum = kahan->sum, rest = kahan->rest;
    for (size_t i = 0; i < count; i++) {
        double next = sum + values[i], added = next - sum;
        rest += (sum - (next - added)) + (values[i] - added);
        sum = next;
    }
    if (!isfinite(sum) || !isfinite(rest)) /* they never become so again */
        return false;
    *kahan = (struct kahan){sum, rest};
    return true;
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

/* As mean_add() for each of at least one. */
static inline void mean_add_all(struct mean *mean, const double *values, size_t count)
{
    struct kahan kahan = {values[0], 0};
    if (mean->count == 0 && kahan_add_finite(&kahan, values + 1, count - 1)) {
        *mean = (struct mean){.kahan = kahan, .count = (double)count};
        return;
    }
    for (size_t i = 0; i < count; i++)
        mean_add(mean, values[i]);
}

static inline double mean_total(const struct mean *mean)
{
    if (mean->is_running)
        return mean->kahan.sum + mean->kahan.rest;
    return mean->kahan.sum / mean->count + mean->kahan.rest / mean->count;
}
