/* Durations with arithmetic: [5m + step()], offset -(1h / 2). */
#include <math.h>
#include <string.h>

#include "promql/parser.h"

#define DURATION_MS_MAX 9223372036854.0 /* what Prometheus' nanoseconds in 64 bits can say */

struct reading {
    const struct promql_duration_context *context; /* NULL: nobody knows yet */
    bool is_open;                                  /* it takes step() or range(), and there is no context */
    const char *error;
    const struct promql_expr *at; /* where */
};

static double seconds_of(struct reading *reading, const struct promql_expr *expr);

static double binary_seconds(struct reading *reading, const struct promql_expr *expr)
{
    double left = seconds_of(reading, expr->binary.left);
    double right = seconds_of(reading, expr->binary.right);
    bool divides = expr->binary.operator== OPERATOR_DIV || expr->binary.operator== OPERATOR_MOD;
    if (divides && right == 0 && !reading->error && !reading->is_open) {
        reading->error = expr->binary.operator== OPERATOR_DIV ? "division by zero" : "modulo by zero";
        reading->at = expr;
    }
    switch (expr->binary.operator) {
    case OPERATOR_ADD:
        return left + right;
    case OPERATOR_SUB:
        return left - right;
    case OPERATOR_MUL:
        return left * right;
    case OPERATOR_DIV:
        return left / right;
    case OPERATOR_MOD:
        return fmod(left, right);
    default:
        return pow(left, right);
    }
}

static double seconds_of(struct reading *reading, const struct promql_expr *expr)
{
    const struct promql_expr *const *arguments = (const struct promql_expr *const *)expr->call.arguments;
    double value;
    switch (expr->kind) {
    case EXPR_NUMBER:
        return expr->number.value;
    case EXPR_PAREN:
        return seconds_of(reading, expr->paren);
    case EXPR_UNARY:
        value = seconds_of(reading, expr->unary.of);
        return expr->unary.is_minus ? -value : value;
    case EXPR_CALL:
        if (expr->call.count == 2) {
            double left = seconds_of(reading, arguments[0]);
            double right = seconds_of(reading, arguments[1]);
            return strncmp(expr->call.function->name, "max", 3) == 0 ? fmax(left, right) : fmin(left, right);
        }
        if (!reading->context) {
            reading->is_open = true;
            return 1;
        }
        return strcmp(expr->call.function->name, "step") == 0 ? reading->context->step_s : reading->context->range_s;
    default:
        return binary_seconds(reading, expr);
    }
}

enum ap_rc promql_duration_ms(const struct promql_duration *duration, const struct promql_duration_context *context,
                              bool is_positive, int64_t *ret_ms, struct ap_err *err)
{
    *ret_ms = duration->ms;
    if (!duration->expr)
        return AP_OK; /* checked when it was read */
    struct reading reading = {.context = context, .at = duration->expr};
    double ms = seconds_of(&reading, duration->expr) * 1000;
    if (reading.is_open)
        return AP_OK;
    if (!reading.error && !isfinite(ms))
        reading.error = "duration is NaN or infinite";
    if (!reading.error && is_positive && ms <= 0)
        reading.error = "duration must be greater than 0";
    if (!reading.error && fabs(ms) > DURATION_MS_MAX)
        reading.error = "duration is out of range";
    if (reading.error)
        return ap_fail(err, AP_E_PARSE, "%u:%u: %s", reading.at->start, reading.at->end, reading.error);
    *ret_ms = (int64_t)ms;
    return AP_OK;
}
