/*
 * What another CPU does between two steps of this one: between a look and the lock, while
 * a lock is waited for, between a read of a word and its exchange.
 *
 * Where the place can be reached by a hook or by a wrapped function, the other CPU acts
 * just there, in the same thread; where this CPU has to wait for a lock meanwhile, the
 * other one is a thread that stops at the lock. Only the words that processors write
 * themselves are left to chance.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "mm/core.h"
#include "mm/counted.h"
#include "mm/frame_state.h"
#include "mm/nested.h"
#include "mm/pageout.h"
#include "mm/share.h"
#include "mm/swap.h"
#include "mm/vm.h"
#include "tests/host/homes.h"

#define SECOND_CPU 5u

static _Thread_local unsigned thread_cpu;
static bool spinning;

unsigned machine_cpu(void)
{
    return thread_cpu ? thread_cpu : sim.cpu;
}

static void on_wait(void)
{
    __atomic_store_n(&spinning, true, __ATOMIC_RELEASE);
}

/* Starts the second CPU and waits until it waits for a lock that this one holds. */
static pthread_t start_second(void *(*work)(void *))
{
    pthread_t second;
    spinning = false;
    support_wait_hook = on_wait;
    assert_int_equal(pthread_create(&second, NULL, work, NULL), 0);
    while (!__atomic_load_n(&spinning, __ATOMIC_ACQUIRE))
        sched_yield();
    return second;
}

static void start(unsigned frames, uint64_t seed)
{
    struct sim_settings settings;
    sim_settings_default(&settings, seed);
    settings.frames = frames;
    settings.cpus = 2;
    settings.interleave = 0;
    sim_start(&settings);
}

static struct sim_vm *member(uint32_t pages)
{
    struct mm_vm_config config;
    sim_vm_config_default(&config, pages);
    config.salt = 7;
    return sim_vm_add(&config);
}

static struct sim_vm *one, *two;

static pfn_t frame_of(struct sim_vm *vm, uint32_t page)
{
    unsigned level;
    return entry_frame((entry_t){ sim_peek(vm, page, &level) });
}

/* The balloon driver of a VM on the other CPU gives a page; this CPU goes on. */
static void other_inflates(struct sim_vm *vm, uint32_t page)
{
    unsigned here = sim.cpu;
    assert_int_not_equal(vm->vcpus[0].cpu, here);
    assert_int_equal(sim_inflate(vm, page), MM_BALLOON_OK);
    sim.cpu = here;
}

static void other_gives_up(struct sim_vm *vm, uint32_t page)
{
    unsigned here = sim.cpu;
    other_inflates(vm, page);
    sim_deflate(vm, page);
    sim.cpu = here;
}

static void other_writes(struct sim_vm *vm, uint32_t page)
{
    unsigned here = sim.cpu;
    assert_int_equal(sim_write(vm, page, SIM_NOISE, page), MM_DONE);
    sim.cpu = here;
}

/* ---- while a lock is waited for ------------------------------------------------------- */

static pthread_t second;
static void (*map_hook)(pfn_t frame); /* the simulated machine's */

/* Calls `hook` whenever the core looks at a frame. */
static void watch_frames(void (*hook)(pfn_t frame))
{
    map_hook = sim_hooks.frame_map;
    sim_hooks.frame_map = hook;
}

static void *touch_beside(void *unused)
{
    struct leaf leaf;
    thread_cpu = SECOND_CPU;
    nested_lock(one->core, gfn(3), NESTED_MAKE, &leaf);
    nested_unlock(&leaf);
    return unused;
}

static void when_tables_are_made(pfn_t frame)
{
    map_hook(frame);
    if (!spin_is_held(&one->core->lock))
        return;
    sim_hooks.frame_map = map_hook;
    second = start_second(touch_beside);
}

