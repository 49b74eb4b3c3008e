/*
 * VMs at their limit, and a host at its end: who waits, who goes on, who is stopped.
 */
#include <string.h>

#include "mm/core.h"
#include "mm/nested.h"
#include "mm/pageout.h"
#include "mm/swap.h"
#include "mm/vm.h"
#include "tests/host/homes.h"

static void start(uint32_t frames, uint32_t disk_pages, const char *tiers, uint64_t seed)
{
    struct sim_settings settings;
    sim_settings_default(&settings, seed);
    settings.frames = frames;
    settings.disk_pages = disk_pages;
    settings.interleave = 0;
    settings.core.tiers[MM_TIER_SHARE] = strchr(tiers, 's') != NULL;
    settings.core.tiers[MM_TIER_BALLOON] = strchr(tiers, 'b') != NULL;
    settings.core.tiers[MM_TIER_COMPRESS] = strchr(tiers, 'c') != NULL;
    settings.core.tiers[MM_TIER_SWAP] = strchr(tiers, 'w') != NULL;
    sim_start(&settings);
}

static struct sim_vm *limited(uint32_t pages, uint32_t limit)
{
    struct mm_vm_config config;
    sim_vm_config_default(&config, pages);
    config.limit_pages = limit;
    config.vcpu_count = 2;
    config.salt = 3;
    return sim_vm_add(&config);
}

/* ---- a VM without a limit of its own ------------------------------------------------ */

/* What it is charged for a merged page is rounded up; its last page is no page too many. */
static void copy_in_a_full_vm(void **state)
{
    (void)state;
    start(900, 0, "s", 1);
    struct sim_vm *vm = limited(260, 260), *other = limited(260, 260);
    for (unsigned i = 0; i < 2; i++) {
        sim_write(i ? vm : other, 0, SIM_COMMON, 1);
        for (uint32_t g = 1; g < 260; g++)
            sim_write(i ? vm : other, g, SIM_NOISE, 1000 * i + g);
    }
    for (unsigned i = 0; i < 3000 && homes_of(vm, 0) != HOME_SHARED; i++)
        sim_pump();
    assert_int_equal(homes_of(vm, 0), HOME_SHARED);
    assert_int_equal(sim_vm_counter(vm, MM_VM_private), 259);
    sim_write_word(vm, 0, 8, 5);
    assert_int_equal(sim.waits, 0);
    assert_int_equal(sim_vm_counter(vm, MM_VM_private), 260);
    sim_oracle(true);
    sim_stop();
}

/* The same with a page in the pool, after the neighbour who drove it there has gone. */
static void last_page_from_the_pool(void **state)
{
    (void)state;
    start(620, 0, "c", 2);
    struct sim_vm *vm = sim_vm_simple(250), *other = sim_vm_greedy(320);
    for (uint32_t g = 0; g < 250; g++)
        sim_write(vm, g, g == 40 ? SIM_TEXT : SIM_NOISE, g);
    for (uint32_t g = 0; g < 3000 && homes_of(vm, 40) != HOME_POOL; g++) {
        sim_write(other, g % 320, SIM_TEXT, g);
        sim_pump();
    }
    assert_int_equal(homes_of(vm, 40), HOME_POOL);
    assert_int_equal(sim_vm_counter(vm, MM_VM_private), 249);
    sim_vm_remove(other);
    sim_run(50);
    uint64_t waits = sim.waits;
    assert_int_equal(sim_read(vm, 40), MM_DONE);
    assert_int_equal(sim.waits, waits);
    assert_int_equal(sim_vm_counter(vm, MM_VM_private), 250);
    sim_oracle(true);
    sim_stop();
}

/* ---- a VM at its limit ----------------------------------------------------------------- */

