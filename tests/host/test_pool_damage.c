/*
 * Damage in the pool that its checks do not catch at once: headers that fit and say
 * something else, blocks whose check fits, what compaction, write-back and page-ins make
 * of them. Whoever owns the page may suffer, and nobody else (P5).
 */
#include <string.h>

#include "mm/core.h"
#include "mm/counted.h"
#include "mm/frame.h"
#include "mm/hash.h"
#include "mm/nested.h"
#include "mm/pageout.h"
#include "mm/pool_books.h"
#include "mm/swap.h"
#include "mm/vm.h"
#include "tests/host/homes.h"

/* ---- the pool alone ----------------------------------------------------------------- */

#define OBJECTS 120u

static pool_location_t places[OBJECTS];
static bool stored[OBJECTS];
static bool reenter;

static struct pool_owner owner_of(uint32_t i)
{
    return (struct pool_owner){ 3, i };
}

static bool on_moved(struct pool_owner owner, pool_location_t from, pool_location_t to)
{
    /* Another CPU comes to compact as well: it leaves that to the first. */
    if (reenter) {
        assert_int_equal(pool_compact(100), 0);
        assert_false(pool_empty(pfn(pool.log.oldest), 100));
    }
    if (owner.vm != 3 || owner.gfn >= OBJECTS || places[owner.gfn].v != from.v)
        return false;
    places[owner.gfn] = to;
    return true;
}

static const struct pool_ops ops = { on_moved };

static void store(uint32_t i)
{
    static uint8_t page[PAGE_SIZE];
    sim_content_make(SIM_TEXT, i, page);
    assert_int_equal(pool_store(owner_of(i), page, &places[i]), POOL_OK);
    stored[i] = true;
}

static void drop(uint32_t i)
{
    assert_true(pool_free(places[i], owner_of(i)) > 0);
    stored[i] = false;
}

static int begin(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 1);
    settings.frames = 600;
    sim_memory_start(&settings);
    const struct frame_region region = { hpa((uint64_t)SIM_PFN_FIRST << PAGE_SHIFT),
                                         600 * PAGE_SIZE };
    assert_true(frame_init(&region, 1));
    hash_init();
    pool_init(&ops, UINT32_MAX);
    reenter = false;
    for (uint32_t i = 0; i < OBJECTS; i++)
        store(i);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sim_memory_stop();
    return 0;
}

static struct pool_header *header_of(pool_location_t location)
{
    struct pool_at at = pool_log_place(location);
    return (struct pool_header *)((uint8_t *)sim_frame(at.frame) + at.offset);
}

/* The object says so of itself, in a header that fits. */
static struct pool_header say(pool_location_t location, struct pool_owner owner, uint32_t size)
{
    struct pool_header *header = header_of(location), kept = *header;
    pool_header_make(header, owner, size);
    return kept;
}

static void all_but(uint32_t damaged)
{
    static uint8_t got[PAGE_SIZE], wanted[PAGE_SIZE];
    for (uint32_t i = 0; i < OBJECTS; i++) {
        if (!stored[i] || i == damaged)
            continue;
        sim_content_make(SIM_TEXT, i, wanted);
        assert_int_equal(pool_load(places[i], owner_of(i), got), POOL_OK);
        assert_memory_equal(got, wanted, PAGE_SIZE);
    }
}

static uint64_t lost(void)
{
    struct pool_stats stats;
    pool_stats_get(&stats);
    return stats.objects_lost;
}

static void another_owner(void **state)
{
    (void)state;
    static uint8_t got[PAGE_SIZE];
    uint32_t size = pool_block_size(places[7], owner_of(7));
    assert_true(size > 0);
    say(places[7], owner_of(8), size);
    assert_int_equal(pool_load(places[7], owner_of(7), got), POOL_DAMAGED);
    assert_int_equal(pool_read_block(places[7], owner_of(7), got, &size), POOL_DAMAGED);
    assert_int_equal(pool_block_size(places[7], owner_of(7)), 0);
    assert_int_equal(pool_free(places[7], owner_of(7)), 0);
    assert_int_equal(lost(), 1);
    all_but(7);
    header_of(places[9])->gfn ^= 1; /* does not fit */
    assert_int_equal(pool_block_size(places[9], owner_of(9)), 0);
    assert_true(pool_block_size(places[8], owner_of(8)) > 0);
}

