/*
 * Sharing under collisions: a hash of this test's own takes the place of the
 * core's, as bad as an adversary could wish. The compare of whole pages decides,
 * walks stay short, and every page that does not merge has a reason.
 */
#include <string.h>

#include "mm/hash.h"
#include "mm/nested.h"
#include "mm/pageout.h"
#include "mm/share.h"
#include "mm/vm.h"
#include "tests/host/homes.h"

static uint64_t hash_mask; /* bits of the true hash that are left */

void hash_init(void) {}

static uint64_t fnv(const uint8_t *bytes, uint32_t size)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    for (uint32_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    return hash ^ hash >> 32;
}

uint64_t hash_page(const void *page)
{
    return fnv(page, PAGE_SIZE) & hash_mask;
}

uint32_t hash_bytes(const void *bytes, uint32_t size)
{
    return (uint32_t)fnv(bytes, size);
}

void hash_bytes_forget(uint32_t size)
{
    (void)size;
}

bool hash_page_uniform(const void *page, uint64_t *word)
{
    const uint64_t *words = page;
    for (unsigned i = 1; i < PAGE_WORDS; i++)
        if (words[i] != words[0])
            return false;
    *word = words[0];
    return true;
}

#define PAGES 200u

static struct sim_vm *one, *two;

static void start(uint64_t mask, bool accessed_dirty, unsigned interleave)
{
    struct sim_settings settings;
    struct mm_vm_config config;
    hash_mask = mask;
    sim_settings_default(&settings, 61);
    settings.frames = 1200;
    settings.cpus = interleave ? 3 : 1;
    settings.interleave = interleave;
    settings.core.accessed_dirty = accessed_dirty;
    sim_start(&settings);
    sim_vm_config_default(&config, PAGES + SIM_ROLL_PAGES);
    config.salt = 4;
    one = sim_vm_add(&config);
    two = sim_vm_add(&config);
}

static void scan(void)
{
    sim_roll_floor(&one->vcpus[0]);
    sim_roll_floor(&two->vcpus[0]);
    for (unsigned i = 0; i < 40; i++) {
        sim_run(60);
        sim_oracle(i % 8 == 0);
    }
}

/* All pages have one hash and no two are equal: nothing merges, and a look walks
 * no further than a chain is long. */
static void a_flood(bool accessed_dirty)
{
    start(0, accessed_dirty, 0);
    for (uint32_t g = 0; g < PAGES; g++) {
        sim_write(one, g, SIM_NOISE, g);
        sim_write(two, g, SIM_NOISE, 1000 + g);
    }
    scan();
    assert_int_equal(sim_host_counter(MM_HOST_share_merged), 0);
    assert_true(sim_host_counter(MM_HOST_share_collision) > 100);
    assert_null(share_audit());
    sim_verify(one);
    sim_verify(two);
    sim_stop();
}

static void floods(void **state)
{
    (void)state;
    a_flood(true);
    a_flood(false);
}

/* Four bits of hash: equal pages are among many that only look so. A page is compared
 * with one of them a look, so few merge, and none wrongly. */
static void needles(void **state)
{
    (void)state;
    start(15, true, 0);
    for (uint32_t g = 0; g < PAGES; g++) {
        sim_write(one, g, SIM_NOISE, g);
        sim_write(two, g, SIM_NOISE, g % 2 ? g : 5000 + g);
    }
    scan();
    scan();
    assert_true(sim_host_counter(MM_HOST_share_collision) > 100);
    for (uint32_t g = 0; g < PAGES; g++)
        sim_write_word(two, g, 8, g);
    sim_oracle(true);
    sim_verify(one);
    sim_verify(two);
    sim_stop();
}