/* Two first touches of a VM: the second finds the upper tables that the first made. */
static void tables_made_meanwhile(void **state)
{
    (void)state;
    struct leaf leaf;
    start(512, 1);
    one = member(1100);
    uint32_t before = one->core->tables;
    watch_frames(when_tables_are_made);
    assert_true(nested_lock(one->core, gfn(700), NESTED_MAKE, &leaf));
    nested_unlock(&leaf);
    pthread_join(second, NULL);
    assert_int_equal(one->core->tables, before + 2); /* of levels 3 and 2 */
    sim_oracle(true);
    sim_write(one, 3, SIM_NOISE, 3);
    sim_write(one, 700, SIM_NOISE, 7);
    sim_verify(one);
    sim_stop();
}

/* Two GiB of one VM: what is there of the upper tables is used, what is not is made. */
static void across_a_gibibyte(void **state)
{
    (void)state;
    struct leaf leaf;
    struct mm_vm *vm;
    struct mm_vm_config config;
    start(2000, 12);
    core.config.tiers[MM_TIER_SWAP] = false;
    sim_vm_config_default(&config, 300000);
    config.name = "wide";
    assert_int_equal(mm_vm_create(&config, &vm, NULL), MM_ADMIT_OK);
    const uint32_t pages[] = { 5, 262149, 6, 262150 }, tables[] = { 3, 4, 4, 4 };
    for (unsigned i = 0; i < 4; i++) {
        assert_true(nested_lock(vm, gfn(pages[i]), NESTED_MAKE, &leaf));
        nested_unlock(&leaf);
        assert_int_equal(vm->tables, tables[i]);
    }
    assert_true(mm_vm_destroy(vm));
    sim_stop();
}

static pfn_t got;

static void *take_a_frame(void *unused)
{
    thread_cpu = SECOND_CPU;
    got = frame_alloc(FRAME_PRIVATE, FRAME_ORDINARY);
    return unused;
}

/* Memory was plenty at the look and is not under the lock: no frame goes into a cache. */
static void plenty_no_more(void **state)
{
    static uint32_t taken[4000];
    unsigned count = 0;
    (void)state;
    start(4000, 2);
    assert_true(frame_state.plenty);
    spin_lock(&frame_state.lock);
    second = start_second(take_a_frame);
    for (uint32_t i = 0; i < frame_state.share_start && frame_state.plenty; i++)
        if (frame_state.frames[i].kind == FRAME_FREE) {
            frame_set_kind(i, FRAME_BOOK);
            taken[count++] = i;
        }
    assert_false(frame_state.plenty);
    spin_unlock(&frame_state.lock);
    pthread_join(second, NULL);
    assert_false(pfn_is_none(got));
    assert_int_equal(frame_at(got)->kind, FRAME_PRIVATE);
    assert_int_equal(frame_caches[SECOND_CPU].count, 0);
    assert_null(frame_audit());
    frame_free(got);
    while (count > 0)
        frame_free(frame_number_of(taken[--count]));
    sim_oracle(true);
    sim_stop();
}

/* ---- between two locks of the sharing scan -------------------------------------------------- */

static void (*before_pair)(uint32_t a, uint32_t b);

bool __real_nested_lock_pair(struct mm_vm *vm_a, gfn_t a, struct leaf *leaf_a, struct mm_vm *vm_b,
                             gfn_t b, struct leaf *leaf_b);
bool __wrap_nested_lock_pair(struct mm_vm *vm_a, gfn_t a, struct leaf *leaf_a, struct mm_vm *vm_b,
                             gfn_t b, struct leaf *leaf_b);
bool __wrap_nested_lock_pair(struct mm_vm *vm_a, gfn_t a, struct leaf *leaf_a, struct mm_vm *vm_b,
                             gfn_t b, struct leaf *leaf_b)
{
    void (*act)(uint32_t, uint32_t) = before_pair;
    before_pair = NULL;
    if (act)
        act(a.v, b.v);
    return __real_nested_lock_pair(vm_a, a, leaf_a, vm_b, b, leaf_b);
}

static void partner_given_away(uint32_t a, uint32_t b)
{
    (void)a;
    other_inflates(one, b);
}

