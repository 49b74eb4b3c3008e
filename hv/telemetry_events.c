/* The telemetry's event records, see telemetry.h. */
#include "drivers/serial.h"
#include "hv/telemetry.h"
#include "hv/telemetry_record.h"
#include "hv/vm.h"
#include "mm/swap.h"

static void event_begin(const char *event, const char *vm)
{
    record_begin("event");
    json_string(&record_json, "event", event);
    if (vm)
        json_string(&record_json, "vm", vm);
}

/* What guests can cause as often as they like never waits for the line. */
static bool is_frequent(enum mm_event_kind kind)
{
    return kind == MM_EVENT_STATE || kind == MM_EVENT_TARGET || kind == MM_EVENT_BALLOON;
}

void telemetry_memory_event(enum mm_event_kind kind, const char *vm, uint64_t a, uint64_t b)
{
    if (!record_active)
        return;
    if (is_frequent(kind) && serial_room(SERIAL_TELEMETRY) < RECORD_SAMPLE_ROOM / 2) {
        __atomic_fetch_add(&record_events_skipped, 1, __ATOMIC_RELAXED);
        return;
    }
    switch (kind) {
    case MM_EVENT_STATE:
        event_begin("state", NULL);
        json_string(&record_json, "old", mm_state_name((enum mm_state)a));
        json_string(&record_json, "new", mm_state_name((enum mm_state)b));
        break;
    case MM_EVENT_TARGET:
        event_begin("target", vm);
        json_number(&record_json, "old", a);
        json_number(&record_json, "new", b);
        break;
    case MM_EVENT_BALLOON:
        event_begin("balloon", vm);
        json_string(&record_json, "old", mm_balloon_state_name((enum mm_balloon_state)a));
        json_string(&record_json, "new", mm_balloon_state_name((enum mm_balloon_state)b));
        break;
    case MM_EVENT_VICTIM:
        event_begin("victim", vm);
        json_number(&record_json, "above", a);
        break;
    case MM_EVENT_SWAP_ERROR:
        event_begin("swap_error", vm);
        if (!vm)
            json_null(&record_json, "vm");
        json_number(&record_json, "slot", a);
        json_string(&record_json, "status", swap_status_name((enum swap_status)b));
        break;
    case MM_EVENT_TIER_OFF:
        event_begin("tier_off", NULL);
        json_string(&record_json, "tier", mm_tier_name((enum mm_tier)a));
        break;
    case MM_EVENT_KIND_COUNT:
        return;
    }
    record_end();
}

void telemetry_vm_end(const struct vm *vm)
{
    if (!record_active)
        return;
    event_begin("vm_end", vm_name(vm));
    record_put_verdict(vm);
    json_number(&record_json, "checked", vm->checked);
    json_number(&record_json, "mismatched", vm->mismatched);
    record_end();
}

void telemetry_device(const struct vm *vm, const char *device, const char *reason)
{
    if (!record_active)
        return;
    event_begin("device", vm_name(vm));
    json_string(&record_json, "device", device);
    json_string(&record_json, "reason", reason);
    record_end();
}
