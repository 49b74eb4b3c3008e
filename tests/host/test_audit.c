/*
 * Does the audit see damage? Books and entries are damaged one by one, each in its
 * own way, and undone again: the audit must name each, and find nothing after.
 */
#include <stdio.h>
#include <string.h>

#include "mm/clean.h"
#include "mm/core.h"
#include "mm/counted.h"
#include "mm/frame_state.h"
#include "mm/inflight.h"
#include "mm/nested.h"
#include "mm/pageout.h"
#include "mm/pool_books.h"
#include "mm/share.h"
#include "mm/swap.h"
#include "mm/vm.h"
#include "tests/host/homes.h"
#include "tests/host/ranges.h"

#define PAGES 300u

static struct sim_vm *one, *two;
static unsigned damages;

/* A machine with pages in every home but BUSY. */
static void start(void)
{
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 51);
    settings.frames = 520;
    settings.disk_pages = 1500;
    settings.interleave = 0;
    sim_start(&settings);
    sim_vm_config_default(&config, PAGES);
    config.salt = 9;
    one = sim_vm_add(&config);
    two = sim_vm_add(&config);
    struct sim_vm *third = sim_vm_greedy(300);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t g = 0; g < PAGES; g++) {
            sim_write(one, g, g % 4 == 3 ? SIM_NOISE : SIM_TEXT, g);
            sim_write(two, g, g % 4 == 3 ? SIM_UNIFORM : SIM_TEXT, g % 4 == 3 ? 77 : g);
        }
        sim_run(800);
        for (uint32_t g = 0; g < 300; g++)
            sim_write(third, g, SIM_NOISE, g + round);
        sim_run(800);
    }
    for (uint32_t g = 0; g < 40; g++)
        sim_read(one, g);
    sim_inflate(one, 299);
    sim_settle();
    assert_int_equal(mm_audit(NULL, 0), 0);
}

/* A page with this home, of one or two. */
static struct sim_vm *page_in(enum home home, uint32_t *page)
{
    struct sim_vm *vms[] = { one, two };
    for (unsigned i = 0; i < 2; i++)
        for (*page = 0; *page < PAGES; ++*page)
            if (homes_of(vms[i], *page) == home)
                return vms[i];
    sim_fail("no page is %s", home_name(home));
}

static entry_t *leaf_of(struct sim_vm *vm, uint32_t page)
{
    struct leaf leaf;
    nested_lock(vm->core, gfn(page), NESTED_LOOK, &leaf);
    entry_t *slot = leaf.slot;
    nested_unlock(&leaf);
    assert_non_null(slot);
    return slot;
}

static struct frame *frame_of(struct sim_vm *vm, uint32_t page)
{
    return frame_at(entry_frame(*leaf_of(vm, page)));
}

/* The damage is done: the audit says so, with these words among all it says. */
static void expect(const char *words)
{
    char first[160];
    assert_true(mm_audit(first, sizeof first) > 0);
    if (words && !strstr(first, words))
        fail_msg("the audit says \"%s\", not \"%s\"", first, words);
    damages++;
}

/* Flips bits of `size` bytes, looks, and flips them back. */
static void damage(void *at, size_t size, uint64_t bits, const char *words)
{
    uint64_t value = 0, changed;
    memcpy(&value, at, size);
    changed = value ^ bits;
    memcpy(at, &changed, size);
    expect(words);
    memcpy(at, &value, size);
    assert_int_equal(mm_audit(NULL, 0), 0);
}

/* Puts another value there. */
static void replace(void *at, size_t size, uint64_t with, const char *words)
{
    uint64_t value = 0;
    memcpy(&value, at, size);
    damage(at, size, value ^ with, words);
}

#define DAMAGE(place, bits, words)  damage(&(place), sizeof(place), bits, words)
#define REPLACE(place, with, words) replace(&(place), sizeof(place), with, words)