static void page_given_away(uint32_t a, uint32_t b)
{
    (void)b;
    other_inflates(one, a);
}

static int partner_pin;

static void partner_pinned(uint32_t a, uint32_t b)
{
    unsigned here = sim.cpu;
    (void)a;
    sim.cpu = !here;
    partner_pin = sim_pin(one, NULL, b, false);
    assert_true(partner_pin >= 0);
    sim.cpu = here;
}

/* The guest touches the partner: it is on a floor now. */
static void partner_touched(uint32_t a, uint32_t b)
{
    unsigned here = sim.cpu;
    (void)a;
    sim.cpu = !here;
    SIM_CORE(assert_int_equal(mm_fault(&one->vcpus[0].core, gfn_to_gpa(gfn(b)), MM_READ), MM_DONE));
    sim.cpu = here;
}

/* Another page takes the frame before the partner comes back, in another one. */
static void partner_in_another_frame(uint32_t a, uint32_t b)
{
    (void)a;
    other_inflates(one, b);
    other_writes(one, b + 1);
    other_writes(one, b);
}

static void range_of_the_partner_gone(uint32_t a, uint32_t b)
{
    (void)a;
    other_gives_up(one, b);
}

static void range_of_the_page_gone(uint32_t a, uint32_t b)
{
    (void)b;
    other_gives_up(one, a);
}

static void range_of_both_gone(uint32_t a, uint32_t b)
{
    other_gives_up(one, a);
    other_gives_up(one, b);
}

/* Two equal pages are found, and one is another one at the time of the merge. */
static void the_pair_changes(void (*act)(uint32_t, uint32_t), uint32_t first, uint32_t other)
{
    start(900, 3);
    sim_vm_simple(64); /* the scan runs on its CPU */
    one = member(1100 + SIM_ROLL_PAGES);
    sim_write(one, first, SIM_COMMON, 1);
    sim_write(one, other, SIM_COMMON, 1);
    sim_roll_floor(&one->vcpus[0]);
    before_pair = act;
    for (unsigned i = 0; i < 4000 && before_pair; i++) {
        sim.cpu = 0;
        if (i % 4 == 0)
            SIM_CORE(mm_tick());
        SIM_CORE(mm_step());
    }
    assert_null(before_pair);
    assert_int_equal(sim_host_counter(MM_HOST_share_gone), 1);
    assert_int_equal(sim_host_counter(MM_HOST_share_merged), 0);
    if (act == partner_pinned)
        sim_unpin(one, partner_pin);
    sim_oracle(true);
    sim_verify(one);
    sim_stop();
}

static void pairs_that_change(void **state)
{
    (void)state;
    the_pair_changes(partner_given_away, 1, 700);
    the_pair_changes(page_given_away, 1, 700);
    the_pair_changes(partner_pinned, 1, 700);
    the_pair_changes(partner_touched, 1, 700);
    the_pair_changes(partner_in_another_frame, 1, 700);
    the_pair_changes(range_of_the_partner_gone, 1, 700);
    the_pair_changes(range_of_the_page_gone, 1, 700);
    the_pair_changes(range_of_both_gone, 1, 2);
}

/* ---- merged frames ------------------------------------------------------------------------------
 */

/* one and two share page 0. */
static void start_merged(uint64_t seed)
{
    start(900, seed);
    one = member(16 + SIM_ROLL_PAGES);
    two = member(16 + SIM_ROLL_PAGES);
    sim_write(one, 0, SIM_TEXT, 1);
    sim_write(two, 0, SIM_TEXT, 1);
    sim_roll_floor(&one->vcpus[0]);
    sim_roll_floor(&two->vcpus[0]);
    for (unsigned i = 0; i < 3000 && homes_of(two, 0) != HOME_SHARED; i++)
        sim_pump();
    assert_int_equal(homes_of(one, 0), HOME_SHARED);
    assert_int_equal(homes_of(two, 0), HOME_SHARED);
}

static pfn_t watched;

