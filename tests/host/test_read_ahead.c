/*
 * Reading ahead from swap: fewer waits for who reads in order, nothing for who does not,
 * nothing under pressure, and no trace of what goes wrong.
 */
#include <stdio.h>
#include <string.h>

#include "mm/clean.h"
#include "mm/inflight.h"
#include "mm/pagein.h"
#include "mm/reclaim.h"
#include "mm/swap_area.h"
#include "mm/wait.h"
#include "tests/host/homes.h"

#define PAGES 400u

static struct sim_vm *vm, *other;

static struct sim_settings settings;
static void settings_make(uint64_t seed)
{
    sim_settings_default(&settings, seed);
    settings.frames = 700;
    settings.disk_pages = 2400;
    settings.interleave = 0;
    settings.core.tiers[MM_TIER_SHARE] = settings.core.tiers[MM_TIER_COMPRESS] =
        settings.core.tiers[MM_TIER_BALLOON] = false;
}

static void squeeze(void)
{
    other = sim_vm_greedy(620);
    for (uint32_t g = 0; g < 620; g++)
        sim_write(other, g, SIM_NOISE, 5000 + g);
    sim_settle();
}

/* A VM whose pages were pushed out, and then memory is plenty. */
static void start(void)
{
    sim_start(&settings);
    vm = sim_vm_simple(PAGES);
    for (uint32_t g = 0; g < PAGES; g++)
        sim_write(vm, g, SIM_NOISE, g);
    squeeze();
    sim_vm_remove(other);
    sim_settle();
    assert_true(sim_vm_counter(vm, MM_VM_swap) > 200);
}

struct figures {
    uint64_t waits, requests, pages, hit, wasted, issued, faults;
};

static struct figures now(void)
{
    return (struct figures){
        .waits = sim.waits,
        .requests = sim_host_counter(MM_HOST_swap_reads),
        .pages = sim_host_counter(MM_HOST_swap_pages_read),
        .hit = sim_host_counter(MM_HOST_ahead_hit),
        .wasted = sim_host_counter(MM_HOST_ahead_wasted),
        .issued = sim_host_counter(MM_HOST_ahead_issued),
        .faults = sim_vm_counter(vm, MM_VM_faults_swap),
    };
}

static struct figures since(struct figures before)
{
    struct figures f = now();
    f.waits -= before.waits, f.requests -= before.requests, f.pages -= before.pages;
    f.hit -= before.hit, f.wasted -= before.wasted, f.issued -= before.issued;
    f.faults -= before.faults;
    return f;
}

/* All pages in order, each given time to come. */
static struct figures read_in_order(int direction)
{
    struct figures before = now();
    for (uint32_t n = 0; n < PAGES; n++) {
        sim_read(vm, direction > 0 ? n : PAGES - 1 - n);
        sim_settle();
    }
    sim_oracle(true);
    return since(before);
}

static struct figures in_order_with(unsigned most, int direction)
{
    settings_make(61);
    settings.core.swap_read_ahead = most;
    start();
    struct figures f = read_in_order(direction);
    printf("figure: read ahead %2u, %s: %llu pages came in with %llu waits and %llu requests\n",
           most, direction > 0 ? "forward" : "backward", (unsigned long long)f.pages,
           (unsigned long long)f.waits, (unsigned long long)f.requests);
    sim_verify(vm);
    sim_stop();
    return f;
}

static void fewer_waits(void **state)
{
    (void)state;
    for (int direction = 1; direction >= -1; direction -= 2) {
        struct figures off = in_order_with(0, direction), eight = in_order_with(8, direction),
                       most = in_order_with(MM_READ_AHEAD_MAX, direction);
        assert_int_equal(off.issued, 0);
        assert_int_equal(off.waits, off.pages);
        assert_true(eight.waits * 4 < off.waits);
        assert_true(eight.requests * 3 < off.requests);
        assert_true(most.waits < eight.waits);
        assert_int_equal(eight.wasted + most.wasted, 0);
        assert_true(eight.hit + 8 >= eight.issued);
        assert_int_equal(eight.pages, off.pages);
    }
}