/* Locations that an entry with flipped bits could name. */
static void nowhere(void **state)
{
    (void)state;
    static uint8_t got[PAGE_SIZE];
    pfn_t other = frame_alloc(FRAME_BOOK, FRAME_RECLAIM);
    const struct pool_at wrong[] = { { SIM_PFN_FIRST - 1, 0 }, { other.v, 0 } };
    for (unsigned i = 0; i < 2; i++) {
        pool_location_t at = pool_log_location(wrong[i]);
        uint8_t flags = frame_at(other)->flags;
        assert_int_equal(pool_load(at, owner_of(1), got), POOL_DAMAGED);
        assert_int_equal(pool_free(at, owner_of(1)), 0);
        assert_int_equal(lost(), i + 1);
        assert_int_equal(frame_at(other)->flags, flags);
    }
    all_but(OBJECTS);
}

/* The check was made over garbage: the decoder has the last word. */
static void a_check_that_fits(void **state)
{
    (void)state;
    static uint8_t got[PAGE_SIZE];
    uint32_t whole = 0;
    while (pool_log_place(places[whole]).offset + 3000 > PAGE_SIZE)
        whole++;
    struct pool_header *header = header_of(places[whole]);
    memset(header + 1, 0xff, pool_header_size(header));
    header->check = hash_bytes(&header->gfn, POOL_CHECKED_BYTES + pool_header_size(header));
    uint32_t size;
    assert_int_equal(pool_load(places[whole], owner_of(whole), got), POOL_DAMAGED);
    assert_int_equal(pool_take(places[whole], owner_of(whole), got, &size), POOL_DAMAGED);
    all_but(whole);
    drop(whole); /* the books are right */
    assert_int_equal(lost(), 0);
}

/* Longer than its frame, longer than the log. */
static void lengths(void **state)
{
    (void)state;
    static struct pool_log log;
    static uint32_t object[1024], scratch[1024];
    struct pool_header *header = (struct pool_header *)object;
    struct pool_at at[2];
    struct pool_object found;
    pool_log_init(&log);
    pool_header_make(header, owner_of(1), 2048 - POOL_HEADER_BYTES);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pool_log_append(&log, header, 10, &at[i]), POOL_OK);
    assert_int_equal(log.frames, 1);
    assert_int_equal(frame_at(pfn(at[1].frame))->pool.used, PAGE_SIZE);
    assert_true(pool_log_find(at[1], scratch, &found));
    pool_header_make(pool_log_header(at[1]), owner_of(1), 3000); /* into a frame that is not */
    assert_false(pool_log_find(at[1], scratch, &found));
    pool_header_make(pool_log_header(at[1]), owner_of(1), 2048 - POOL_HEADER_BYTES);
    pool_log_release(&log, at[1]);
    pool_header_make(header, owner_of(2), 1000);
    assert_int_equal(pool_log_append(&log, header, 10, &at[1]), POOL_OK);
    pool_header_make(pool_log_header(at[1]), owner_of(2), 3000);
    struct frame *second = frame_at(pfn(at[1].frame));
    assert_false(pool_log_find(at[1], scratch, &found));
    assert_true(second->pool.used < PAGE_SIZE);
}

static void thin_out(uint32_t keep)
{
    for (uint32_t i = 0; i < OBJECTS; i++)
        if (i % 4 && i != keep)
            drop(i);
}

static bool straddles(uint32_t i)
{
    return pool_log_place(places[i]).offset + pool_header_span(header_of(places[i])) > PAGE_SIZE;
}

