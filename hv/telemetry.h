/*
 * Telemetry on COM2: JSON Lines, as docs/telemetry.md describes them. Before the
 * start record and after the end record nothing is written.
 */
#ifndef HV_TELEMETRY_H
#define HV_TELEMETRY_H

#include "mm/machine.h"

struct boot_info;
struct vm;

/* What went into the end record and onto the console's last lines. */
struct telemetry_result {
    bool ok;
    const char *reason; /* "" when ok */
    unsigned violations;
    const char *first_violation;
};

/* Writes the start record and begins the samples. memory: bytes handed to the core. */
void telemetry_start(const struct boot_info *boot, uint64_t memory);
void telemetry_end(const struct telemetry_result *result);
/* Keeps the host's counters as they are now for the end record's net figures: to
 * be called before the memory of an ended VM is given back. */
void telemetry_keep_net(void);

/* vm: its name, or NULL. */
void telemetry_memory_event(enum mm_event_kind kind, const char *vm, uint64_t a, uint64_t b);
void telemetry_vm_end(const struct vm *vm);
void telemetry_device(const struct vm *vm, const char *device, const char *reason);

#endif
