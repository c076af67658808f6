/*
 * rules/template_variables.h - the names that an alert's templates find: checked by them, run with them
 */
#pragma once

enum { TEMPLATE_VARIABLE_COUNT = 4 };
static const char *const template_variables[TEMPLATE_VARIABLE_COUNT] = {"$labels", "$externalLabels", "$externalURL",
                                                                        "$value"};
