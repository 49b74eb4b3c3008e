/*
 * One record of the telemetry on its way to COM2: what telemetry.c (samples, end),
 * telemetry_start.c and telemetry_events.c share. A record is begun and ended in one go.
 */
#ifndef HV_TELEMETRY_RECORD_H
#define HV_TELEMETRY_RECORD_H

#include "lib/json.h"

struct boot_info;
struct vm;

/* Free bytes of the ring that a sample needs: those of 32 VMs, and some left for
 * events. */
#define RECORD_SAMPLE_ROOM 32768u

extern bool record_active;             /* between the start and the end record */
extern struct json record_json;        /* the writer all records go through */
extern uint64_t record_events_skipped; /* left out because the line was full */

/* Opens a record of that kind with the time in it, and sends it. In between this CPU has
 * the lock of all records (RANK_RECORD). */
void record_begin(const char *kind);
void record_end(void);
/* The start record, whole. memory: bytes handed to the core. */
void record_put_start(const struct boot_info *boot, uint64_t memory);
/* Reason and status of a VM that has ended or was refused. */
void record_put_verdict(const struct vm *vm);

#endif