static void other_sharer_leaves(pfn_t frame)
{
    map_hook(frame);
    if (frame.v != watched.v)
        return;
    watched = PFN_NONE;
    other_inflates(two, 0);
}

/* While a write copies a merged page, the other sharer leaves: the copy's is the last. */
static void last_one_while_copying(void **state)
{
    (void)state;
    start_merged(4);
    watched = frame_of(one, 0);
    watch_frames(other_sharer_leaves);
    sim_write_word(one, 0, 8, 5);
    sim_hooks.frame_map = map_hook;
    assert_int_equal(watched.v, PFN_NONE.v);
    assert_int_equal(homes_of(one, 0), HOME_PRIVATE);
    assert_int_equal(frame_kind_count(FRAME_SHARED), 0);
    assert_int_equal(sim_host_counter(MM_HOST_taken_share), 0);
    sim_oracle(true);
    sim_verify(one);
    sim_stop();
}

/* one's page 0 goes into the pool, the frame stays for two. */
static uint32_t page_out_first(void)
{
    struct pageout batch = { .vm = one->core };
    struct leaf leaf;
    unsigned level;
    sim.cpu = one->vcpus[0].cpu;
    SIM_CORE(nested_lock(one->core, gfn(0), NESTED_LOOK, &leaf));
    SIM_CORE(assert_true(pageout_shared(&leaf, &batch)));
    SIM_CORE(nested_unlock(&leaf));
    assert_int_equal(homes_of(one, 0), HOME_COUNTED);
    return (uint32_t)entry_payload((entry_t){ sim_peek(one, 0, &level) });
}

static bool drop_before_forget;

void __real_counted_forget_frame(pfn_t number);
void __wrap_counted_forget_frame(pfn_t number);
void __wrap_counted_forget_frame(pfn_t number)
{
    if (drop_before_forget)
        other_inflates(one, 0);
    drop_before_forget = false;
    __real_counted_forget_frame(number);
}

/* The last sharer takes its frame back while the last one who had left gives the page up. */
static void object_and_frame_part(void **state)
{
    (void)state;
    start_merged(5);
    uint32_t object = page_out_first();
    drop_before_forget = true;
    sim_write_word(two, 0, 8, 5);
    assert_false(drop_before_forget);
    assert_null(counted_peek(object));
    assert_int_equal(frame_kind_count(FRAME_SHARED), 0);
    assert_int_equal(sim_host_counter(MM_HOST_pool_objects), 0);
    sim_oracle(true);
    sim_verify(two);
    sim_stop();
}

static uint32_t loading;
static bool move_refused;

static void move_while_loading(pfn_t frame)
{
    map_hook(frame);
    if (frame_at(frame)->kind != FRAME_POOL || move_refused)
        return;
    unsigned here = sim.cpu;
    sim.cpu = !here;
    pool_location_t from = counted_at(loading)->location;
    move_refused = !counted_moved(loading, from, (pool_location_t){ from.v + 1 });
    sim.cpu = here;
}

/* Compaction does not wait for an object that is being read: that stays where it is. */
static void object_in_use(void **state)
{
    (void)state;
    start_merged(6);
    loading = page_out_first();
    sim_write_word(two, 0, 8, 5); /* the frame is gone, the object is all there is */
    move_refused = false;
    watch_frames(move_while_loading);
    sim_read(one, 0);
    sim_hooks.frame_map = map_hook;
    assert_true(move_refused);
    sim_oracle(true);
    sim_stop();
}

/* ---- completions
 * ------------------------------------------------------------------------------------ */