/* Without accessed bits nothing would tell use from waste. */
static void needs_accessed_bits(void **state)
{
    (void)state;
    settings_make(62);
    settings.core.accessed_dirty = false;
    start();
    assert_int_equal(read_in_order(1).issued, 0);
    sim_stop();
}

/* Pairs of pages, far from each other: what follows them is never used. */
static void read_pairs(uint32_t first)
{
    for (uint32_t g = first; g + 1 < PAGES; g += 16)
        for (uint32_t n = 0; n < 2; n++) {
            sim_read(vm, g + n);
            sim_settle();
        }
}

static void waste_is_bounded(void **state)
{
    (void)state;
    settings_make(63);
    start();
    struct figures before = now();
    read_pairs(0);
    /* Nobody looks at the pages, so none is judged: it ends by itself. */
    struct figures f = since(before);
    assert_true(f.issued > 0 && f.issued <= 4 * 8 + 8);
    /* They leave without a write. */
    uint64_t written = sim_host_counter(MM_HOST_swap_pages_written);
    uint32_t clean = clean_count();
    assert_true(clean >= f.issued);
    squeeze();
    sim_vm_remove(other);
    sim_settle();
    assert_true(sim_host_counter(MM_HOST_swap_unwritten) >= f.issued / 2);
    assert_true(sim_host_counter(MM_HOST_swap_pages_written) - written < 620);
    f = since(before);
    assert_true(f.wasted > f.issued / 2);
    /* Again and again: the window falls to nothing, and only a trial is made. */
    for (uint32_t i = 0; i < 10; i++) {
        read_pairs(i % 2 ? 0 : 8);
        squeeze();
        sim_vm_remove(other);
        sim_settle();
    }
    assert_true(sim_vm_counter(vm, MM_VM_ahead_window) <= 1);
    before = now();
    read_pairs(8);
    assert_true(since(before).issued <= PAGES / 16 / 2);
    /* Who reads in order afterwards gets it back. */
    squeeze();
    sim_vm_remove(other);
    sim_settle();
    read_in_order(1);
    assert_true(sim_vm_counter(vm, MM_VM_ahead_window) >= 4);
    sim_verify(vm);
    sim_stop();
}

/* issued = hit + wasted + not known yet, whatever happens. */
static void books(void)
{
    struct figures f = now();
    assert_true(f.hit + f.wasted <= f.issued);
    assert_true(f.issued - f.hit - f.wasted <= PAGES);
}

static void not_under_pressure(void **state)
{
    (void)state;
    settings_make(64);
    sim_start(&settings);
    vm = sim_vm_simple(PAGES);
    for (uint32_t g = 0; g < PAGES; g++)
        sim_write(vm, g, SIM_NOISE, g);
    squeeze();
    /* The other one is entitled to all that is there: vm is above its target. */
    struct figures before = now();
    for (uint32_t g = 0; g < PAGES; g++) {
        uint64_t issued = sim_host_counter(MM_HOST_ahead_issued);
        bool above = sim_vm_counter(vm, MM_VM_resident) >= sim_vm_counter(vm, MM_VM_target);
        enum mm_state state_then = mm_host_state();
        struct sim_vcpu *vcpu = &vm->vcpus[0];
        vcpu->op = (struct sim_op){ .kind = SIM_READ, .gfn = g };
        sim_vcpu_try(vcpu);
        if (above || state_then > MM_CLEAR)
            assert_int_equal(sim_host_counter(MM_HOST_ahead_issued), issued);
        sim_do(vcpu, vcpu->op);
    }
    printf("figure: read ahead under pressure: %llu of %llu pages\n",
           (unsigned long long)since(before).issued, (unsigned long long)since(before).pages);
    books();
    sim_verify(vm);
    sim_stop();
}

