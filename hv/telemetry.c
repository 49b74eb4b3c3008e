#include "hv/telemetry.h"
#include "drivers/clock.h"
#include "drivers/serial.h"
#include "hv/boot_info.h"
#include "hv/cpu.h"
#include "hv/locks.h"
#include "hv/loop.h"
#include "hv/telemetry_record.h"
#include "hv/timer.h"
#include "hv/vm.h"
#include "lib/log.h"

#define NET(name) MM_HOST_net_##name

#define NAME_OF(name, kind, unit, meaning) #name,
static const char *const host_names[] = { MM_HOST_COUNTERS(NAME_OF) };
static const char *const vm_names[] = { MM_VM_COUNTERS(NAME_OF) };
#define DEVICE_NAME_OF(name, meaning) #name,
static const char *const device_names[] = { BALLOON_COUNTERS(DEVICE_NAME_OF) };

bool record_active;
struct json record_json;
static struct spinlock record_lock = SPINLOCK(RANK_RECORD);
static struct timer sample_timer;
static uint64_t sample_ns, sequence, skipped_count;
uint64_t record_events_skipped;
static uint64_t net_host[MM_HOST_COUNTER_COUNT];
static uint64_t peak_metadata, peak_table;

static void send(const char *bytes, size_t size)
{
    serial_write(SERIAL_TELEMETRY, bytes, size);
}

void record_begin(const char *kind)
{
    spin_lock(&record_lock);
    json_begin(&record_json, send);
    json_string(&record_json, "record", kind);
    json_number(&record_json, "t", clock_now_ns() / 1000);
}

void record_end(void)
{
    json_end(&record_json);
    spin_unlock(&record_lock);
}

/* ---- counters -------------------------------------------------------------------- */

static void put_counters(const char *const *names, const uint64_t *values, unsigned count,
                         bool zeros)
{
    for (unsigned i = 0; i < count; i++)
        if (values[i] || zeros)
            json_number(&record_json, names[i], values[i]);
}

static void put_exits(const struct vm *vm)
{
    json_object(&record_json, "exits");
    for (unsigned kind = 0; kind < EXIT_KIND_COUNT; kind++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < vm->vcpu_count; i++)
            sum += vm->vcpus[i].exits[kind];
        if (sum)
            json_number(&record_json, exit_kind_name((enum exit_kind)kind), sum);
    }
    json_object_end(&record_json);
}

static void put_device(const struct vm *vm)
{
    uint64_t values[BALLOON_COUNTER_COUNT];
    dev_balloon_counters(vm, values);
    json_object(&record_json, "device");
    put_counters(device_names, values, BALLOON_COUNTER_COUNT, false);
    json_object_end(&record_json);
}

/* What its guest asked for that is not there. */
static void put_refused(const struct vm *vm)
{
    static const char *const names[] = { "msr", "port", "mmio", "smi" };
    const uint64_t values[] = { vm->unknown_msr_count, vm->unknown_port_count,
                                vm->unknown_mmio_count, vm->refused_smi_count };
    json_object(&record_json, "refused");
    put_counters(names, values, sizeof(values) / sizeof(values[0]), false);
    json_object_end(&record_json);
}

static void put_vm_work(const struct vm *vm)
{
    uint64_t run = 0;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        run += vm->vcpus[i].run_ns;
    json_number(&record_json, "run_us", run / 1000);
    json_number(&record_json, "checked", vm->checked);
    json_number(&record_json, "mismatched", vm->mismatched);
    put_exits(vm);
    put_device(vm);
    put_refused(vm);
}

/* ---- samples --------------------------------------------------------------------- */

static const char *state_name(const struct vm *vm)
{
    const struct vcpu *vcpu = &vm->vcpus[0];
    if (!vm_is_running(vm))
        return "ended";
    if (mm_vcpu_waiting(&vcpu->mm) != MM_WAIT_NONE)
        return "waiting";
    return vcpu_rest(vcpu) == VCPU_RUNS ? "running" : "halted";
}

