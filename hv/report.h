/*
 * What the console says about a run: a line of progress now and then, and at the
 * end the table and the result. The last line is `ballast: result ok` or
 * `ballast: result failed: REASON`; ok needs a clean audit, no mismatch, and that
 * every VM ended by itself with status 0.
 */
#ifndef HV_REPORT_H
#define HV_REPORT_H

#include "lib/types.h"

struct vm;

/* Begins the lines of progress. */
void report_start(void);

/* Checks all invariants of the core now; what is found fails the run. */
void report_audit(void);

/* The table, the end record, the last line. All VMs have ended. True: ok. */
bool report_finish(void);

/* Before anything could run: the last line, with its reason. */
void report_failed(const char *reason);

#endif