static void below_a_limit(void **state)
{
    (void)state;
    settings_make(65);
    sim_start(&settings);
    struct mm_vm_config config;
    sim_vm_config_default(&config, PAGES);
    config.limit_pages = 200;
    vm = sim_vm_add(&config);
    for (uint32_t g = 0; g < PAGES; g++)
        sim_write(vm, g, SIM_NOISE, g);
    sim_settle();
    struct figures before = now();
    for (unsigned round = 0; round < 3; round++)
        for (uint32_t g = 0; g < PAGES; g++) {
            sim_read(vm, g);
            sim_settle();
            assert_true(sim_vm_counter(vm, MM_VM_resident) <= 200);
        }
    struct figures f = since(before);
    printf("figure: read ahead below a limit of half: %llu pages with %llu waits\n",
           (unsigned long long)f.pages, (unsigned long long)f.waits);
    assert_true(f.waits * 2 < f.pages);
    books();
    sim_verify(vm);
    sim_stop();
}

/* Every group fails, the pages asked for do not: nobody notices. */
static void failures_are_silent(void **state)
{
    (void)state;
    settings_make(66);
    start();
    uint64_t events = sim.events[MM_EVENT_SWAP_ERROR],
             tried = sim_host_counter(MM_HOST_swap_retries);
    for (uint32_t g = 0; g < PAGES; g++) {
        uint64_t reads = sim.disk.reads;
        sim.disk.fail_read_first = reads + 2; /* the group behind the page */
        sim.disk.fail_read_count = 1;
        sim_read(vm, g);
        sim_settle();
    }
    sim_disk_heal();
    struct figures f = now();
    assert_true(f.issued > 0 && f.wasted == f.issued);
    assert_true(sim_host_counter(MM_HOST_swap_read_errors) > 0);
    assert_int_equal(sim_host_counter(MM_HOST_swap_retries), tried);
    assert_int_equal(sim.events[MM_EVENT_SWAP_ERROR], events);
    assert_false(vm->stopped);
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

/* Whatever comes back instead of a group's extents is not mapped; once the disk tells
 * the truth again, so do the pages. */
static void damage_is_not_mapped(void **state)
{
    (void)state;
    settings_make(67);
    start();
    uint64_t seen = 0;
    for (uint32_t g = 0; g < PAGES; g++) {
        struct sim_vcpu *vcpu = &vm->vcpus[0];
        vcpu->op = (struct sim_op){ .kind = SIM_READ, .gfn = g };
        uint64_t issued = sim_host_counter(MM_HOST_ahead_issued);
        if (sim_vcpu_try(vcpu) == MM_WAIT) {
            sim_disk_complete(); /* the page, intact */
            if (sim_host_counter(MM_HOST_ahead_issued) > issued) {
                sim.disk.damage = SIM_STALE;
                sim.disk.damage_count = 1;
                seen++;
            }
            sim_disk_complete();
            sim.disk.damage = SIM_INTACT;
        }
        sim_do(vcpu, vcpu->op);
        sim_settle();
    }
    assert_true(seen > 3);
    assert_true(now().wasted > 0);
    assert_int_equal(sim_host_counter(MM_HOST_swap_tampered), 0);
    assert_false(vm->stopped);
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

/* Brings vm to a group with the device whose first page is *page. */
static void group_under_way(uint32_t *page)
{
    struct sim_vcpu *vcpu = &vm->vcpus[0];
    for (uint32_t g = 0; g < PAGES; g++) {
        uint64_t issued = sim_host_counter(MM_HOST_ahead_issued);
        vcpu->op = (struct sim_op){ .kind = SIM_READ, .gfn = g };
        sim_vcpu_try(vcpu);
        if (sim_host_counter(MM_HOST_ahead_issued) > issued) {
            assert_int_equal(sim.disk.queued, 2);
            assert_int_equal(homes_of(vm, g), HOME_BUSY_IN);
            assert_int_equal(homes_of(vm, g + 1), HOME_BUSY_IN);
            *page = g + 1;
            return;
        }
        sim_do(vcpu, vcpu->op);
        sim_settle();
    }
    sim_fail("nothing is read ahead");
}

/* A vCPU that comes to a page on its way waits for it, and gets it onto its floor. */
static void waited_for(void **state)
{
    (void)state;
    settings_make(68);
    start();
    uint32_t page;
    group_under_way(&page);
    sim_disk_complete(); /* the page asked for */
    struct sim_vcpu *vcpu = &vm->vcpus[0];
    sim_do(vcpu, vcpu->op);
    struct figures before = now();
    sim_read(vm, page);
    assert_int_equal(since(before).hit, 1);
    unsigned level;
    entry_t entry = { sim_peek(vm, page, &level) };
    assert_true(frame_has(frame_at(entry_frame(entry)), FRAME_PROTECTED));
    assert_false(entry_is_ahead(entry));
    entry.v = sim_peek(vm, page + 1, &level);
    assert_true(entry_is_ahead(entry) && !entry_is_used(entry));
    assert_true(frame_has(frame_at(entry_frame(entry)), FRAME_COLD));
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

static void is_written(struct swap_io *io, enum swap_status status)
{
    assert_int_equal(status, SWAP_OK);
    io->size = 0;
}

/* Of two extents with more between them than they have, one is read; of one that is
 * not on the disk yet, none. */
static void far_apart(void **state)
{
    (void)state;
    settings_make(72);
    start();
    sim_settle();
    swap_slot_t slots[2];
    struct swap_extent extents[2];
    uint32_t generation, most = swap.cluster_cells * SWAP_CELL_SECTORS;
    unsigned level, count = 0;
    static uint8_t content[PAGE_SIZE];
    for (uint32_t g = 0; g < PAGES && count < 2; g++) {
        if (homes_of(vm, g) != HOME_SWAP)
            continue;
        slots[count].v = (uint32_t)entry_payload((entry_t){ sim_peek(vm, g, &level) });
        assert_true(swap_slots_look(&swap.slots, slots[count], &extents[count], &generation));
        uint32_t apart = extents[count].sector - extents[0].sector;
        count += count == 0 || (apart > 5 * SWAP_CELL_SECTORS && apart < most - SWAP_CELL_SECTORS);
    }
    assert_int_equal(count, 2);
    assert_int_equal(swap_ahead_choose(slots, 1), 1);
    assert_int_equal(swap_ahead_choose(slots, 2), 1);
    struct swap_io io = { .done = is_written };
    sim_content_make(SIM_NOISE, 1, content);
    SIM_CORE(assert_int_equal(swap_write(&io, content, PAGE_SIZE, false), SWAP_OK));
    assert_int_equal(swap_ahead_choose(&io.slot, 1), 0);
    SIM_CORE(swap_write_flush());
    while (sim_disk_complete())
        ;
    assert_int_equal(io.size, 0);
    assert_int_equal(swap_ahead_choose(&io.slot, 1), 1);
    SIM_CORE(swap_slot_free(io.slot));
    sim_oracle(true);
    sim_stop();
}

/* The group's answer before the page's, the VM's end in between, a stray answer. */
static void any_order(void **state)
{
    (void)state;
    settings_make(69);
    start();
    uint32_t page;
    group_under_way(&page);
    sim.disk.order = SIM_LIFO;
    sim_disk_complete();
    assert_int_equal(homes_of(vm, page), HOME_PRIVATE);
    assert_int_equal(homes_of(vm, page - 1), HOME_BUSY_IN);
    /* A second answer to what has been answered is nobody's. */
    uint64_t strays = swap.counts.strays;
    for (unsigned i = 0; i < SWAP_GROUP_COUNT; i++)
        SIM_CORE(swap_ahead_done(&swap.groups[i].request));
    assert_int_equal(swap.counts.strays, strays + SWAP_GROUP_COUNT);
    sim_disk_complete();
    struct sim_vcpu *vcpu = &vm->vcpus[0];
    sim_do(vcpu, vcpu->op);
    sim_settle();
    sim.disk.order = SIM_FIFO;
    sim_oracle(true);
    group_under_way(&page);
    sim_disk_complete();
    assert_false(sim_vm_try_remove(vm));
    sim_disk_complete();
    assert_true(sim_vm_try_remove(vm));
    assert_int_equal(sim_host_counter(MM_HOST_swap_slots), 0);
    assert_int_equal(sim_host_counter(MM_HOST_ahead_issued),
                     sim_host_counter(MM_HOST_ahead_hit) + sim_host_counter(MM_HOST_ahead_wasted));
    sim_oracle(true);
    sim_stop();
}

static void device_gone(void **state)
{
    (void)state;
    settings_make(70);
    start();
    uint32_t page;
    sim.stop_allowed = true;
    group_under_way(&page);
    sim_disk_complete();
    sim.disk.gone = true;
    sim_disk_complete();
    assert_int_equal(homes_of(vm, page), HOME_SWAP);
    assert_false(vm->stopped);
    assert_int_equal(sim_host_counter(MM_HOST_swap_online), 0);
    sim_oracle(true);
    sim_stop();
}

/* Another VM's page is asked for: nothing is read ahead while the device has that to do. */
static void others_first(void **state)
{
    (void)state;
    settings_make(71);
    settings.frames = 900;
    sim_start(&settings);
    vm = sim_vm_simple(PAGES);
    struct sim_vm *second = sim_vm_simple(PAGES);
    for (uint32_t g = 0; g < PAGES; g++) {
        sim_write(vm, g, SIM_NOISE, g);
        sim_write(second, g, SIM_NOISE, 900 + g);
    }
    squeeze();
    sim_vm_remove(other);
    sim_settle();
    sim.disk.device.queue_depth = 1;
    unsigned both = 0;
    for (uint32_t g = 0; g < PAGES; g++) {
        struct sim_vcpu *one = &second->vcpus[0], *two = &vm->vcpus[0];
        one->op = (struct sim_op){ .kind = SIM_READ, .gfn = PAGES - 1 - g };
        two->op = (struct sim_op){ .kind = SIM_READ, .gfn = g };
        enum mm_answer first = sim_vcpu_try(one);
        uint64_t issued = sim_host_counter(MM_HOST_ahead_issued);
        if (first == MM_WAIT && sim_vcpu_try(two) == MM_WAIT) {
            assert_int_equal(sim_host_counter(MM_HOST_ahead_issued), issued);
            both++;
        }
        sim_do(one, one->op);
        sim_do(two, two->op);
        sim_settle();
    }
    assert_true(both > 2);
    sim_verify(vm);
    sim_verify(second);
    sim_stop();
}

/* ---- refused on the way (host.mk wraps these) -------------------------------------------- */

enum refusal { NOTHING, SLOT, CONTENT, START, RECORD, FRAME, ROOM };
static enum refusal refusal;
static unsigned refused; /* so often */
static bool record_taken, room_asked;

static bool is_refused(enum refusal what)
{
    refused += refusal == what;
    return refusal == what;
}

bool __real_clean_keep(pfn_t number, swap_slot_t slot);
bool __wrap_clean_keep(pfn_t number, swap_slot_t slot);
bool __wrap_clean_keep(pfn_t number, swap_slot_t slot)
{
    return !is_refused(SLOT) && __real_clean_keep(number, slot);
}

bool __real_pagein_unpack(const struct swap_io *io, pfn_t frame);
bool __wrap_pagein_unpack(const struct swap_io *io, pfn_t frame);
bool __wrap_pagein_unpack(const struct swap_io *io, pfn_t frame)
{
    return !is_refused(CONTENT) && __real_pagein_unpack(io, frame);
}

enum swap_status __real_swap_ahead_start(struct swap_io *const ios[], unsigned count);
enum swap_status __wrap_swap_ahead_start(struct swap_io *const ios[], unsigned count);
enum swap_status __wrap_swap_ahead_start(struct swap_io *const ios[], unsigned count)
{
    return is_refused(START) ? SWAP_BUSY : __real_swap_ahead_start(ios, count);
}

struct inflight *__real_inflight_take(enum inflight_kind kind, struct mm_vm *of);
struct inflight *__wrap_inflight_take(enum inflight_kind kind, struct mm_vm *of);
struct inflight *__wrap_inflight_take(enum inflight_kind kind, struct mm_vm *of)
{
    if (kind == INFLIGHT_IN_AHEAD && is_refused(RECORD))
        return NULL;
    record_taken = kind == INFLIGHT_IN_AHEAD;
    return __real_inflight_take(kind, of);
}

pfn_t __real_frame_alloc(enum frame_kind kind, enum frame_urgency urgency);
pfn_t __wrap_frame_alloc(enum frame_kind kind, enum frame_urgency urgency);
pfn_t __wrap_frame_alloc(enum frame_kind kind, enum frame_urgency urgency)
{
    bool ahead = record_taken;
    record_taken = false;
    return ahead && is_refused(FRAME) ? PFN_NONE : __real_frame_alloc(kind, urgency);
}

uint32_t __real_reclaim_room(void);
uint32_t __wrap_reclaim_room(void);
uint32_t __wrap_reclaim_room(void)
{
    room_asked = true;
    return __real_reclaim_room();
}

bool __real_wait_for_frames(void);
bool __wrap_wait_for_frames(void);
bool __wrap_wait_for_frames(void)
{
    bool asked = room_asked;
    room_asked = false;
    return (asked && is_refused(ROOM)) || __real_wait_for_frames();
}

/* Whatever is refused, pages come in by themselves, as they were. */
static void each_refusal(void **state)
{
    (void)state;
    for (enum refusal what = SLOT; what <= ROOM; what++) {
        settings_make(80 + what);
        start();
        refusal = what;
        refused = 0;
        struct figures before = now();
        for (uint32_t g = 0; g < PAGES; g++) {
            sim_read(vm, g); /* also of pages that are on their way */
            if (g % 3 == 0)
                sim_settle();
        }
        refusal = NOTHING;
        struct figures f = since(before);
        assert_true(refused > 0);
        if (what == SLOT || what == CONTENT)
            assert_true(f.issued > 0 && f.wasted > 0);
        else
            assert_int_equal(f.issued, 0);
        sim_settle();
        sim_oracle(true);
        sim_verify(vm);
        sim_stop();
    }
}

/* A window of one page: a trial is no larger. */
static void one_page_at_most(void **state)
{
    (void)state;
    settings_make(90);
    settings.core.swap_read_ahead = 1;
    start();
    struct figures before = now();
    for (uint32_t n = 0; n < PAGES; n += 2) { /* every other page: nothing is of use */
        sim_read(vm, n);
        sim_settle();
    }
    squeeze();
    sim_vm_remove(other);
    for (uint32_t n = 0; n < PAGES; n++) {
        sim_read(vm, n);
        sim_settle();
    }
    assert_true(since(before).issued > 0);
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fewer_waits),
        cmocka_unit_test(needs_accessed_bits),
        cmocka_unit_test(waste_is_bounded),
        cmocka_unit_test(not_under_pressure),
        cmocka_unit_test(below_a_limit),
        cmocka_unit_test(failures_are_silent),
        cmocka_unit_test(damage_is_not_mapped),
        cmocka_unit_test(waited_for),
        cmocka_unit_test(far_apart),
        cmocka_unit_test(any_order),
        cmocka_unit_test(device_gone),
        cmocka_unit_test(others_first),
        cmocka_unit_test(each_refusal),
        cmocka_unit_test(one_page_at_most),
    };
    return cmocka_run_group_tests_name("read_ahead", tests, NULL, NULL);
}