static void put_vm_sample(const struct vm *vm, const uint64_t *values)
{
    json_object(&record_json, NULL);
    json_number(&record_json, "id", vm->index);
    json_string(&record_json, "name", vm_name(vm));
    json_string(&record_json, "state", state_name(vm));
    json_string(&record_json, "wait", mm_wait_name(mm_vcpu_waiting(&vm->vcpus[0].mm)));
    json_string(&record_json, "driver",
                mm_balloon_state_name((enum mm_balloon_state)values[MM_VM_balloon_state]));
    put_vm_work(vm);
    put_counters(vm_names, values, MM_VM_COUNTER_COUNT, false);
    json_object_end(&record_json);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void put_cpus(void)
{
    json_array(&record_json, "cpus");
    for (unsigned i = 0; i < cpu_count(); i++) {
        const struct cpu *cpu = cpu_get(i);
        json_object(&record_json, NULL);
        json_number(&record_json, "idle_us", cpu->idle_ns / 1000);
        json_number(&record_json, "entries", cpu->entry_count);
        json_number(&record_json, "kicks", cpu->kick_count);
        json_number(&record_json, "l1d_flushes", cpu->l1d_flush_count);
        json_object_end(&record_json);
    }
    json_array_end(&record_json);
}

/* The core's counters are taken before the record is begun: its locks are outer ones.
 * What other CPUs count meanwhile is each figure as it was at some moment. */
static void sample(void)
{
    static uint64_t vm_values[CONFIG_VM_MAX][MM_VM_COUNTER_COUNT];
    uint64_t values[MM_HOST_COUNTER_COUNT];
    mm_host_counters(values);
    for (unsigned i = 0; i < vm_table_count; i++)
        if (vm_has_started(&vm_table[i]))
            vm_counters(&vm_table[i], vm_values[i]);
    peak_metadata = larger(peak_metadata, values[MM_HOST_metadata_ppm]);
    peak_table = larger(peak_table, values[MM_HOST_table_ppm]);
    record_begin("sample");
    json_number(&record_json, "seq", sequence++);
    if (skipped_count)
        json_number(&record_json, "skipped", skipped_count);
    json_object(&record_json, "host");
    json_string(&record_json, "state", mm_state_name(mm_host_state()));
    json_number(&record_json, "idle_us", loop_idle_ns() / 1000);
    put_cpus();
    put_counters(host_names, values, MM_HOST_COUNTER_COUNT, false);
    json_object_end(&record_json);
    json_array(&record_json, "vms");
    for (unsigned i = 0; i < vm_table_count; i++)
        if (vm_has_started(&vm_table[i]))
            put_vm_sample(&vm_table[i], vm_values[i]);
    json_array_end(&record_json);
    record_end();
}

/* A sample that would have to wait for the line is left out: the guests' time is
 * worth more. The next one tells how much time has passed. */
static void sample_due(struct timer *timer, uint64_t now)
{
    if (serial_room(SERIAL_TELEMETRY) >= RECORD_SAMPLE_ROOM)
        sample();
    else
        skipped_count++;
    timer_set(timer, now + sample_ns);
}

/* ---- start ------------------------------------------------------------------------ */

void telemetry_start(const struct boot_info *boot, uint64_t memory)
{
    record_active = true;
    record_put_start(boot, memory);
    sample_ns =
        (uint64_t)(boot->config.host.sample_ms ? boot->config.host.sample_ms : 1) * 1000000u;
    timer_init(&sample_timer, sample_due, NULL);
    timer_set(&sample_timer, clock_now_ns() + sample_ns);
    for (unsigned i = 0; i < vm_table_count; i++) {
        if (!vm_has_started(&vm_table[i]))
            continue;
        record_begin("event");
        json_string(&record_json, "event", "vm_start");
        json_string(&record_json, "vm", vm_name(&vm_table[i]));
        record_end();
    }
}

/* ---- end ---------------------------------------------------------------------------- */

void record_put_verdict(const struct vm *vm)
{
    json_string(&record_json, "reason", vm->reason);
    if (vm->end == VM_END_STATUS)
        json_number(&record_json, "status", vm->status);
    else
        json_null(&record_json, "status");
}

void telemetry_keep_net(void)
{
    mm_host_counters(net_host);
}

static void put_result(const struct telemetry_result *result)
{
    json_string(&record_json, "result", result->ok ? "ok" : "failed");
    json_string(&record_json, "reason", result->reason);
    json_object(&record_json, "audit");
    json_number(&record_json, "violations", result->violations);
    json_string(&record_json, "first", result->first_violation);
    json_object_end(&record_json);
    json_object(&record_json, "net");
    json_number(&record_json, "share", net_host[NET(share)]);
    json_number(&record_json, "balloon", net_host[NET(balloon)]);
    json_number(&record_json, "compress", net_host[NET(compress)]);
    json_number(&record_json, "swap", net_host[NET(swap)]);
    json_object_end(&record_json);
}

static void put_end_host(const uint64_t *values)
{
    uint64_t configured = 0;
    for (unsigned i = 0; i < vm_table_count; i++)
        if (vm_has_started(&vm_table[i]))
            configured += vm_table[i].config->memory >> PAGE_SHIFT;
    json_number(&record_json, "configured", configured);
    json_number(&record_json, "managed", values[MM_HOST_frames_managed]);
    json_object(&record_json, "host");
    put_counters(host_names, values, MM_HOST_COUNTER_COUNT, true);
    json_object_end(&record_json);
    json_object(&record_json, "peak");
    json_number(&record_json, "metadata_ppm", peak_metadata);
    json_number(&record_json, "table_ppm", peak_table);
    json_object_end(&record_json);
    json_number(&record_json, "samples_skipped", skipped_count);
    json_number(&record_json, "events_skipped", record_events_skipped);
}

static void put_end_vm(const struct vm *vm)
{
    json_object(&record_json, NULL);
    json_number(&record_json, "id", vm->index);
    json_string(&record_json, "name", vm_name(vm));
    json_bool(&record_json, "started", vm_has_started(vm));
    record_put_verdict(vm);
    put_vm_work(vm);
    put_counters(vm_names, vm->last_counters, MM_VM_COUNTER_COUNT, true);
    json_object_end(&record_json);
}

void telemetry_end(const struct telemetry_result *result)
{
    if (!record_active)
        return;
    uint64_t values[MM_HOST_COUNTER_COUNT];
    timer_cancel(&sample_timer);
    sample();
    mm_host_counters(values);
    record_begin("end");
    put_result(result);
    put_end_host(values);
    json_array(&record_json, "vms");
    for (unsigned i = 0; i < vm_table_count; i++)
        put_end_vm(&vm_table[i]);
    json_array_end(&record_json);
    record_end();
    record_active = false;
}