static void private_pages(void **state)
{
    (void)state;
    uint32_t page;
    start();
    struct sim_vm *vm = page_in(HOME_PRIVATE, &page);
    while (homes_of(vm, page) != HOME_PRIVATE ||
           clean_slot(frame_of(vm, page)).v != SWAP_SLOT_NONE.v)
        if (++page == PAGES) {
            vm = vm == one ? two : one;
            page = 0;
        }
    entry_t *entry = leaf_of(vm, page);
    struct frame *frame = frame_of(vm, page);
    REPLACE(frame->kind, FRAME_BOOK, "not PRIVATE");
    DAMAGE(frame->tag, 1, "maps a frame of VM");
    DAMAGE(frame->private.gfn, 1, "maps a frame of VM");
    DAMAGE(entry->v, ENTRY_WRITE, "PRIVATE and read-only");
    DAMAGE(entry->v, 1ull << 35, "not PRIVATE");
    REPLACE(entry->v, entry_away(HOME_ZERO, 0).v, "counts");
    REPLACE(entry->v, 0, "has no home");
    REPLACE(entry->v, entry_away(HOME_ZERO, 0).v | 15ull << ENTRY_HOME_SHIFT, "has no home");
    sim_stop();
}

static void shared_pages(void **state)
{
    (void)state;
    uint32_t page = 3;
    homes_start(HOME_SHARED, 54);
    struct sim_vm *vm = sim_vm_simple(300);
    assert_true(homes_reach(vm, page, HOME_SHARED));
    entry_t *entry = leaf_of(vm, page);
    struct frame *frame = frame_of(vm, page);
    REPLACE(frame->kind, FRAME_BOOK, "not SHARED");
    DAMAGE(entry->v, 1ull << 35, "not SHARED");
    DAMAGE(entry->v, ENTRY_WRITE, "SHARED and writable");
    DAMAGE(frame->tag, 4, "shared across salts");
    DAMAGE(frame->shared.count, 64, "sharers left over");
    DAMAGE(core.shared_leaves, 1, "shared leaves counted");
    /* A pin of it counts as a sharer. */
    int pin = sim_pin(vm, NULL, page, false);
    assert_true(pin >= 0);
    struct vm_pin *record = vm->core->pins;
    while (record->count == 0)
        record++;
    uint32_t other = 0;
    while (homes_of(vm, other) != HOME_PRIVATE)
        other++;
    REPLACE(record->shared.v, entry_frame(*leaf_of(vm, other)).v, "a pin holds a frame");
    DAMAGE(record->shared.v, 1u << 30, "a pin holds a frame");
    sim_unpin(vm, pin);
    sim_stop();
}

/* Homes without a frame. */
static void away_pages(void **state)
{
    (void)state;
    uint32_t page;
    start();
    uint64_t zero = entry_away(HOME_ZERO, 0).v;
    struct sim_vm *vm = page_in(HOME_SWAP, &page);
    entry_t *entry = leaf_of(vm, page);
    REPLACE(entry->v, zero, "counts");
    REPLACE(entry->v, entry_away(HOME_SWAP, 0x7fff).v, "swap slots");
    vm = page_in(HOME_POOL, &page);
    entry = leaf_of(vm, page);
    REPLACE(entry->v, entry_away(HOME_POOL, 12345).v, "named by nobody");
    REPLACE(entry->v, zero, "counts");
    vm = page_in(HOME_COUNTED, &page);
    entry = leaf_of(vm, page);
    struct counted *object = counted_at(entry_payload(*entry));
    DAMAGE(object->refs, 64, "references left over");
    REPLACE(entry->v, zero, "counts");
    vm = page_in(HOME_FILL, &page);
    DAMAGE(vm->core->fill.refs[entry_payload(*leaf_of(vm, page))], 64, "references left over");
    DAMAGE(leaf_of(vm, page)->v, 1ull << 10, "could be taken for addresses");
    /* Beyond the guest's end. */
    REPLACE(leaf_of(vm, PAGES - 1)[1].v, zero, "has no home");
    sim_stop();
}