/* Nothing can be taken from it: it is stopped, and nobody else, however much is free. */
static void nothing_to_take(const char *tiers, enum sim_content content)
{
    start(900, 1500, tiers, 3);
    struct sim_vm *vm = limited(500, 150), *other = limited(200, 190);
    sim.victim_allowed = true;
    sim.disk.fail_write_first = 1;
    sim.disk.fail_write_count = UINT64_MAX;
    for (uint32_t g = 0; g < 190; g++)
        sim_write(other, g, SIM_NOISE, 1000 + g);
    for (uint32_t g = 0; g < 500 && !vm->stopped; g++) {
        sim_write(vm, g, g % 8 ? SIM_NOISE : content, g);
        sim_oracle(false);
    }
    assert_true(vm->stopped);
    assert_int_equal(vm->reason, MM_STOP_OUT_OF_MEMORY);
    assert_false(other->stopped);
    assert_int_equal(sim_host_counter(MM_HOST_victims), 1);
    assert_int_equal(mm_host_state(), MM_HIGH);
    sim_verify(other);
    sim_oracle(true);
    sim_stop();
}

static void at_the_limit(void **state)
{
    (void)state;
    nothing_to_take("", SIM_NOISE);  /* no tier takes anything */
    nothing_to_take("w", SIM_NOISE); /* one tries in vain */
    nothing_to_take("c", SIM_TEXT);  /* what went into the pool is charged, too */
}

/* Who gives a page back while it waits goes on; that it waited once is no reason to
 * choose it when the host is at its end. */
