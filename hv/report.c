#include "hv/report.h"
#include "drivers/clock.h"
#include "hv/loop.h"
#include "hv/park.h"
#include "hv/telemetry.h"
#include "hv/timer.h"
#include "hv/vm.h"
#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/string.h"

#define PROGRESS_NS 5000000000ull
#define TEXT_MAX    224u

typedef unsigned long long ull;

static struct timer progress_timer;
static unsigned violations;
static char first_violation[TEXT_MAX];

static unsigned vms_running(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < vm_table_count; i++)
        count += vm_is_running(&vm_table[i]);
    return count;
}

static void progress_due(struct timer *timer, uint64_t now)
{
    uint64_t v[MM_HOST_COUNTER_COUNT];
    mm_host_counters(v);
    log_info(
        "ballast: %llu s: %u VMs run, state %s, free %llu of %llu pages, shared %llu, pool %llu "
        "objects in %llu, swap %llu slots",
        (ull)(now / 1000000000u), vms_running(), mm_state_name(mm_host_state()),
        (ull)v[MM_HOST_frames_free], (ull)v[MM_HOST_frames_managed], (ull)v[MM_HOST_frames_shared],
        (ull)v[MM_HOST_pool_objects], (ull)v[MM_HOST_frames_pool], (ull)v[MM_HOST_swap_slots]);
    timer_set(timer, now + PROGRESS_NS);
}

void report_start(void)
{
    timer_init(&progress_timer, progress_due, NULL);
    timer_set(&progress_timer, clock_now_ns() + PROGRESS_NS);
}

void report_audit(void)
{
    char first[TEXT_MAX] = "";
    park_others();
    unsigned found = mm_audit(first, sizeof(first));
    park_release();
    if (found && !violations)
        memcpy(first_violation, first, sizeof(first));
    violations += found;
}

/* ---- the table ------------------------------------------------------------------ */

static uint64_t sum(const uint64_t *values, const enum mm_vm_counter *which, unsigned count)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += values[which[i]];
    return total;
}

static void table_row(const struct vm *vm)
{
    static const enum mm_vm_counter fresh[] = { MM_VM_faults_zero, MM_VM_faults_fill,
                                                MM_VM_faults_balloon };
    static const enum mm_vm_counter copied[] = { MM_VM_faults_cow, MM_VM_faults_takeback };
    const uint64_t *v = vm->last_counters;
    log_info("  %-12s %8llu %8llu %10llu %8llu %8llu %8llu %8llu  %s", vm_name(vm),
             (ull)v[MM_VM_configured], (ull)vm->checked, (ull)vm->mismatched, (ull)sum(v, fresh, 3),
             (ull)sum(v, copied, 2), (ull)v[MM_VM_faults_pool], (ull)v[MM_VM_faults_swap],
             vm->reason);
}

static void table_print(void)
{
    uint64_t v[MM_HOST_COUNTER_COUNT];
    mm_host_counters(v);
    log_info("ballast: the VMs, in pages; faults by where the page was:");
    log_info("  %-12s %8s %8s %10s %8s %8s %8s %8s  %s", "vm", "memory", "checked", "mismatched",
             "fresh", "shared", "pool", "swap", "end");
    for (unsigned i = 0; i < vm_table_count; i++)
        table_row(&vm_table[i]);
    log_info("ballast: frames freed: share %llu, zero %llu, balloon %llu, compress %llu, swap %llu",
             (ull)v[MM_HOST_freed_share], (ull)v[MM_HOST_freed_zero], (ull)v[MM_HOST_freed_balloon],
             (ull)v[MM_HOST_freed_compress], (ull)v[MM_HOST_freed_swap]);
    log_info("ballast: audit: %u violations%s%s", violations, violations ? ": " : "",
             first_violation);
}

/* ---- the result ------------------------------------------------------------------- */

/* Why this VM makes the run fail; "" when it does not. */
static void vm_verdict(const struct vm *vm, char *text, size_t size)
{
    text[0] = 0;
    if (vm->state == VM_REFUSED)
        fmt_print(text, size, "vm %s did not start: %s", vm_name(vm), vm->reason);
    else if (vm->mismatched)
        fmt_print(text, size, "vm %s: %llu pages mismatched", vm_name(vm), (ull)vm->mismatched);
    else if (!vm_is_good(vm))
        fmt_print(text, size, "vm %s ended: %s", vm_name(vm), vm->reason);
}

static void timeout_verdict(char *text, size_t size)
{
    for (unsigned i = 0; i < vm_table_count; i++)
        if (vm_table[i].end == VM_END_DURATION) {
            fmt_print(text, size, "duration reached, vm %s still ran", vm_name(&vm_table[i]));
            return;
        }
}

static void verdict(char *text, size_t size)
{
    text[0] = 0;
    if (violations)
        fmt_print(text, size, "audit found %u violations: %s", violations, first_violation);
    else if (loop_timed_out())
        timeout_verdict(text, size);
    else if (!vm_table_count)
        fmt_print(text, size, "no VM configured");
    for (unsigned i = 0; !text[0] && i < vm_table_count; i++)
        vm_verdict(&vm_table[i], text, size);
}

void report_failed(const char *reason)
{
    log_info("ballast: result failed: %s", reason);
}

bool report_finish(void)
{
    char reason[TEXT_MAX + 64];
    timer_cancel(&progress_timer);
    report_audit();
    verdict(reason, sizeof(reason));
    struct telemetry_result result = {
        .ok = !reason[0],
        .reason = reason,
        .violations = violations,
        .first_violation = first_violation,
    };
    table_print();
    telemetry_end(&result);
    if (result.ok)
        log_info("ballast: result ok");
    else
        report_failed(reason);
    return result.ok;
}