/* Buckets that are full of others turn pages away, by name. */
static void full_buckets(void **state)
{
    (void)state;
    start(UINT64_MAX, true, 0);
    pfn_t frames[SHARE_WALK];
    /* Every bucket that a page of one could fall into is full before. */
    for (uint32_t g = 0; g < 8; g++)
        sim_write(one, g, SIM_NOISE, g);
    for (uint32_t g = 0; g < 8; g++) {
        uint32_t key = share_key(hash_page(sim_shadow(one, g)), 4);
        for (unsigned i = 0; i < SHARE_WALK && g == 3; i++) {
            frames[i] = frame_alloc(FRAME_PRIVATE, FRAME_ORDINARY);
            struct frame *frame = frame_at(frames[i]);
            frame->tag = one->core->id;
            frame->private.hash = key ^ 1; /* the same bucket, another key */
            assert_true(share_index_insert(frames[i]));
        }
    }
    sim_roll_floor(&one->vcpus[0]);
    sim_run(2000);
    assert_true(sim_host_counter(MM_HOST_share_walk_limit) > 0);
    for (unsigned i = 0; i < SHARE_WALK; i++) {
        share_forget(frames[i]);
        frame_free(frames[i]);
    }
    sim_oracle(true);
    sim_stop();
}

/* Colliding pages that guests on other CPUs write all the while. */
static void with_writers(void **state)
{
    (void)state;
    start(63, true, 10);
    for (unsigned round = 0; round < 12; round++) {
        for (uint32_t g = 0; g < 40; g++) {
            sim_write(one, g, SIM_COMMON, round % 3 + g % 2);
            sim_write(two, g, SIM_COMMON, round % 3);
        }
        sim_roll_floor(&one->vcpus[0]);
        sim_roll_floor(&two->vcpus[0]);
        /* They come and go, so that pages also rest for a while. */
        for (unsigned i = 0; i < 96; i++) {
            if (i % 16 == 0) {
                sim_enter(&one->vcpus[0]);
                sim_enter(&two->vcpus[0]);
            }
            sim_pump();
            for (unsigned cpu = 0; cpu < 3 && i % 16 == 3; cpu++)
                sim_leave(cpu);
            sim_oracle(i % 16 == 0);
        }
    }
    assert_true(sim_host_counter(MM_HOST_share_merged) > 0);
    sim_verify(one);
    sim_verify(two);
    sim_stop();
}

/* A merged frame with as many sharers as its count holds takes no more. */
static void most_sharers(void **state)
{
    (void)state;
    start(UINT64_MAX, true, 0);
    sim_write(one, 0, SIM_COMMON, 1);
    sim_write(one, 1, SIM_COMMON, 1);
    scan();
    unsigned level;
    pfn_t merged = entry_frame((entry_t){ sim_peek(one, 0, &level) });
    struct frame *frame = frame_at(merged);
    assert_int_equal(frame->kind, FRAME_SHARED);
    frame->shared.count = SHARE_COUNT_MAX;
    assert_true(pfn_is_none(share_index_find(frame->shared.hash, 4, PFN_NONE).frame));
    frame->shared.count = 2;
    /* A merged frame comes before a page that is equal, too. */
    pfn_t equal[2];
    for (unsigned i = 0; i < 2; i++) {
        equal[i] = frame_alloc(FRAME_PRIVATE, FRAME_ORDINARY);
        frame_at(equal[i])->tag = one->core->id;
        frame_at(equal[i])->private.hash = frame->shared.hash;
        assert_true(share_index_insert(equal[i]));
    }
    struct share_found found = share_index_find(frame->shared.hash, 4, PFN_NONE);
    assert_true(found.merged && found.frame.v == merged.v);
    for (unsigned i = 0; i < 2; i++) {
        share_forget(equal[i]);
        frame_free(equal[i]);
    }
    assert_false(share_frame_drop(merged));
    /* Who had left and comes back gets a copy of its own. */
    struct pageout batch = { .vm = one->core };
    struct leaf leaf;
    SIM_CORE(nested_lock(one->core, gfn(0), NESTED_LOOK, &leaf));
    SIM_CORE(assert_true(pageout_shared(&leaf, &batch)));
    SIM_CORE(nested_unlock(&leaf));
    assert_int_equal(homes_of(one, 0), HOME_COUNTED);
    frame->shared.count = SHARE_COUNT_MAX;
    sim_read(one, 0);
    assert_int_equal(homes_of(one, 0), HOME_PRIVATE);
    assert_int_equal(frame->shared.count, SHARE_COUNT_MAX);
    frame->shared.count = 1;
    sim_oracle(true);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floods),       cmocka_unit_test(needles),
        cmocka_unit_test(full_buckets), cmocka_unit_test(with_writers),
        cmocka_unit_test(most_sharers),
    };
    return cmocka_run_group_tests_name("collisions", tests, NULL, NULL);
}
