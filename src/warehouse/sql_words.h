/*
 * warehouse/sql_words.h - the words of SQL that count: those in no text, quoted name or comment
 */
#pragma once

#include <stdbool.h>

#include "base/slice.h"

/*
 * The next one in *rest, which moves behind it: letters, digits and '_', with a '$' before them where it is a
 * parameter. False at the end.
 */
bool sql_next_word(struct ap_slice *rest, struct ap_slice *ret_word);
