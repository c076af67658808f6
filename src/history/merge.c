/* Several blocks and the head as one: the series of all of them in order, each once. */
#include <stdlib.h>

#include "base/mem.h"
#include "history/source.h"
#include "tsdb/labels.h"

/* A block, or the head: the next series of it. */
struct input {
    struct prometheus_block_stream block;
    struct prometheus_head_stream *head; /* owned; NULL: it is a block */
    struct ap_slice labels;              /* lent by the stream */
    bool is_end;
};

struct history_merge {
    struct history_merge_options options;
    struct input *inputs; /* owned; blocks first */
    size_t input_count;
    bool is_begun;
    struct ap_buf labels; /* of the series that was handed out */
};

struct history_merge *history_merge_new(const struct history_source *source,
                                        const struct history_merge_options *options)
{
    struct history_merge *merge = ap_new0(struct history_merge);
    merge->options = *options;
    merge->inputs = ap_new0_array(struct input, source->block_count + 1);
    for (size_t i = 0; i < source->block_count; i++) {
        const struct prometheus_block *block = source->blocks[i];
        if (block->first_ts_ms > options->max_ts_ms || block->last_ts_ms < options->min_ts_ms)
            continue;
        prometheus_block_stream_init(&merge->inputs[merge->input_count++].block, block, options->min_ts_ms,
                                     options->max_ts_ms, options->trouble);
    }
    if (source->head_facts.min_ts_ms <= options->max_ts_ms && source->head_facts.max_ts_ms >= options->min_ts_ms)
        merge->inputs[merge->input_count++].head =
            prometheus_head_stream_new(source->head, options->min_ts_ms, options->max_ts_ms, options->memory_bytes);
    return merge;
}

void history_merge_free(struct history_merge *merge)
{
    if (!merge)
        return;
    for (size_t i = 0; i < merge->input_count; i++) {
        if (merge->inputs[i].head)
            prometheus_head_stream_free(merge->inputs[i].head);
        else
            prometheus_block_stream_clear(&merge->inputs[i].block);
    }
    free(merge->inputs);
    ap_buf_clear(&merge->labels);
    free(merge);
}

static bool is_wanted(const struct history_merge *merge, struct ap_slice labels)
{
    for (size_t i = 0; i < merge->options.selector_count; i++)
        if (matchers_match(&merge->options.selectors[i], labels))
            return true;
    return merge->options.selector_count == 0;
}

static enum ap_rc advance(struct history_merge *merge, struct input *input, struct ap_err *err)
{
    enum ap_rc rc;
    do {
        rc = input->head ? prometheus_head_stream_next(input->head, &input->labels, &input->is_end, err)
                         : prometheus_block_stream_next(&input->block, &input->labels, &input->is_end, err);
    } while (rc == AP_OK && !input->is_end && !is_wanted(merge, input->labels));
    return rc;
}

static struct input *first_input(struct history_merge *merge)
{
    struct input *first = NULL;
    for (size_t i = 0; i < merge->input_count; i++) {
        struct input *input = &merge->inputs[i];
        if (!input->is_end && (!first || labels_compare(input->labels, first->labels) < 0))
            first = input;
    }
    return first;
}

enum ap_rc history_merge_next(struct history_merge *merge, struct ap_slice *ret_labels, struct history_samples *samples,
                              struct prometheus_refusals *refusals, bool *ret_is_end, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < merge->input_count && rc == AP_OK && !merge->is_begun; i++)
        rc = advance(merge, &merge->inputs[i], err);
    merge->is_begun = true;
    history_samples_reset(samples);
    const struct input *first = rc == AP_OK ? first_input(merge) : NULL;
    *ret_is_end = first == NULL;
    if (!first)
        return rc;
    ap_buf_reset(&merge->labels);
    ap_buf_add_slice(&merge->labels, first->labels);
    *ret_labels = ap_buf_slice(&merge->labels);
    for (size_t i = 0; i < merge->input_count && rc == AP_OK; i++) {
        struct input *input = &merge->inputs[i];
        if (input->is_end || !ap_slice_equal(input->labels, *ret_labels))
            continue;
        rc = input->head ? prometheus_head_stream_read(input->head, samples, refusals, err)
                         : prometheus_block_stream_read(&input->block, samples, refusals, err);
        if (rc == AP_OK)
            rc = advance(merge, input, err);
    }
    if (rc == AP_OK)
        history_samples_settle(samples);
    return rc;
}