static void tables_and_counts(void **state)
{
    (void)state;
    start();
    struct mm_vm *vm = one->core;
    uint64_t in_page = (uintptr_t)leaf_of(one, 0) - (uintptr_t)sim_frame(SIM_PFN_FIRST);
    pfn_t table = pfn(SIM_PFN_FIRST + (uint32_t)(in_page >> PAGE_SHIFT));
    struct frame *frame = frame_at(table);
    assert_int_equal(frame->kind, FRAME_TABLE);
    REPLACE(frame->kind, FRAME_BOOK, "is not its own");
    DAMAGE(frame->tag, 1, "is not its own");
    DAMAGE(frame->table.entries, 64, "entries and has");
    DAMAGE(frame->table.present, 64, "in memory and has");
    DAMAGE(vm->tables, 1, "charged for");
    pfn_t stray = frame_alloc(FRAME_TABLE, FRAME_RECLAIM);
    expect("table frames for");
    frame_free(stray);
    for (enum home home = HOME_ZERO; home < HOME_COUNT; home++)
        DAMAGE(vm->homes[home], 1, "counts");
    /* More than the log shows. */
    for (unsigned i = 0; i < FILL_WORDS; i++)
        vm->fill.refs[i] += 1000;
    assert_true(mm_audit(NULL, 0) >= FILL_WORDS);
    for (unsigned i = 0; i < FILL_WORDS; i++)
        vm->fill.refs[i] -= 1000;
    assert_int_equal(mm_audit(NULL, 0), 0);
    /* Of what it finds, an audit says the first, as far as there is room. */
    char none[1] = "x";
    vm->tables++;
    assert_true(mm_audit(none, 0) > 0);
    assert_int_equal(none[0], 'x');
    assert_true(mm_audit(none, 1) > 0);
    assert_int_equal(none[0], 0);
    vm->tables--;
    sim_stop();
}

static void an_empty_table(void **state)
{
    (void)state;
    struct sim_settings settings;
    char first[160];
    sim_settings_default(&settings, 52);
    sim_start(&settings);
    one = sim_vm_simple(1100);
    sim_write(one, 600, SIM_NOISE, 1);
    entry_t *entry = leaf_of(one, 600), kept = *entry;
    struct leaf leaf;
    nested_lock(one->core, gfn(600), NESTED_LOOK, &leaf);
    nested_unlock(&leaf);
    entry->v = entry_away(HOME_ZERO, 0).v;
    leaf.table->table.entries--;
    leaf.table->table.present--;
    assert_true(mm_audit(first, sizeof first) > 0);
    assert_non_null(strstr(first, "did not collapse"));
    leaf.table->table.entries++;
    leaf.table->table.present++;
    *entry = kept;
    assert_int_equal(mm_audit(NULL, 0), 0);
    sim_stop();
}

/* A merged frame and the object it is paged out into name each other. */
static void counted_frames(void **state)
{
    (void)state;
    /* Until one of two sharers has left and the other has not. */
    homes_start(HOME_COUNTED, 55);
    struct frame *frame = NULL;
    struct sim_vm *vm = sim_vm_simple(300);
    homes_reach(vm, 3, HOME_COUNTED);
    for (unsigned tries = 0; tries < 300 && !frame; tries++) {
        sim_read(vm, tries % 170);
        for (uint32_t i = 0; i < frame_total_count() && !frame; i++) {
            struct frame *at = frame_by_index(i);
            if (at->kind == FRAME_SHARED && frame_has(at, FRAME_OBJECT))
                frame = at;
        }
    }
    assert_non_null(frame);
    DAMAGE(frame->flags, FRAME_OBJECT, "names a frame that does not name it");
    struct counted *object = counted_at(frame->shared.link);
    uint32_t other = 0;
    while (homes_of(vm, other) != HOME_PRIVATE)
        other++;
    REPLACE(object->frame.v, entry_frame(*leaf_of(vm, other)).v, "does not name it");
    DAMAGE(frame->shared.link, 1, NULL);
    sim_stop();
}

/* Free lists, kinds, and the share index. */
static void frames_and_index(void **state)
{
    (void)state;
    start();
    struct frame *of_kind[FRAME_KIND_COUNT] = { NULL }, *indexed = NULL, *loose = NULL;
    for (uint32_t i = 0; i < frame_total_count(); i++) {
        struct frame *frame = frame_by_index(i);
        of_kind[frame->kind] = frame;
        if (frame->kind == FRAME_PRIVATE && frame_has(frame, FRAME_INDEXED))
            indexed = frame;
        if (frame->kind == FRAME_PRIVATE && !frame_has(frame, FRAME_INDEXED | FRAME_CLEAN))
            loose = frame;
    }
    struct frame *free = of_kind[FRAME_FREE];
    assert_non_null(free);
    DAMAGE(free->free.prev, 1, "free list is damaged");
    REPLACE(free->kind, 200, "unknown kind");
    REPLACE(free->kind, FRAME_BOOK, "do not add up");
    REPLACE(free->free.next, frame_total_count() - 1 - free->free.next, "free list is damaged");
    if (!indexed) {
        indexed = loose;
        share_forget(frame_number(indexed));
        indexed->private.hash = 0x55555;
        assert_true(share_index_insert(frame_number(indexed)));
        loose = NULL;
    }
    DAMAGE(indexed->flags, FRAME_INDEXED, "does not belong there");
    DAMAGE(indexed->private.hash, 0x80000000u, "does not belong there");
    REPLACE(indexed->private.link, 1u << 30, "does not belong there");
    REPLACE(indexed->private.link, frame_number(of_kind[FRAME_TABLE]).v, "does not belong there");
    REPLACE(indexed->private.link, frame_number(indexed).v, "chain is too long");
    if (loose)
        DAMAGE(loose->flags, FRAME_INDEXED, NULL);
    sim_stop();
}