/* One frame cannot be emptied; all others can. */
static void compaction_goes_on(bool fits)
{
    begin(NULL);
    uint32_t odd = 40;
    while (!straddles(odd))
        odd++;
    thin_out(odd);
    for (uint32_t i = 0; i < OBJECTS; i++)
        if (stored[i] && i != odd &&
            pool_log_place(places[i]).frame == pool_log_place(places[odd]).frame)
            drop(i);
    unsigned before = pool.log.frames;
    struct pool_header kept = *header_of(places[odd]);
    if (fits)
        say(places[odd], owner_of(odd), POOL_BLOCK_MAX);
    else
        header_of(places[odd])->gfn ^= 1;
    for (unsigned i = 0; i < POOL_HINTS; i++) /* so that it is looked at first */
        pool.log.hints[i] = (struct pool_hint){ POOL_FRAME_NONE, PAGE_SIZE };
    for (unsigned i = 0; i < 40; i++)
        pool_compact(20);
    assert_true(pool.log.frames < before * 2 / 3);
    all_but(odd);
    *header_of(places[odd]) = kept;
    all_but(OBJECTS);
    for (uint32_t i = 0; i < OBJECTS; i++)
        if (stored[i])
            drop(i);
    assert_int_equal(pool.log.frames, 0);
    end(NULL);
}

static void compaction_beside_damage(void **state)
{
    (void)state;
    compaction_goes_on(false);
    compaction_goes_on(true);
}

/* What is no frame of the pool's, or its newest, or one with damage is not emptied. */
static void frames_that_stay(void **state)
{
    (void)state;
    pfn_t other = frame_alloc(FRAME_BOOK, FRAME_RECLAIM);
    uint32_t frames = pool.log.frames;
    assert_false(pool_empty(other, 100));
    assert_false(pool_empty(pfn(pool.log.newest), 100));
    frame_at(pfn(pool.log.oldest))->flags |= POOL_FRAME_DAMAGED;
    assert_false(pool_empty(pfn(pool.log.oldest), 100));
    assert_int_equal(pool.log.frames, frames);
    frame_at(pfn(pool.log.oldest))->flags &= (uint8_t)~POOL_FRAME_DAMAGED;
    assert_true(pool_empty(pfn(pool.log.oldest), 100));
    all_but(OBJECTS);
}

static void one_compaction_at_a_time(void **state)
{
    (void)state;
    begin(NULL);
    thin_out(0);
    reenter = true;
    unsigned before = pool.log.frames;
    for (unsigned i = 0; i < 40; i++)
        pool_compact(20);
    assert_true(pool.log.frames < before);
    all_but(OBJECTS);
    end(NULL);
}

/* ---- the audit of the log ------------------------------------------------------------- */

static unsigned visits;
static bool visit_some(struct pool_owner owner, pool_location_t at, void *context)
{
    (void)owner, (void)at;
    return ++visits != *(unsigned *)context;
}

static bool is_sound(unsigned refused)
{
    visits = 0;
    return pool_audit(visit_some, &refused);
}

static void audits(void **state)
{
    (void)state;
    assert_true(is_sound(0));
    assert_int_equal(visits, OBJECTS);
    assert_false(is_sound(5));
    assert_int_equal(visits, 5);
    /* An object that ends elsewhere than the next frame says. */
    uint32_t odd = 20;
    while (!straddles(odd))
        odd++;
    struct pool_header before_it = say(places[odd], owner_of(odd), 3000);
    assert_false(is_sound(0));
    *header_of(places[odd]) = before_it;
    assert_true(is_sound(0));
    /* A frame in which nothing lives, and that nobody holds. */
    uint32_t frame = pool_log_place(places[40]).frame;
    pool.log.held = frame;
    for (uint32_t i = 0; i < OBJECTS; i++) {
        struct pool_at at = pool_log_place(places[i]);
        if (at.frame == frame || frame_at(pfn(at.frame))->pool.next == frame)
            drop(i);
    }
    assert_int_equal(frame_at(pfn(frame))->tag, 0);
    assert_false(is_sound(0));
    pool.log.held = POOL_FRAME_NONE;
    pool_log_drop_if_empty(&pool.log, frame);
    assert_true(is_sound(0));
    /* The frame is missing in which the last object ends. */
    uint32_t last = pool.log.newest, before = frame_at(pfn(last))->pool.prev;
    while (frame_at(pfn(last))->pool.first == 0) {
        last = before;
        before = frame_at(pfn(last))->pool.prev;
    }
    struct pool_log kept = pool.log;
    pool.log.newest = before;
    frame_at(pfn(before))->pool.next = POOL_FRAME_NONE;
    pool.log.frames = 0;
    for (uint32_t f = pool.log.oldest; f != POOL_FRAME_NONE; f = frame_at(pfn(f))->pool.next)
        pool.log.frames++;
    assert_false(is_sound(0));
    frame_at(pfn(before))->pool.next = last;
    pool.log = kept;
    assert_true(is_sound(0));
}

