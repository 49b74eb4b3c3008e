/*
 * The audit: every invariant, checked from the leaf entries outwards. No other
 * CPU may be in the core meanwhile: it takes the step lock and, but for range
 * locks, no other.
 *
 * Counts kept elsewhere (sharers, references) are checked without memory of its
 * own: every reference found takes one away, what is left must be zero, and a
 * second walk puts them back.
 */
#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/counted.h"
#include "mm/inflight.h"
#include "mm/nested.h"
#include "mm/pin.h"
#include "mm/pool.h"
#include "mm/share.h"
#include "mm/swap.h"
#include "mm/vm.h"
#include "mm/wait.h"

#define LOGGED_MAX 8u

struct audit {
    unsigned violations;
    char *first;
    size_t first_size;
    int sign; /* -1: take references away; +1: put them back */
    uint32_t homes[HOME_COUNT];
    uint32_t tables, private_frames, large;
    uint64_t leaf_slots, leaf_slot_sum; /* of leaves, objects, records */
    uint64_t slots, slot_sum;           /* of the swap area's own books */
    uint64_t leaf_objects, objects;
};

static void report(struct audit *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void report(struct audit *a, const char *format, ...)
{
    char line[160];
    va_list args;
    va_start(args, format);
    fmt_vprint(line, sizeof(line), format, args);
    va_end(args);
    if (a->violations == 0 && a->first)
        fmt_print(a->first, a->first_size, "%s", line);
    if (a->violations++ < LOGGED_MAX)
        log_error("audit: %s", line);
}

static uint64_t mix(uint32_t slot)
{
    return (slot + 1ull) * 0x9e3779b97f4a7c15ull;
}

static void slot_named(struct audit *a, swap_slot_t slot)
{
    a->leaf_slots++;
    a->leaf_slot_sum += mix(slot.v);
}

/* ---- leaves --------------------------------------------------------------------------- */

static void check_private(struct audit *a, const struct mm_vm *vm, gfn_t page, entry_t entry)
{
    const struct frame *frame = frame_at(entry_frame(entry));
    a->private_frames++;
    if (!frame || frame->kind != FRAME_PRIVATE)
        report(a, "%s: page %u maps a frame that is not PRIVATE", vm->name, page.v);
    else if (frame->tag != vm->id || frame->private.gfn != page.v)
        report(a, "%s: page %u maps a frame of VM %u page %u", vm->name, page.v, frame->tag,
               frame->private.gfn);
    else if (!entry_is_writable(entry) && clean_slot(frame).v == SWAP_SLOT_NONE.v)
        report(a, "%s: page %u is PRIVATE and read-only", vm->name, page.v);
    else if (clean_slot(frame).v != SWAP_SLOT_NONE.v)
        slot_named(a, clean_slot(frame));
}

static void check_shared(struct audit *a, const struct mm_vm *vm, gfn_t page, entry_t entry)
{
    struct frame *frame = frame_at(entry_frame(entry));
    if (!frame || frame->kind != FRAME_SHARED) {
        report(a, "%s: page %u maps a frame that is not SHARED", vm->name, page.v);
        return;
    }
    frame->shared.count += (uint32_t)a->sign;
    if (entry_is_writable(entry))
        report(a, "%s: page %u is SHARED and writable", vm->name, page.v);
    if (frame->tag != vm->config.salt)
        report(a, "%s: page %u is shared across salts", vm->name, page.v);
}

static void check_busy(struct audit *a, const struct mm_vm *vm, gfn_t page, entry_t entry)
{
    struct inflight *record = inflight_at(entry_payload(entry));
    if (record->vm != vm || record->gfn.v != page.v) {
        report(a, "%s: page %u names a record of another page", vm->name, page.v);
        return;
    }
    switch (record->kind) {
    case INFLIGHT_OUT_PRIVATE:
        a->private_frames++;
        slot_named(a, record->io.slot);
        break;
    case INFLIGHT_OUT_SHARED:
        frame_at(record->frame)->shared.count += (uint32_t)a->sign;
        counted_at(record->object)->refs += (uint32_t)a->sign;
        slot_named(a, record->io.slot);
        break;
    case INFLIGHT_OUT_POOL:
        a->leaf_objects++;
        slot_named(a, record->io.slot);
        break;
    case INFLIGHT_IN_SWAP:
    case INFLIGHT_IN_AHEAD:
        a->private_frames++;
        slot_named(a, record->slot);
        break;
    case INFLIGHT_IN_COUNTED:
        a->private_frames++;
        counted_at(record->object)->refs += (uint32_t)a->sign;
        break;
    default:
        report(a, "%s: page %u names a record of no page", vm->name, page.v);
    }
}

static void visit_leaf(void *context, struct mm_vm *vm, gfn_t page, entry_t entry)
{
    struct audit *a = context;
    enum home home = entry_home(entry);
    if (home >= HOME_COUNT || (home == HOME_NONE) != (page.v >= vm->config.pages)) {
        report(a, "%s: page %u has no home", vm->name, page.v);
        return;
    }
    a->homes[home]++;
    switch (home) {
    case HOME_PRIVATE:
        check_private(a, vm, page, entry);
        break;
    case HOME_SHARED:
        check_shared(a, vm, page, entry);
        break;
    case HOME_FILL:
        vm->fill.refs[entry_payload(entry) % FILL_WORDS] += (uint32_t)a->sign;
        break;
    case HOME_POOL:
        a->leaf_objects++;
        break;
    case HOME_SWAP:
        slot_named(a, (swap_slot_t){ (uint32_t)entry_payload(entry) });
        break;
    case HOME_COUNTED:
        counted_at(entry_payload(entry))->refs += (uint32_t)a->sign;
        break;
    case HOME_BUSY_OUT:
    case HOME_BUSY_IN:
        check_busy(a, vm, page, entry);
        break;
    default:
        break;
    }
}

static void visit_table(void *context, struct mm_vm *vm, pfn_t table, unsigned level,
                        struct nested_count count)
{
    struct audit *a = context;
    const struct frame *frame = frame_at(table);
    a->tables++;
    if (frame->kind != FRAME_TABLE || frame->tag != vm->id) {
        report(a, "%s: a table of level %u is not its own", vm->name, level);
        return;
    }
    if (frame->table.entries != count.entries)
        report(a, "%s: a table of level %u counts %u entries and has %u", vm->name, level,
               frame->table.entries, count.entries);
    if (level == 1 && frame->table.present != count.present)
        report(a, "%s: a table counts %u pages in memory and has %u", vm->name,
               frame->table.present, count.present);
    if (level == 1 && count.entries == 0)
        report(a, "%s: an empty leaf table did not collapse", vm->name);
    if (count.unsafe > 0)
        report(a, "%s: %u entries could be taken for addresses", vm->name, count.unsafe);
}

static void visit_large(void *context, struct mm_vm *vm, gfn_t first, uint32_t astray)
{
    struct audit *a = context;
    a->large++;
    if (astray > 0)
        report(a, "%s: %u pages of the large mapping at page %u are elsewhere", vm->name, astray,
               first.v);
}

static void visit_pin(void *context, pfn_t merged)
{
    struct audit *a = context;
    struct frame *frame = frame_at(merged);
    if (!frame || frame->kind != FRAME_SHARED)
        report(a, "a pin holds a frame that is not SHARED");
    else
        frame->shared.count += (uint32_t)a->sign;
}

static void check_vm(struct audit *a, struct mm_vm *vm)
{
    memset(a->homes, 0, sizeof(a->homes));
    uint32_t tables_before = a->tables, large_before = a->large;
    nested_audit(vm, a, visit_leaf, visit_table, visit_large);
    pin_audit(vm, visit_pin, a);
    if (a->tables - tables_before != vm->tables)
        report(a, "%s: charged for %u tables, has %u", vm->name, vm->tables,
               a->tables - tables_before);
    if (a->large - large_before != vm->large)
        report(a, "%s: counts %u large mappings and has %u", vm->name, vm->large,
               a->large - large_before);
    /* Pages without a leaf table are ZERO. */
    uint32_t seen = 0;
    for (unsigned home = HOME_ZERO; home < HOME_COUNT; home++)
        seen += a->homes[home];
    a->homes[HOME_ZERO] += vm->config.pages - seen;
    for (unsigned home = HOME_ZERO; home < HOME_COUNT; home++)
        if (a->homes[home] != vm->homes[home])
            report(a, "%s: counts %u pages %s and has %u", vm->name, vm->homes[home],
                   home_name((enum home)home), a->homes[home]);
    for (unsigned i = 0; i < FILL_WORDS; i++)
        if (vm->fill.refs[i] != 0)
            report(a, "%s: fill word %u has references left over", vm->name, i);
}

/* Records that belong to no leaf: a counted object on its way to swap. */
static void check_records(struct audit *a)
{
    for (unsigned i = 0; i < INFLIGHT_COUNT; i++) {
        const struct inflight *record = inflight_peek(i);
        if (!record || record->kind != INFLIGHT_OUT_COUNTED)
            continue;
        counted_at(record->object)->refs += (uint32_t)a->sign;
        slot_named(a, record->io.slot);
    }
}

static void check_objects(struct audit *a)
{
    for (uint32_t i = 0; i < COUNTED_MAX; i++) {
        const struct counted *object = counted_peek(i);
        if (!object)
            continue;
        if (object->refs != 0)
            report(a, "counted object %u has references left over", i);
        if (object->state == COUNTED_SWAP)
            slot_named(a, object->slot);
        if (object->state == COUNTED_POOL || object->state == COUNTED_LEAVING)
            a->leaf_objects++;
        const struct frame *frame = pfn_is_none(object->frame) ? NULL : frame_at(object->frame);
        if (frame && (frame->kind != FRAME_SHARED || !frame_has(frame, FRAME_OBJECT) ||
                      frame->shared.link != i))
            report(a, "counted object %u names a frame that does not name it", i);
    }
}

static void check_shared_frames(struct audit *a)
{
    for (uint32_t i = 0; i < frame_total_count(); i++) {
        const struct frame *frame = frame_by_index(i);
        if (frame->kind == FRAME_SHARED && frame->shared.count != 0)
            report(a, "merged frame %u has %d sharers left over", frame_number(frame).v,
                   (int)frame->shared.count);
    }
}

static void put_back(void)
{
    struct audit silent = { .sign = 1, .violations = LOGGED_MAX };
    for (unsigned i = 0; i < vm_live_count(); i++) {
        nested_audit(vm_live(i), &silent, visit_leaf, NULL, NULL);
        pin_audit(vm_live(i), visit_pin, &silent);
    }
    check_records(&silent);
}

/* ---- the stores ------------------------------------------------------------------------------ */

static bool leaf_names(struct pool_owner owner, pool_location_t at)
{
    struct mm_vm *vm = vm_at(owner.vm);
    struct leaf leaf;
    if (!vm || owner.gfn >= vm->config.pages)
        return false;
    nested_lock(vm, gfn(owner.gfn), NESTED_LOOK, &leaf);
    bool names = entry_home(leaf.entry) == HOME_POOL && entry_payload(leaf.entry) == at.v;
    if (entry_home(leaf.entry) == HOME_BUSY_OUT) {
        const struct inflight *record = inflight_at(entry_payload(leaf.entry));
        names = record->kind == INFLIGHT_OUT_POOL && record->location.v == at.v;
    }
    nested_unlock(&leaf);
    return names;
}

static bool visit_object(struct pool_owner owner, pool_location_t at, void *context)
{
    struct audit *a = context;
    a->objects++;
    bool named;
    if (owner.vm == POOL_OWNER_COUNTED) {
        const struct counted *object = counted_peek(owner.gfn);
        named = object && (object->state == COUNTED_POOL || object->state == COUNTED_LEAVING) &&
                object->location.v == at.v;
    } else {
        named = leaf_names(owner, at);
    }
    if (!named)
        report(a, "pool object of VM %u page %u is named by nobody", owner.vm, owner.gfn);
    return true;
}

static void visit_slot(swap_slot_t slot, void *context)
{
    struct audit *a = context;
    a->slots++;
    a->slot_sum += mix(slot.v);
}

static void check_stores(struct audit *a)
{
    if (!pool_audit(visit_object, a))
        report(a, "the pool's log is damaged");
    if (a->objects != a->leaf_objects)
        report(a, "%lu pool objects for %lu references", (unsigned long)a->objects,
               (unsigned long)a->leaf_objects);
    swap_audit(visit_slot, a);
    if (a->slots != a->leaf_slots || a->slot_sum != a->leaf_slot_sum)
        report(a, "%lu swap slots in use for %lu references", (unsigned long)a->slots,
               (unsigned long)a->leaf_slots);
}

unsigned mm_audit(char *first, size_t first_size)
{
    struct audit a = { .first = first, .first_size = first_size, .sign = -1 };
    uint32_t shared_leaves = 0;
    if (first && first_size > 0)
        first[0] = '\0';
    spin_lock(&core.step_lock);
    for (unsigned i = 0; i < vm_live_count(); i++) {
        check_vm(&a, vm_live(i));
        shared_leaves += vm_live(i)->homes[HOME_SHARED];
    }
    check_records(&a);
    check_objects(&a);
    check_shared_frames(&a);
    put_back();
    if (shared_leaves != core.shared_leaves)
        report(&a, "%u shared leaves counted, %u there", core.shared_leaves, shared_leaves);
    if (a.private_frames != frame_kind_count(FRAME_PRIVATE))
        report(&a, "%u private frames for %u pages", frame_kind_count(FRAME_PRIVATE),
               a.private_frames);
    if (a.large != core.large)
        report(&a, "%u large mappings counted, %u there", core.large, a.large);
    if (a.tables != frame_kind_count(FRAME_TABLE))
        report(&a, "%u table frames for %u tables", frame_kind_count(FRAME_TABLE), a.tables);
    const char *wrong = frame_audit();
    if (!wrong)
        wrong = share_audit();
    if (wrong)
        report(&a, "%s", wrong);
    check_stores(&a);
    spin_unlock(&core.step_lock);
    return a.violations;
}