/* Each of the two lists, what is kept beside them, and the counts of blocks. */
static void free_frames(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 56);
    settings.frames = 4000;
    sim_start(&settings);
    one = two = sim_vm_simple(PAGES);
    for (uint32_t g = 0; g < PAGES; g++)
        sim_write(one, g, SIM_NOISE, g);
    struct frame *frames = frame_state.frames;
    struct frame_cache *cache = &frame_caches[sim.cpu];
    assert_true(cache->count > 0);
    const char *words = "a CPU's cache holds a frame that is not free";
    REPLACE(cache->indices[0], frame_state.share_start + 5, words);
    REPLACE(cache->indices[0], (uint32_t)(frame_of(one, 3) - frames), words);
    for (unsigned list = 0; list < 2; list++) {
        uint32_t first = frame_state.lists[list];
        struct frame *frame = &frames[first];
        words = "free list is damaged";
        DAMAGE(frame->free.prev, 1, words);
        /* A free frame and one in use in each other's place. */
        uint8_t *kind = &frame_of(one, 4)->kind, before = *kind;
        *kind = FRAME_FREE;
        frame->kind = before;
        expect(NULL);
        *kind = before;
        frame->kind = FRAME_FREE;
        words = "free lists and caches do not hold every free frame";
        DAMAGE(frame_state.listed[list], 1, words);
        uint32_t next = frame->free.next, prev = frame->free.prev;
        frame_state.lists[list] = next;
        frames[prev].free.next = next;
        frames[next].free.prev = prev;
        expect(words);
        frames[prev].free.next = frames[next].free.prev = first;
        frame_state.lists[list] = first;
    }
    REPLACE(frame_state.lists[0], frame_state.lists[1], "free list is damaged");
    words = "blocks do not count the free frames in them";
    REPLACE(frame_state.block_free[0], FRAME_BLOCK + 1, words);
    DAMAGE(frame_state.block_free[1], 1, words);
    sim_stop();
}

/* A large mapping and the table beside it. */
static void large_mappings(void **state)
{
    (void)state;
    ranges_start(6000, true);
    one = two = ranges_vm(1024, 1024);
    ranges_fill(one, 0);
    entry_t *entry = leaf_of(one, 77);
    const char *words = "of the large mapping at page 0 are elsewhere";
    DAMAGE(entry->v, ENTRY_WRITE, NULL);
    REPLACE(entry->v, entry_away(HOME_SWAP, 1).v, words);
    struct frame *frame = frame_at(entry_frame(*entry));
    frame->private.gfn = 78; /* the two have changed places */
    frame[1].private.gfn = 77;
    uint64_t here = entry->v;
    entry->v = entry[1].v;
    entry[1].v = here;
    expect(words);
    entry[1].v = entry->v;
    entry->v = here;
    frame->private.gfn = 77;
    frame[1].private.gfn = 78;
    DAMAGE(one->core->large, 1, "counts");
    DAMAGE(core.large, 1, "large mappings counted");
    sim_stop();
}