/* ---- in the core ------------------------------------------------------------------------- */

static struct sim_vm *one, *two;

/* Pages of one and two in the pool, merged ones among them; swap is there, and empty. */
static void start_core(uint64_t seed)
{
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, seed);
    settings.frames = 900;
    settings.disk_pages = 4000;
    settings.interleave = 0;
    sim_start(&settings);
    sim_vm_config_default(&config, 1200);
    config.salt = 9;
    one = sim_vm_add(&config);
    two = sim_vm_add(&config);
    for (uint32_t g = 0; g < 150; g++) {
        sim_write(one, g, SIM_TEXT, g < 30 ? g : 1000 + g);
        sim_write(two, g, SIM_TEXT, g < 30 ? g : 2000 + g);
    }
    sim_run(2000);
    sim_roll_floor(&one->vcpus[0]);
    sim_roll_floor(&two->vcpus[0]);
}

/* By hand, as reclaim would: all private pages of the first 150, or all merged ones. */
static void page_out(struct sim_vm *vm, enum home home)
{
    struct pageout batch = { .vm = vm->core };
    for (uint32_t g = 0; g < 150; g++) {
        struct leaf leaf;
        SIM_CORE(nested_lock(vm->core, gfn(g), NESTED_LOOK, &leaf));
        if (entry_home(leaf.entry) == home && home == HOME_PRIVATE && pageout_may(&leaf))
            SIM_CORE(pageout_add(&batch, &leaf));
        if (entry_home(leaf.entry) == home && home == HOME_SHARED)
            SIM_CORE(pageout_shared(&leaf, &batch));
        SIM_CORE(nested_unlock(&leaf));
        SIM_CORE(pageout_run(&batch));
    }
}

static uint32_t page_in_pool(struct sim_vm *vm, unsigned skip)
{
    for (uint32_t g = 30; g < 150; g++)
        if (homes_of(vm, g) == HOME_POOL && skip-- == 0)
            return g;
    sim_fail("no page of %s is in the pool", vm->name);
}

static entry_t entry_of(struct sim_vm *vm, uint32_t page)
{
    unsigned level;
    return (entry_t){ sim_peek(vm, page, &level) };
}

static pool_location_t place_of(struct sim_vm *vm, uint32_t page)
{
    return (pool_location_t){ entry_payload(entry_of(vm, page)) };
}

static void write_back_all(void)
{
    for (unsigned i = 0; i < 100; i++) {
        SIM_CORE(pageout_write_back(8));
        SIM_CORE(swap_write_flush());
        while (sim_disk_complete())
            ;
    }
}

/* The object of one's page names something else: what is named stays as it is. */
static void lies(void **state)
{
    (void)state;
    start_core(2);
    page_out(one, HOME_PRIVATE);
    page_out(two, HOME_PRIVATE);
    uint32_t page = page_in_pool(one, 3), other = 149;
    while (homes_of(one, other) != HOME_POOL)
        other--;
    uint64_t entry = entry_of(one, page).v, named = entry_of(one, other).v;
    pool_location_t place = place_of(one, page);
    const struct pool_owner wrong[] = {
        { one->core->id, other }, { 60, page }, { one->core->id, 1200 }, { one->core->id, 600 }
    }; /* its range has no table */
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint32_t size = pool_header_size(header_of(place));
        struct pool_header kept = say(place, wrong[i], size);
        SIM_CORE(pool_empty(pfn(pool_log_place(place).frame), 100));
        if (i == 3)
            write_back_all();
        else
            SIM_CORE(pageout_write_back(4));
        assert_int_equal(entry_of(one, page).v, entry);
        *header_of(place) = kept;
        SIM_CORE(swap_write_flush());
        while (sim_disk_complete())
            ;
    }
    assert_int_not_equal(entry_of(one, other).v, named); /* by its own object, to swap */
    assert_int_equal(homes_of(one, other), HOME_SWAP);
    sim_verify(one);
    sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

