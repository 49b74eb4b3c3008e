#include "hv/telemetry.h"
#include "drivers/clock.h"
#include "drivers/serial.h"
#include "hv/boot_info.h"
#include "hv/loop.h"
#include "hv/timer.h"
#include "hv/version.h"
#include "hv/vm.h"
#include "hv/x86.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/swap.h"

#define SCHEMA 1u
/* Free bytes of the ring that a sample needs: those of 32 VMs, and some left for
 * events. */
#define SAMPLE_ROOM 32768u
#define NET(name)   MM_HOST_net_##name

#define NAME_OF(name, kind, unit, meaning) #name,
static const char *const host_names[] = { MM_HOST_COUNTERS(NAME_OF) };
static const char *const vm_names[] = { MM_VM_COUNTERS(NAME_OF) };
#define DEVICE_NAME_OF(name, meaning) #name,
static const char *const device_names[] = { BALLOON_COUNTERS(DEVICE_NAME_OF) };

static bool active;
static struct json json;
static struct timer sample_timer;
static uint64_t sample_ns, sequence, skipped_count, events_skipped_count;
static uint64_t net_host[MM_HOST_COUNTER_COUNT];
static uint64_t peak_metadata, peak_table;

static void send(const char *bytes, size_t size)
{
    serial_write(SERIAL_TELEMETRY, bytes, size);
}

static void record_begin(const char *kind)
{
    json_begin(&json, send);
    json_string(&json, "record", kind);
    json_number(&json, "t", clock_now_ns() / 1000);
}

/* ---- counters -------------------------------------------------------------------- */

static void put_counters(const char *const *names, const uint64_t *values, unsigned count,
                         bool zeros)
{
    for (unsigned i = 0; i < count; i++)
        if (values[i] || zeros)
            json_number(&json, names[i], values[i]);
}

static void put_exits(const struct vm *vm)
{
    json_object(&json, "exits");
    for (unsigned kind = 0; kind < EXIT_KIND_COUNT; kind++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < vm->vcpu_count; i++)
            sum += vm->vcpus[i].exits[kind];
        if (sum)
            json_number(&json, exit_kind_name((enum exit_kind)kind), sum);
    }
    json_object_end(&json);
}

static void put_device(const struct vm *vm)
{
    uint64_t values[BALLOON_COUNTER_COUNT];
    dev_balloon_counters(vm, values);
    json_object(&json, "device");
    put_counters(device_names, values, BALLOON_COUNTER_COUNT, false);
    json_object_end(&json);
}

static void put_vm_work(const struct vm *vm)
{
    uint64_t run = 0;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        run += vm->vcpus[i].run_ns;
    json_number(&json, "run_us", run / 1000);
    json_number(&json, "checked", vm->checked);
    json_number(&json, "mismatched", vm->mismatched);
    put_exits(vm);
    put_device(vm);
}

/* ---- samples --------------------------------------------------------------------- */

static const char *state_name(const struct vm *vm)
{
    const struct vcpu *vcpu = &vm->vcpus[0];
    if (vm->state != VM_RUNNING)
        return "ended";
    if (vcpu->mm.waiting != MM_WAIT_NONE)
        return "waiting";
    return vcpu->halted ? "halted" : "running";
}

static void put_vm_sample(const struct vm *vm)
{
    uint64_t values[MM_VM_COUNTER_COUNT];
    vm_counters(vm, values);
    json_object(&json, NULL);
    json_number(&json, "id", vm->index);
    json_string(&json, "name", vm_name(vm));
    json_string(&json, "state", state_name(vm));
    json_string(&json, "wait", mm_wait_name(vm->vcpus[0].mm.waiting));
    json_string(&json, "driver",
                mm_balloon_state_name((enum mm_balloon_state)values[MM_VM_balloon_state]));
    put_vm_work(vm);
    put_counters(vm_names, values, MM_VM_COUNTER_COUNT, false);
    json_object_end(&json);
}