/* Two pages of a VM cannot be read: it is stopped once. */
static void two_reasons_to_stop(void **state)
{
    (void)state;
    struct mm_vm_config config;
    start(400, 7);
    core.config.tiers[MM_TIER_COMPRESS] = core.config.tiers[MM_TIER_SHARE] = false;
    sim_vm_config_default(&config, 500);
    config.vcpu_count = 2;
    one = sim_vm_add(&config);
    for (uint32_t g = 0; g < 500; g++)
        sim_write(one, g, SIM_NOISE, g);
    sim_settle();
    sim.stop_allowed = true;
    sim.disk.fail_read_first = sim.disk.reads + 1;
    sim.disk.fail_read_count = UINT64_MAX;
    uint32_t page = 0;
    for (unsigned v = 0; v < 2; v++, page++) {
        while (homes_of(one, page) != HOME_SWAP)
            page++;
        one->vcpus[v].op = (struct sim_op){ .kind = SIM_READ, .gfn = page };
        assert_int_equal(sim_vcpu_try(&one->vcpus[v]), MM_WAIT);
    }
    while (sim_disk_complete())
        ;
    assert_true(one->stopped);
    assert_int_equal(sim.stops[MM_STOP_SWAP_READ], 1);
    sim_oracle(true);
    sim_stop();
}

static struct sim_vm *to_stop;

bool __real_balloon_can_help(void);
bool __wrap_balloon_can_help(void);
bool __wrap_balloon_can_help(void)
{
    struct sim_vm *vm = to_stop;
    to_stop = NULL;
    if (vm)
        vm_stop(vm->core, MM_STOP_SWAP_READ);
    return __real_balloon_can_help();
}

/* The VM whose limit is in the way is stopped for another reason, by a completion, while a
 * step looks for who has to go: nobody else has to. */
static void nobody_else(bool compress)
{
    struct mm_vm_config config;
    start(900, 11);
    memset(core.config.tiers, 0, sizeof core.config.tiers);
    core.config.tiers[MM_TIER_COMPRESS] = compress;
    sim_vm_config_default(&config, 500);
    config.limit_pages = 150;
    one = sim_vm_add(&config);
    two = member(200);
    for (uint32_t g = 0; g < 150; g++)
        sim_write(one, g, SIM_NOISE, g);
    for (uint32_t g = 0; g < 200; g++)
        sim_write(two, g, SIM_NOISE, g);
    struct sim_vcpu *vcpu = &one->vcpus[0];
    vcpu->op = (struct sim_op){ .kind = SIM_WRITE_PAGE, .gfn = 300, .content = SIM_NOISE };
    assert_int_equal(sim_vcpu_try(vcpu), MM_WAIT);
    to_stop = one;
    sim.stop_allowed = true;
    for (unsigned i = 0; i < 50; i++)
        SIM_CORE(mm_step());
    assert_null(to_stop);
    assert_true(one->stopped && !two->stopped);
    assert_int_equal(sim_host_counter(MM_HOST_victims), 0);
    sim_vm_remove(one);
    sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

static void stopped_by_another(void **state)
{
    (void)state;
    nobody_else(false);
    nobody_else(true);
}

/* A clock that another CPU reads a little earlier adds nothing to a wait. */
static void a_clock_behind(void **state)
{
    (void)state;
    homes_start(HOME_SWAP, 8);
    one = sim_vm_simple(250);
    assert_true(homes_reach(one, 5, HOME_SWAP));
    sim_settle();
    sim.time += 100000;
    uint64_t before = one->core->stall_ns[MM_WAIT_PAGE_IN];
    one->vcpus[0].op = (struct sim_op){ .kind = SIM_READ, .gfn = 5 };
    assert_int_equal(sim_vcpu_try(&one->vcpus[0]), MM_WAIT);
    sim.time -= 5000;
    while (sim_disk_complete())
        ;
    assert_false(one->vcpus[0].asleep);
    assert_int_equal(one->core->stall_ns[MM_WAIT_PAGE_IN], before);
    assert_int_equal(sim_do(&one->vcpus[0], one->vcpus[0].op), MM_DONE);
    sim_stop();
}

/* ---- words that two write
 * ----------------------------------------------------------------------------- */

#define TURNS 100000u

static uint64_t *word;
static bool stop;
static uint64_t set, lost;

/* A processor that writes through the entry: it sets the bit where it is clear. */
static void *set_dirty(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        set += !(__atomic_fetch_or(word, ENTRY_ACCESSED | ENTRY_DIRTY, __ATOMIC_ACQ_REL) &
                 ENTRY_DIRTY);
    return unused;
}

/* One whose bit must stay until it is cleared, here by itself. */
static void *keep_dirty(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        __atomic_fetch_or(word, ENTRY_DIRTY, __ATOMIC_ACQ_REL);
        for (unsigned i = 0; i < 20; i++)
            lost += !(__atomic_load_n(word, __ATOMIC_ACQUIRE) & ENTRY_DIRTY);
        __atomic_fetch_and(word, ~ENTRY_DIRTY, __ATOMIC_ACQ_REL);
    }
    return unused;
}

