/*
 * Does a text satisfy one of AWS's regular expressions? A matcher for the part of Java's syntax that the models of
 * Kinesis and Firehose use: literals, '.', classes with ranges and escapes (\d \w \s \S \p{L} \p{N} \p{Z} \uXXXX),
 * groups, alternation, * + ? {n} {n,} {n,m}, lazy marks (the same language), ^ $, (?!...) and (?<!c).
 *
 * It works on the expression's own text, so that a shape table holds nothing but what the model says. Runs of one class
 * are matched in a tight loop; the rest backtracks, at most PATTERN_STEPS_MAX steps and PATTERN_DEPTH_MAX nested ones: a
 * text that needs more does not match. That bounds what a hostile request can make us do to well under a millisecond
 * and a megabyte or two of stack. Beyond ASCII, \p{L}, \p{N} and
 * \p{Z} hold for every code point. Pure; any thread.
 */
#ifndef SLUICE_WIRE_SHAPE_PATTERN_H
#define SLUICE_WIRE_SHAPE_PATTERN_H

#include "common/base/slice.h"

#define PATTERN_STEPS_MAX 30000
#define PATTERN_DEPTH_MAX 4200 /* enough for 2,000 repetitions of a group */

/* The whole of `text` (valid UTF-8) must match. */
bool pattern_match(const char *pattern, struct slice text);
/* True if the expression uses only what is described above; for the check of tables. */
bool pattern_supported(const char *pattern);

#endif