/* Write-back comes across a damaged block: its VM is stopped, the others' pages go on. */
static void damaged_on_the_way_out(void **state)
{
    (void)state;
    start_core(3);
    page_out(one, HOME_PRIVATE);
    page_out(two, HOME_PRIVATE);
    uint32_t page = page_in_pool(one, 5);
    struct pool_header *header = header_of(place_of(one, page));
    header->check ^= 1;
    sim.stop_allowed = true;
    write_back_all();
    assert_true(one->stopped);
    assert_int_equal(one->reason, MM_STOP_POOL_DAMAGED);
    assert_false(two->stopped);
    assert_int_equal(homes_of(one, page), HOME_POOL);
    header->check ^= 1;
    sim_vm_remove(one);
    sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

/* A block that is none, and whose check fits: it is found out when it comes back. */
static void damaged_on_the_way_in(void **state)
{
    (void)state;
    start_core(4);
    page_out(one, HOME_PRIVATE);
    unsigned skip = 0;
    uint32_t page = page_in_pool(one, skip);
    while (pool_log_place(place_of(one, page)).offset + 3000 > PAGE_SIZE)
        page = page_in_pool(one, ++skip);
    struct pool_header *header = header_of(place_of(one, page));
    memset(header + 1, 0xff, pool_header_size(header));
    header->check = hash_bytes(&header->gfn, POOL_CHECKED_BYTES + pool_header_size(header));
    write_back_all();
    assert_int_equal(homes_of(one, page), HOME_SWAP);
    sim.stop_allowed = true;
    assert_int_equal(sim_read(one, page), MM_STOPPED);
    assert_int_equal(one->reason, MM_STOP_SWAP_TAMPERED);
    assert_false(two->stopped);
    sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

/* Content that several pages share, on its way to swap: damaged, and not written. */
static void counted_objects(void **state)
{
    (void)state;
    start_core(5);
    page_out(one, HOME_SHARED);
    page_out(two, HOME_SHARED);
    uint32_t page = 0;
    while (homes_of(one, page) != HOME_COUNTED)
        page++;
    uint32_t index = (uint32_t)entry_payload(entry_of(one, page));
    struct counted *object = counted_at(index);
    assert_int_equal(object->state, COUNTED_POOL);
    struct pool_header *header = header_of(object->location);
    header->check ^= 1;
    sim.disk.fail_write_first = sim.disk.writes + 1;
    sim.disk.fail_write_count = UINT64_MAX;
    uint64_t errors = sim.events[MM_EVENT_SWAP_ERROR];
    write_back_all();
    assert_true(sim.events[MM_EVENT_SWAP_ERROR] > errors);
    assert_int_equal(counted_at(index)->state, COUNTED_POOL);
    sim_disk_heal();
    write_back_all();
    assert_int_equal(counted_at(index)->state, COUNTED_POOL); /* nobody is stopped for it */
    header->check ^= 1;
    sim_oracle(true);
    write_back_all();
    assert_int_equal(counted_at(index)->state, COUNTED_SWAP);
    one->vcpus[0].op = (struct sim_op){ .kind = SIM_READ, .gfn = page };
    assert_int_equal(sim_vcpu_try(&one->vcpus[0]), MM_WAIT);
    assert_int_equal(homes_of(one, page), HOME_BUSY_IN);
    assert_int_equal(mm_audit(NULL, 0), 0); /* its reference is the record's now */
    assert_int_equal(sim_do(&one->vcpus[0], one->vcpus[0].op), MM_DONE);
    sim_verify(one);
    sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

int main(void)
{
#define ON_POOL(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        ON_POOL(another_owner),
        ON_POOL(nowhere),
        ON_POOL(a_check_that_fits),
        ON_POOL(lengths),
        cmocka_unit_test(compaction_beside_damage),
        cmocka_unit_test(one_compaction_at_a_time),
        ON_POOL(audits),
        ON_POOL(frames_that_stay),
        cmocka_unit_test(lies),
        cmocka_unit_test(damaged_on_the_way_out),
        cmocka_unit_test(damaged_on_the_way_in),
        cmocka_unit_test(counted_objects),
    };
    return cmocka_run_group_tests_name("pool damage", tests, NULL, NULL);
}