/* Whatever the entry becomes, each dirty bit is told once and none is lost (P5). */
static void dirty_bits(void **state)
{
    (void)state;
    struct leaf leaf;
    uint64_t seen = 0;
    start(400, 9);
    one = member(64);
    sim_write(one, 5, SIM_NOISE, 5);
    sim_leave(one->vcpus[0].cpu);
    pfn_t frame = frame_of(one, 5);
    nested_lock(one->core, gfn(5), NESTED_LOOK, &leaf);
    word = &leaf.slot->v;
    home_change(&leaf, entry_private(frame)); /* clean */
    set = lost = 0, stop = false;
    pthread_create(&second, NULL, set_dirty, NULL);
    for (unsigned i = 0; i < TURNS; i++)
        seen += (home_change(&leaf, entry_private(frame)).v & ENTRY_DIRTY) != 0;
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    pthread_join(second, NULL);
    seen += (*word & ENTRY_DIRTY) != 0;
    assert_int_equal(seen, set);
    stop = false;
    pthread_create(&second, NULL, keep_dirty, NULL);
    for (unsigned i = 0; i < TURNS; i++)
        home_adjust(&leaf, i % 2 ? ENTRY_LOGGED : 0, i % 2 ? 0 : ENTRY_LOGGED);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    pthread_join(second, NULL);
    assert_int_equal(lost, 0);
    nested_unlock(&leaf);
    sim_stop();
}

static uint64_t credits;

static void *use_credit(void *unused)
{
    for (unsigned i = 0; i < TURNS; i++)
        __atomic_fetch_add(&credits, vm_take_credit(one->core), __ATOMIC_RELAXED);
    return unused;
}

static void *raise_peak(void *unused)
{
    for (unsigned i = 0; i < TURNS; i++) {
        core_count(MM_HOST_freed_swap, 1);
        core_net_peaks();
    }
    return unused;
}

/* Credit is given out to the last page and no further; a peak is the highest there was. */
static void counts_of_two(void **state)
{
    (void)state;
    start(400, 10);
    one = member(64);
    one->core->balloon_credit = TURNS + TURNS / 2;
    credits = 0;
    pthread_create(&second, NULL, use_credit, NULL);
    use_credit(NULL);
    pthread_join(second, NULL);
    assert_int_equal(credits, TURNS + TURNS / 2);
    assert_int_equal(one->core->balloon_credit, 0);
    pthread_create(&second, NULL, raise_peak, NULL);
    raise_peak(NULL);
    pthread_join(second, NULL);
    assert_int_equal(core.counters[MM_HOST_peak_net_share + MM_TIER_SWAP], 2 * TURNS);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_made_meanwhile),
        cmocka_unit_test(plenty_no_more),
        cmocka_unit_test(pairs_that_change),
        cmocka_unit_test(last_one_while_copying),
        cmocka_unit_test(object_and_frame_part),
        cmocka_unit_test(object_in_use),
        cmocka_unit_test(two_reasons_to_stop),
        cmocka_unit_test(a_clock_behind),
        cmocka_unit_test(dirty_bits),
        cmocka_unit_test(counts_of_two),
        cmocka_unit_test(stopped_by_another),
        cmocka_unit_test(across_a_gibibyte),
    };
    return cmocka_run_group_tests_name("races", tests, NULL, NULL);
}