static bool has_started(const struct vm *vm)
{
    return vm->state == VM_RUNNING || vm->state == VM_ENDED ||
           (vm->state == VM_ENDING && vm->end != VM_END_NONE);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void sample(void)
{
    uint64_t values[MM_HOST_COUNTER_COUNT];
    mm_host_counters(values);
    peak_metadata = larger(peak_metadata, values[MM_HOST_metadata_ppm]);
    peak_table = larger(peak_table, values[MM_HOST_table_ppm]);
    record_begin("sample");
    json_number(&json, "seq", sequence++);
    if (skipped_count)
        json_number(&json, "skipped", skipped_count);
    json_object(&json, "host");
    json_string(&json, "state", mm_state_name(mm_host_state()));
    json_number(&json, "idle_us", loop_idle_ns() / 1000);
    put_counters(host_names, values, MM_HOST_COUNTER_COUNT, false);
    json_object_end(&json);
    json_array(&json, "vms");
    for (unsigned i = 0; i < vm_table_count; i++)
        if (has_started(&vm_table[i]))
            put_vm_sample(&vm_table[i]);
    json_array_end(&json);
    json_end(&json);
}

/* A sample that would have to wait for the line is left out: the guests' time is
 * worth more. The next one tells how much time has passed. */
static void sample_due(struct timer *timer, uint64_t now)
{
    if (serial_room(SERIAL_TELEMETRY) >= SAMPLE_ROOM)
        sample();
    else
        skipped_count++;
    timer_set(timer, now + sample_ns);
}

/* ---- start ------------------------------------------------------------------------ */

static void put_text_of_cpu(const char *key, const uint32_t *words, unsigned count)
{
    char text[49];
    memcpy(text, words, count * sizeof(words[0]));
    text[count * sizeof(words[0])] = 0;
    const char *from = text;
    while (*from == ' ')
        from++;
    json_string(&json, key, from);
}

static void put_cpu_names(void)
{
    uint32_t words[12];
    struct x86_cpuid c = x86_cpuid(0, 0);
    words[0] = c.ebx, words[1] = c.edx, words[2] = c.ecx;
    put_text_of_cpu("vendor", words, 3);
    for (unsigned i = 0; i < 3; i++) {
        c = x86_cpuid(0x80000002u + i, 0);
        memcpy(words + 4 * i, &c, sizeof(c));
    }
    put_text_of_cpu("cpu", words, 12);
}

static void put_machine(uint64_t memory)
{
    json_object(&json, "machine");
    put_cpu_names();
    json_string(&json, "virtualization", vcpu_ops->name);
    json_array(&json, "features");
    for (unsigned i = 0; i < vcpu_features.count; i++)
        json_string(&json, NULL, vcpu_features.names[i]);
    json_array_end(&json);
    struct x86_cpuid c = x86_cpuid(1, 0);
    json_number(&json, "signature", c.eax);
    json_number(&json, "features_1_ecx", c.ecx);
    json_number(&json, "features_1_edx", c.edx);
    json_number(&json, "features_7_ebx", x86_cpuid(0, 0).eax >= 7 ? x86_cpuid(7, 0).ebx : 0);
    json_number(&json, "physical_bits", x86_cpuid(0x80000008u, 0).eax & 0xff);
    json_number(&json, "tsc_hz", clock_tsc_hz());
    json_number(&json, "lapic_hz", clock_lapic_hz());
    json_number(&json, "memory", memory);
    json_object_end(&json);
}

static void put_vm_start(const struct vm *vm)
{
    const struct config_vm *c = vm->config;
    json_object(&json, NULL);
    json_number(&json, "id", vm->index);
    json_string(&json, "name", c->name);
    json_number(&json, "memory", c->memory >> PAGE_SHIFT);
    json_number(&json, "reserve", c->reserve >> PAGE_SHIFT);
    json_number(&json, "limit", c->limit >> PAGE_SHIFT);
    json_number(&json, "shares", c->shares);
    json_number(&json, "cpu_shares", c->cpu_shares);
    json_string(&json, "group", c->share_group);
    json_bool(&json, "balloon", c->balloon);
    json_bool(&json, "started", has_started(vm));
    json_string(&json, "reason", has_started(vm) ? "" : vm->reason);
    json_object_end(&json);
}

static void put_host_config(const struct config_host *host)
{
    json_bool(&json, "keys_secret", !host->seeded);
    if (host->seeded)
        json_number(&json, "seed", host->seed);
    else
        json_null(&json, "seed");
    json_string(&json, "policy", host->policy);
    json_array(&json, "tiers");
    for (unsigned i = 0; i < MM_TIER_COUNT; i++)
        if (host->tiers[i])
            json_string(&json, NULL, mm_tier_name((enum mm_tier)i));
    json_array_end(&json);
    json_number(&json, "sample_ms", host->sample_ms);
}

void telemetry_start(const struct boot_info *boot, uint64_t memory)
{
    active = true;
    record_begin("start");
    json_number(&json, "schema", SCHEMA);
    json_string(&json, "version", BALLAST_VERSION);
    json_hex(&json, "config_hash", boot->config.hash);
    put_host_config(&boot->config.host);
    put_machine(memory);
    json_array(&json, "vms");
    for (unsigned i = 0; i < vm_table_count; i++)
        put_vm_start(&vm_table[i]);
    json_array_end(&json);
    json_end(&json);
    sample_ns =
        (uint64_t)(boot->config.host.sample_ms ? boot->config.host.sample_ms : 1) * 1000000u;
    timer_init(&sample_timer, sample_due, NULL);
    timer_set(&sample_timer, clock_now_ns() + sample_ns);
    for (unsigned i = 0; i < vm_table_count; i++) {
        if (!has_started(&vm_table[i]))
            continue;
        record_begin("event");
        json_string(&json, "event", "vm_start");
        json_string(&json, "vm", vm_name(&vm_table[i]));
        json_end(&json);
    }
}

/* ---- events ------------------------------------------------------------------------ */

static void event_begin(const char *event, const char *vm)
{
    record_begin("event");
    json_string(&json, "event", event);
    if (vm)
        json_string(&json, "vm", vm);
}

/* What guests can cause as often as they like never waits for the line. */
static bool is_frequent(enum mm_event_kind kind)
{
    return kind == MM_EVENT_STATE || kind == MM_EVENT_TARGET || kind == MM_EVENT_BALLOON;
}

void telemetry_memory_event(enum mm_event_kind kind, const char *vm, uint64_t a, uint64_t b)
{
    if (!active)
        return;
    if (is_frequent(kind) && serial_room(SERIAL_TELEMETRY) < SAMPLE_ROOM / 2) {
        events_skipped_count++;
        return;
    }
    switch (kind) {
    case MM_EVENT_STATE:
        event_begin("state", NULL);
        json_string(&json, "old", mm_state_name((enum mm_state)a));
        json_string(&json, "new", mm_state_name((enum mm_state)b));
        break;
    case MM_EVENT_TARGET:
        event_begin("target", vm);
        json_number(&json, "old", a);
        json_number(&json, "new", b);
        break;
    case MM_EVENT_BALLOON:
        event_begin("balloon", vm);
        json_string(&json, "old", mm_balloon_state_name((enum mm_balloon_state)a));
        json_string(&json, "new", mm_balloon_state_name((enum mm_balloon_state)b));
        break;
    case MM_EVENT_VICTIM:
        event_begin("victim", vm);
        json_number(&json, "above", a);
        break;
    case MM_EVENT_SWAP_ERROR:
        event_begin("swap_error", vm);
        if (!vm)
            json_null(&json, "vm");
        json_number(&json, "slot", a);
        json_string(&json, "status", swap_status_name((enum swap_status)b));
        break;
    case MM_EVENT_TIER_OFF:
        event_begin("tier_off", NULL);
        json_string(&json, "tier", mm_tier_name((enum mm_tier)a));
        break;
    case MM_EVENT_KIND_COUNT:
        return;
    }
    json_end(&json);
}

static void put_vm_verdict(const struct vm *vm)
{
    json_string(&json, "reason", vm->reason);
    if (vm->end == VM_END_STATUS)
        json_number(&json, "status", vm->status);
    else
        json_null(&json, "status");
}

void telemetry_vm_end(const struct vm *vm)
{
    if (!active)
        return;
    event_begin("vm_end", vm_name(vm));
    put_vm_verdict(vm);
    json_number(&json, "checked", vm->checked);
    json_number(&json, "mismatched", vm->mismatched);
    json_end(&json);
}

void telemetry_device(const struct vm *vm, const char *device, const char *reason)
{
    if (!active)
        return;
    event_begin("device", vm_name(vm));
    json_string(&json, "device", device);
    json_string(&json, "reason", reason);
    json_end(&json);
}

/* ---- end ---------------------------------------------------------------------------- */

void telemetry_keep_net(void)
{
    mm_host_counters(net_host);
}

static void put_result(const struct telemetry_result *result)
{
    json_string(&json, "result", result->ok ? "ok" : "failed");
    json_string(&json, "reason", result->reason);
    json_object(&json, "audit");
    json_number(&json, "violations", result->violations);
    json_string(&json, "first", result->first_violation);
    json_object_end(&json);
    json_object(&json, "net");
    json_number(&json, "share", net_host[NET(share)]);
    json_number(&json, "balloon", net_host[NET(balloon)]);
    json_number(&json, "compress", net_host[NET(compress)]);
    json_number(&json, "swap", net_host[NET(swap)]);
    json_object_end(&json);
}

static void put_end_host(void)
{
    uint64_t values[MM_HOST_COUNTER_COUNT], configured = 0;
    for (unsigned i = 0; i < vm_table_count; i++)
        if (has_started(&vm_table[i]))
            configured += vm_table[i].config->memory >> PAGE_SHIFT;
    mm_host_counters(values);
    json_number(&json, "configured", configured);
    json_number(&json, "managed", values[MM_HOST_frames_managed]);
    json_object(&json, "host");
    put_counters(host_names, values, MM_HOST_COUNTER_COUNT, true);
    json_object_end(&json);
    json_object(&json, "peak");
    json_number(&json, "metadata_ppm", peak_metadata);
    json_number(&json, "table_ppm", peak_table);
    json_object_end(&json);
    json_number(&json, "samples_skipped", skipped_count);
    json_number(&json, "events_skipped", events_skipped_count);
}

static void put_end_vm(const struct vm *vm)
{
    json_object(&json, NULL);
    json_number(&json, "id", vm->index);
    json_string(&json, "name", vm_name(vm));
    json_bool(&json, "started", has_started(vm));
    put_vm_verdict(vm);
    put_vm_work(vm);
    put_counters(vm_names, vm->last_counters, MM_VM_COUNTER_COUNT, true);
    json_object_end(&json);
}

void telemetry_end(const struct telemetry_result *result)
{
    if (!active)
        return;
    timer_cancel(&sample_timer);
    sample();
    record_begin("end");
    put_result(result);
    put_end_host();
    json_array(&json, "vms");
    for (unsigned i = 0; i < vm_table_count; i++)
        put_end_vm(&vm_table[i]);
    json_array_end(&json);
    json_end(&json);
    active = false;
}