/* The pool's log. */
static void pool_frames(void **state)
{
    (void)state;
    start();
    struct frame *frame = NULL;
    for (uint32_t i = 0; i < frame_total_count(); i++) {
        struct frame *at = frame_by_index(i);
        if (at->kind == FRAME_POOL && at->pool.prev != POOL_FRAME_NONE &&
            at->pool.next != POOL_FRAME_NONE && at->pool.first > 0)
            frame = at;
    }
    assert_non_null(frame);
    const char *words = "the pool's log is damaged";
    REPLACE(frame->pool.first, PAGE_SIZE + 4, words);
    REPLACE(frame->pool.first, frame->pool.first + 4, words);
    REPLACE(frame->pool.used, PAGE_SIZE + 4, words);
    DAMAGE(frame->tag, 64, words);
    DAMAGE(frame->pool.prev, 1, words);
    REPLACE(frame->kind, FRAME_BOOK, NULL);
    DAMAGE(pool.log.newest, 1, words);
    DAMAGE(pool.log.frames, 1, words);
    DAMAGE(pool.log.live_bytes, 64, words);
    DAMAGE(pool.objects, 1, words);
    sim_stop();
}

/* Who an object says it belongs to, and what that names. */
static void pool_owners(void **state)
{
    (void)state;
    uint32_t page;
    start();
    struct sim_vm *vm = page_in(HOME_POOL, &page);
    struct pool_at at = pool_log_place((pool_location_t){ entry_payload(*leaf_of(vm, page)) });
    struct pool_header *header = pool_log_header(at), kept = *header;
    const struct pool_owner wrong[] = { { 60, page },
                                        { vm->core->id, PAGES },
                                        { vm->core->id, page ^ 1 },
                                        { POOL_OWNER_COUNTED, COUNTED_MAX } };
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        pool_header_make(header, wrong[i], pool_header_size(&kept));
        assert_true(pool_header_fits(header));
        expect("is named by nobody");
        *header = kept;
    }
    vm = page_in(HOME_COUNTED, &page);
    struct counted *object = NULL;
    for (uint32_t i = 0; i < COUNTED_MAX && !object; i++)
        if (counted_peek(i) && counted_peek(i)->state == COUNTED_POOL)
            object = counted_peek(i);
    assert_non_null(object);
    DAMAGE(object->location.v, 1, "is named by nobody");
    REPLACE(object->state, COUNTED_COMING, "is named by nobody");
    sim_stop();
}

/* An object of the pool's on its way to swap. */
static void a_record_of_the_pool(void **state)
{
    (void)state;
    uint32_t page, sent = 0;
    start();
    struct sim_vm *vm = page_in(HOME_POOL, &page);
    for (uint32_t i = 1; i < 200 && homes_of(vm, page) != HOME_BUSY_OUT; i++) {
        SIM_CORE(sent = pageout_write_back(1));
        if (sent == 0)
            while (sim_disk_complete())
                ;
    }
    assert_int_equal(homes_of(vm, page), HOME_BUSY_OUT);
    struct inflight *record = inflight_at(entry_payload(*leaf_of(vm, page)));
    assert_int_equal(record->kind, INFLIGHT_OUT_POOL);
    DAMAGE(record->location.v, 1, "is named by nobody");
    REPLACE(record->kind, INFLIGHT_OUT_PRIVATE, NULL);
    SIM_CORE(swap_write_flush());
    while (sim_disk_complete())
        ;
    sim_stop();
}

/* Records of pages on their way. */
static void records(void **state)
{
    (void)state;
    homes_start(HOME_BUSY_OUT, 53);
    one = two = sim_vm_simple(200);
    assert_true(homes_reach(one, 4, HOME_BUSY_OUT));
    struct inflight *record = inflight_at(entry_payload(*leaf_of(one, 4)));
    DAMAGE(record->gfn.v, 1, "names a record of another page");
    REPLACE(record->vm, (uintptr_t)homes_squeezer()->core, "names a record of another page");
    REPLACE(record->kind, INFLIGHT_OUT_COUNTED + 77, "names a record of no page");
    while (sim_disk_complete())
        ;
    sim_stop();
}

static void summary(void **state)
{
    (void)state;
    printf("figure: P18: %u ways to damage the books, each noticed by the audit\n", damages);
    assert_true(damages > 85);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(private_pages),    cmocka_unit_test(shared_pages),
        cmocka_unit_test(away_pages),       cmocka_unit_test(tables_and_counts),
        cmocka_unit_test(an_empty_table),   cmocka_unit_test(counted_frames),
        cmocka_unit_test(frames_and_index), cmocka_unit_test(pool_frames),
        cmocka_unit_test(free_frames),      cmocka_unit_test(large_mappings),
        cmocka_unit_test(pool_owners),      cmocka_unit_test(a_record_of_the_pool),
        cmocka_unit_test(records),          cmocka_unit_test(summary),
    };
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
