#include "alert/from_rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "promql/parser.h"
#include "tsdb/labels.h"

/* As a form has it, which is how Prometheus escapes. */
static void add_escaped(struct ap_buf *out, struct ap_slice text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        bool is_plain = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-_.~", c));
        if (is_plain)
            ap_buf_add_char(out, c);
        else if (c == ' ')
            ap_buf_add_char(out, '+');
        else
            ap_buf_printf(out, "%%%02X", (unsigned char)c);
    }
}

void alert_generator_url(struct ap_slice external_url, const struct rule *rule, struct ap_buf *out)
{
    struct ap_slice expr = rule->expr;
    struct promql_query query;
    struct ap_err err;
    AP_AUTO_BUF struct ap_buf printed = {0};
    while (external_url.bytes && external_url.data[external_url.bytes - 1] == '/')
        external_url.bytes--;
    ap_buf_add_slice(out, external_url);
    if (rule->language == RULE_LANGUAGE_SQL) { /* which no graph shows */
        ap_buf_add_cstr(out, "/rules?q=");
        add_escaped(out, ap_slice_cstr(rule->name));
        return;
    }
    if (promql_parse(expr, true, &query, &err) == AP_OK) {
        promql_print(query.expr, &printed);
        promql_query_clear(&query);
    }
    ap_buf_add_cstr(out, "/graph?g0.expr=");
    add_escaped(out, printed.bytes ? ap_buf_slice(&printed) : expr);
    ap_buf_add_cstr(out, "&g0.tab=1");
}

/* What the alert says of itself goes before what this server says of all. */
static struct ap_slice add_external(struct ap_slice labels, struct ap_slice external, struct ap_buf *out)
{
    struct label all[2 * LABELS_COUNT_MAX];
    size_t count = 0;
    struct ap_slice rest = labels;
    struct ap_err err;
    while (count < LABELS_COUNT_MAX && labels_next(&rest, &all[count]))
        count++;
    while (count < AP_ARRAY_COUNT(all) && labels_next(&external, &all[count]))
        if (!labels_get(labels, all[count].name).data)
            count++;
    /* More labels than there may be: the alert is told, without those of the server. */
    return labels_encode(all, count, out, &err) == AP_OK ? ap_buf_slice(out) : labels;
}

static struct ap_slice relabel(const struct alert_relabel *relabel, struct ap_slice labels, struct ap_arena *arena)
{
    return relabel ? alert_relabel_apply(relabel, labels, arena) : labels;
}

bool alerts_from_rules(void *context, const struct rule *rule, const struct alert *const *alerts, size_t count,
                       int64_t ends_ms)
{
    struct alerts_from_rules *to = context;
    AP_AUTO_BUF struct ap_buf url = {0};
    AP_AUTO_FREE struct alert_in *in = ap_new0_array(struct alert_in, count + 1);
    AP_AUTO_FREE struct ap_buf *labels = ap_new0_array(struct ap_buf, count + 1);
    AP_AUTO_ARENA struct ap_arena arena = {0};
    size_t kept_count = 0;
    alert_generator_url(to->external_url, rule, &url);
    pthread_rwlock_rdlock(&to->relabel_lock);
    for (size_t i = 0; i < count; i++) {
        bool is_firing = alerts[i]->state == ALERT_STATE_FIRING;
        struct ap_slice all = add_external(alerts[i]->labels, to->external_labels, &labels[i]);
        in[kept_count] = (struct alert_in){
            .labels = relabel(to->relabel, all, &arena),
            .annotations = alerts[i]->annotations,
            .generator_url = ap_buf_slice(&url),
            .starts_ms = alerts[i]->fired_ms,
            .ends_ms = is_firing ? ends_ms : alerts[i]->resolved_ms,
        };
        kept_count += in[kept_count].labels.bytes > 0;
    }
    pthread_rwlock_unlock(&to->relabel_lock);
    bool is_taken = to->take(to->context, in, kept_count);
    for (size_t i = 0; i < count; i++)
        ap_buf_clear(&labels[i]);
    return is_taken;
}

void alerts_from_rules_relabel(struct alerts_from_rules *to, struct alert_relabel *take_relabel)
{
    pthread_rwlock_wrlock(&to->relabel_lock);
    struct alert_relabel *before = to->relabel;
    to->relabel = take_relabel;
    pthread_rwlock_unlock(&to->relabel_lock);
    alert_relabel_free(before);
}