static void given_back_in_time(void **state)
{
    (void)state;
    start(420, 0, "", 4);
    struct sim_vm *vm = limited(200, 150), *other = sim_vm_simple(400);
    for (uint32_t g = 0; g < 150; g++)
        sim_write(vm, g, SIM_NOISE, g);
    struct sim_vcpu *second = &vm->vcpus[1];
    second->op = (struct sim_op){ .kind = SIM_WRITE_PAGE, .gfn = 180, .content = SIM_NOISE };
    assert_int_equal(sim_vcpu_try(second), MM_WAIT);
    assert_int_equal(sim_inflate(vm, 7), MM_BALLOON_OK);
    sim_pump();
    assert_false(second->asleep);
    assert_int_equal(sim_do(second, second->op), MM_DONE);
    assert_int_equal(sim_vm_counter(vm, MM_VM_private), 150);
    assert_int_equal(sim_host_counter(MM_HOST_victims), 0);
    /* It has more than its target now, but the other one is further above. */
    sim.victim_allowed = true;
    for (uint32_t g = 0; g < 400 && !other->stopped; g++) {
        sim_write(other, g, SIM_NOISE, g);
        if (vm->core->target > 100)
            vm->core->target = 100;
        other->core->target = 100;
    }
    assert_true(other->stopped);
    assert_false(vm->stopped);
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

/* All it may have is reserved for it: pages in use stay two rounds, and one step in which
 * none left is no reason to stop it. */
static void limit_and_reservation(void **state)
{
    (void)state;
    start(900, 1500, "w", 5);
    struct mm_vm_config config;
    sim_vm_config_default(&config, 500);
    config.limit_pages = config.reserve_pages = 150;
    struct sim_vm *vm = sim_vm_add(&config);
    for (uint32_t g = 0; g < 500; g++)
        sim_write(vm, g, SIM_NOISE, g);
    assert_true(sim_vm_counter(vm, MM_VM_out_swap) >= 350);
    assert_true(sim_vm_counter(vm, MM_VM_private) <= 150);
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

/* Pages of the VM into the pool by hand, as pressure on the host would. */
static void into_the_pool(struct sim_vm *vm, uint32_t pages)
{
    struct pageout batch = { .vm = vm->core };
    for (uint32_t g = 0; g < pages; g++) {
        struct leaf leaf;
        SIM_CORE(nested_lock(vm->core, gfn(g), NESTED_LOOK, &leaf));
        if (entry_home(leaf.entry) == HOME_PRIVATE && pageout_may(&leaf))
            SIM_CORE(pageout_add(&batch, &leaf));
        SIM_CORE(nested_unlock(&leaf));
        SIM_CORE(pageout_run(&batch));
    }
}

/* What it has in the pool is charged, too. When no page of its own leaves any more, that
 * goes to swap; where there is no swap it stays, and nobody is stopped who does not wait. */
static void its_part_of_the_pool(bool swap)
{
    start(900, 1500, "cw", 9);
    struct sim_vm *vm = limited(500, 200);
    void *content;
    for (uint32_t g = 0; g < 180; g++)
        sim_write(vm, g, g < 100 ? SIM_TEXT : SIM_NOISE, g);
    into_the_pool(vm, 100);
    assert_true(vm->core->pool_bytes > 10 * PAGE_SIZE);
    uint32_t g = 180;
    while (!vm_is_at_limit(vm->core))
        sim_write(vm, g, SIM_NOISE, g), g++;
    core.config.tiers[MM_TIER_SWAP] = swap;
    vm->core->dry_pages = 100000; /* its hand has gone round often */
    SIM_CORE(assert_int_equal(mm_pin(vm->core, NULL, gfn(g), MM_WRITE, &content), MM_WAIT));
    uint64_t bytes = vm->core->pool_bytes;
    for (unsigned i = 0; i < 6; i++) {
        SIM_CORE(mm_step());
        while (sim_disk_complete())
            ;
    }
    assert_true(swap ? vm->core->pool_bytes < bytes : vm->core->pool_bytes == bytes);
    assert_int_equal(sim_host_counter(MM_HOST_victims), 0);
    core.config.tiers[MM_TIER_SWAP] = true;
    sim_write(vm, g, SIM_NOISE, g);
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

static void charged_for_the_pool(void **state)
{
    (void)state;
    its_part_of_the_pool(true);
    its_part_of_the_pool(false);
}

/* While VMs above their target are held, a vCPU waits, and the hypervisor does not. */
static void held_above_the_target(void **state)
{
    (void)state;
    void *content;
    start(900, 1500, "w", 10);
    struct sim_vm *vm = sim_vm_simple(200);
    for (uint32_t g = 0; g < 100; g++)
        sim_write(vm, g, SIM_NOISE, g);
    core.hold = true;
    vm->core->target = 80;
    struct sim_vcpu *vcpu = &vm->vcpus[0];
    vcpu->op = (struct sim_op){ .kind = SIM_READ, .gfn = 150 };
    assert_int_equal(sim_vcpu_try(vcpu), MM_WAIT);
    assert_int_equal(mm_vcpu_waiting(&vcpu->core), MM_WAIT_HELD);
    SIM_CORE(assert_int_equal(mm_pin(vm->core, NULL, gfn(160), MM_READ, &content), MM_DONE));
    SIM_CORE(mm_unpin(vm->core, gfn(160)));
    core.hold = false;
    assert_int_equal(sim_do(vcpu, vcpu->op), MM_DONE);
    sim_oracle(true);
    sim_stop();
}

/* ---- the host ------------------------------------------------------------------------------ */

/* Of more VMs than a step looks at, the one that has something to give is found, also
 * after the one that had most has gone. */
static void one_of_many(void **state)
{
    (void)state;
    enum { VMS = 14, LAST = VMS - 1 };
    start(1700, 4000, "w", 6);
    struct mm_vm_config config;
    struct sim_vm *vms[VMS];
    for (unsigned i = 0; i < VMS; i++) {
        sim_vm_config_default(&config, i == 0 || i == LAST ? 300 : 80);
        config.reserve_pages = i == 0 || i == LAST ? 0 : 80;
        config.salt = (uint16_t)i;
        vms[i] = sim_vm_add(&config);
    }
    struct sim_vm *greedy = sim_vm_greedy(900);
    for (unsigned i = 0; i < LAST; i++)
        for (uint32_t g = 0; g < vms[i]->config.pages; g++)
            sim_write(vms[i], g, SIM_NOISE, 1000 * i + g);
    uint32_t g = 0;
    while (sim_vm_counter(vms[0], MM_VM_out_swap) < 40)
        assert_int_equal(sim_write(greedy, g % 900, SIM_NOISE, 9000 + g), MM_DONE), g++;
    sim_vm_remove(vms[0]);
    for (uint32_t page = 0; page < 300; page++)
        sim_write(vms[LAST], page, SIM_NOISE, 500000 + page);
    while (sim_vm_counter(vms[LAST], MM_VM_out_swap) < 100)
        assert_int_equal(sim_write(greedy, g % 900, SIM_NOISE, 9000 + g), MM_DONE), g++;
    for (unsigned i = 1; i < LAST; i++)
        assert_int_equal(sim_vm_counter(vms[i], MM_VM_out_swap), 0);
    sim_verify(vms[LAST]);
    sim_oracle(true);
    sim_stop();
}

/* As a processor does that reads the page. */
static void set_accessed(struct sim_vm *vm, uint32_t page)
{
    struct leaf leaf;
    SIM_CORE(nested_lock(vm->core, gfn(page), NESTED_LOOK, &leaf));
    if (entry_is_present(leaf.entry))
        SIM_CORE(home_adjust(&leaf, ENTRY_ACCESSED, 0));
    SIM_CORE(nested_unlock(&leaf));
}

/* Merged pages that are read all the time stay two rounds and go in the third: a vCPU
 * that waits for a frame gets one (P10). */
static void all_pages_in_use(void **state)
{
    (void)state;
    start(620, 0, "sc", 7);
    /* Of more pages than a step looks at: it comes to none twice. */
    struct sim_vm *one = limited(300, 300), *two = limited(300, 300);
    for (uint32_t g = 0; g < 190; g++) {
        sim_write(one, g, SIM_TEXT, g);
        sim_write(two, g, SIM_TEXT, g);
    }
    sim_run(3000);
    assert_true(sim_vm_counter(one, MM_VM_shared) > 100);
    struct sim_vm *greedy = sim_vm_greedy(500);
    struct sim_vcpu *vcpu = &greedy->vcpus[0];
    uint32_t written = 0;
    for (unsigned i = 0; i < 20000 && sim_vm_counter(one, MM_VM_out_counted) < 1; i++) {
        if (vcpu->op.kind == SIM_NO_OP)
            vcpu->op = (struct sim_op){
                .kind = SIM_WRITE_PAGE, .gfn = written++ % 500, .content = SIM_NOISE, .value = i
            };
        sim_vcpu_try(vcpu);
        for (uint32_t g = 0; g < 190; g++) {
            set_accessed(one, g);
            set_accessed(two, g);
        }
        SIM_CORE(mm_step()); /* without ticks: nothing else looks at accessed bits */
    }
    assert_true(sim_vm_counter(one, MM_VM_out_counted) > 0);
    sim_verify(one);
    sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

/* A pool at its own limit passes its oldest on to swap, and takes new ones in. */
static void a_small_pool(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 8);
    settings.frames = 500;
    settings.disk_pages = 3000;
    settings.core.pool_percent = 6;
    settings.core.tiers[MM_TIER_BALLOON] = false;
    sim_start(&settings);
    sim_vm_config_default(&config, 400);
    config.salt = 5;
    struct sim_vm *one = sim_vm_add(&config), *two = sim_vm_add(&config);
    struct sim_vm *greedy = sim_vm_greedy(700);
    uint64_t most = 0;
    for (uint32_t g = 0; g < 100; g++) {
        sim_write(one, g, SIM_TEXT, g);
        sim_write(two, g, SIM_TEXT, g);
    }
    sim_run(1500);
    for (uint32_t g = 0; g < 700; g++) {
        sim_write(greedy, g, SIM_TEXT, 2000 + g);
        if (g < 300)
            sim_write(one, 100 + g, SIM_TEXT, 5000 + g);
        uint64_t frames = sim_host_counter(MM_HOST_frames_pool);
        most = frames > most ? frames : most;
        sim_oracle(g % 32 == 0);
    }
    assert_in_range(most, 1, 500 * 6 / 100 + 1);
    assert_true(sim_host_counter(MM_HOST_pool_written_back) > 100);
    sim_verify(one);
    sim_verify(two);
    sim_verify(greedy);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copy_in_a_full_vm),     cmocka_unit_test(last_page_from_the_pool),
        cmocka_unit_test(at_the_limit),          cmocka_unit_test(given_back_in_time),
        cmocka_unit_test(limit_and_reservation), cmocka_unit_test(charged_for_the_pool),
        cmocka_unit_test(held_above_the_target), cmocka_unit_test(one_of_many),
        cmocka_unit_test(all_pages_in_use),      cmocka_unit_test(a_small_pool),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
