/*
 * Swapping through the whole core: errors, tampering, waiting, VMs that end with
 * I/O in flight, and what lies on the disk.
 */
#include <stdio.h>
#include <string.h>

#include "tests/host/homes.h"

static struct sim_vm *vm, *other;

/* Two VMs whose pages are mostly on disk. */
static void start(uint64_t seed)
{
    struct sim_settings settings;
    sim_settings_default(&settings, seed);
    settings.frames = 400;
    settings.disk_pages = 1500;
    settings.core.tiers[MM_TIER_SHARE] = settings.core.tiers[MM_TIER_COMPRESS] = false;
    sim_start(&settings);
    vm = sim_vm_simple(400);
    other = sim_vm_simple(400);
    for (uint32_t g = 0; g < 400; g++) {
        sim_write(vm, g, SIM_NOISE, g);
        sim_write(other, g, SIM_NOISE, 5000 + g);
    }
    sim_settle();
    sim_disk_heal();
}

/* The first sharer of a merged page is on its way to the disk and the write fails:
 * it shares again, and nothing is left of the object. */
static void write_errors_of_merged_pages(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 80);
    settings.frames = 400;
    settings.disk_pages = 6000;
    settings.core.tiers[MM_TIER_BALLOON] = settings.core.tiers[MM_TIER_COMPRESS] = false;
    sim_start(&settings);
    sim_vm_config_default(&config, 400);
    config.salt = 3;
    vm = sim_vm_add(&config);
    for (uint32_t g = 0; g < 160; g++)
        sim_write(vm, g, SIM_TEXT, g / 2);
    sim_roll_floor(&vm->vcpus[0]);
    sim_run(400);
    uint64_t merged = sim_vm_counter(vm, MM_VM_shared);
    assert_true(merged >= 120);
    other = sim_vm_greedy(600);
    sim.disk.fail_write_permille = 500;
    for (uint32_t g = 0; g < 600; g++) {
        sim_write(other, g, SIM_NOISE, 5000 + g);
        if (g % 16 == 0)
            sim_oracle(true);
    }
    assert_true(sim.events[MM_EVENT_SWAP_ERROR] > 0);
    assert_true(sim_vm_counter(vm, MM_VM_counted) > 0);
    sim_disk_heal();
    sim_verify(vm);
    sim_verify(other);
    sim_oracle(true);
    sim_stop();
}

static uint32_t swapped_page(struct sim_vm *of)
{
    for (uint32_t g = 0; g < of->config.pages; g++)
        if (homes_of(of, g) == HOME_SWAP)
            return g;
    sim_fail("%s has no page in swap", of->name);
}

/* Reads are tried again: a passing error is not seen by anybody. */
static void passing_read_error(void **state)
{
    (void)state;
    start(71);
    for (unsigned i = 0; i < 20; i++) {
        sim.disk.fail_read_first = sim.disk.reads + 1;
        sim.disk.fail_read_count = 1 + i % 2;
        assert_int_equal(sim_read(vm, swapped_page(vm)), MM_DONE);
    }
    assert_true(sim_host_counter(MM_HOST_swap_retries) >= 20);
    assert_true(sim_host_counter(MM_HOST_swap_read_errors) >= 20);
    sim_verify(vm);
    sim_verify(other);
    sim_stop();
}

/* A lasting one stops the VM that owned the page, and nobody else. */
static void lasting_read_error(void **state)
{
    (void)state;
    start(72);
    sim.stop_allowed = true;
    sim.disk.fail_read_first = 1;
    sim.disk.fail_read_count = UINT64_MAX;
    assert_int_equal(sim_read(vm, swapped_page(vm)), MM_STOPPED);
    assert_int_equal(vm->reason, MM_STOP_SWAP_READ);
    assert_false(other->stopped);
    sim_disk_heal();
    sim_oracle(true);
    sim_vm_remove(vm);
    sim_verify(other);
    sim_oracle(true);
    sim_stop();
}

static void damage_is_noticed(void **state)
{
    unsigned detected = 0, harmless = 0;
    (void)state;
    for (int damage = SIM_FLIPPED; damage < SIM_DAMAGE_COUNT; damage++)
        for (uint64_t round = 0; round < 4; round++) {
            start(73 + round);
            sim.stop_allowed = true;
            sim.disk.damage = (enum sim_damage)damage;
            sim.disk.damage_count = UINT64_MAX;
            if (damage != SIM_STALE)
                for (uint32_t g = 0; g < 300; g++) {
                    sim_write(other, g, SIM_NOISE, 9000 + g);
                    if (other->stopped)
                        break;
                }
            /* Every page is right, or its VM stops: sim_read compares. */
            for (uint32_t g = 0; g < 400; g++) {
                if (!vm->stopped)
                    sim_read(vm, g);
                if (!other->stopped)
                    sim_read(other, g);
            }
            assert_true(sim.disk.damaged > 0);
            assert_true(vm->stopped || other->stopped);
            for (unsigned i = 0; i < MM_STOP_REASON_COUNT; i++)
                if (i != MM_STOP_SWAP_TAMPERED)
                    assert_int_equal(sim.stops[i], 0);
            detected += (unsigned)sim_host_counter(MM_HOST_swap_tampered);
            harmless += !vm->stopped + !other->stopped;
            sim_disk_heal();
            sim_oracle(true);
            sim_stop();
        }
    printf("figure: P5: %u damaged pages reached a VM, all noticed\n", detected);
    (void)harmless;
}

/* A write error keeps the page and sets the extent aside. */
static void write_errors(void **state)
{
    (void)state;
    start(77);
    sim.disk.fail_write_first = 1;
    sim.disk.fail_write_count = 5;
    for (uint32_t g = 0; g < 400; g++)
        sim_write(vm, g, SIM_NOISE, 7000 + g);
    assert_true(sim_host_counter(MM_HOST_swap_write_errors) >= 5);
    assert_true(sim_host_counter(MM_HOST_swap_sectors_bad) > 0);
    assert_true(sim.events[MM_EVENT_SWAP_ERROR] > 0);
    sim_verify(vm);
    sim_verify(other);
    sim_settle();
    sim_oracle(true);
    sim_stop();
}

/* The disk dies: what was on it is lost with its VMs, the rest goes on. */
static void disk_gone(void **state)
{
    (void)state;
    start(78);
    struct mm_vm_config config;
    sim_vm_config_default(&config, 60);
    config.reserve_pages = 60;
    config.salt = 9;
    struct sim_vm *safe = sim_vm_add(&config);
    for (uint32_t g = 0; g < 60; g++)
        sim_write(safe, g, SIM_NOISE, g);
    sim.stop_allowed = sim.victim_allowed = true;
    sim.disk.gone = true;
    for (uint32_t g = 0; g < 400; g++) {
        if (!vm->stopped)
            sim_write(vm, g, SIM_NOISE, g);
        if (!other->stopped)
            sim_write(other, g, SIM_NOISE, g);
        sim_write(safe, g % 60, SIM_NOISE, g);
    }
    assert_true(vm->stopped && other->stopped);
    assert_false(safe->stopped);
    assert_int_equal(sim_host_counter(MM_HOST_swap_online), 0);
    assert_true(sim.events[MM_EVENT_TIER_OFF] > 0);
    sim_verify(safe);
    sim_oracle(true);
    sim_stop();
}

static void completions_in_any_order(void **state)
{
    (void)state;
    for (int order = SIM_FIFO; order <= SIM_RANDOM; order++) {
        start(79);
        sim.disk.order = (enum sim_order)order;
        for (unsigned i = 0; i < 3000; i++) {
            sim_random_step();
            sim_oracle(i % 64 == 0);
        }
        for (unsigned p = 0; p < SIM_PIN_SLOTS; p++) {
            if (vm->pins[p].used)
                sim_unpin(vm, (int)p);
            if (other->pins[p].used)
                sim_unpin(other, (int)p);
        }
        sim_verify(vm);
        sim_verify(other);
        sim_stop();
    }
}

/* A VM is destroyed while reads and writes of it are on their way. */
static void destroyed_in_flight(void **state)
{
    (void)state;
    for (unsigned delay = 0; delay < 40; delay++) {
        start(80 + delay);
        vm->vcpus[0].op = (struct sim_op){ .kind = SIM_READ, .gfn = swapped_page(vm) };
        while (sim_vcpu_try(&vm->vcpus[0]) == MM_DONE)
            ;
        for (unsigned i = 0; i < delay % 5; i++) {
            bool more;
            SIM_CORE(more = mm_step());
            (void)more;
        }
        bool gone = sim_vm_try_remove(vm);
        for (unsigned i = 0; !gone; i++) {
            assert_true(i < 1000);
            sim_pump();
            sim_oracle(false);
            gone = sim_vm_try_remove(vm);
        }
        sim_oracle(true);
        sim_settle();
        sim_verify(other);
        sim_stop();
    }
}

static bool contains(const uint8_t *hay, size_t size, const void *needle, size_t length)
{
    for (size_t i = 0; i + length <= size; i++)
        if (hay[i] == *(const uint8_t *)needle && memcmp(hay + i, needle, length) == 0)
            return true;
    return false;
}

/* P6: nothing a guest wrote is found on the disk, compressed pages included. */
static void ciphertext_only(void **state)
{
    static const char canary[] = "the canary sings: 0123456789abcdef";
    uint64_t words[4];
    struct sim_settings settings;
    (void)state;
    sim_settings_default(&settings, 90);
    settings.frames = 400;
    settings.disk_pages = 1500;
    sim_start(&settings);
    memcpy(words, canary, sizeof words);
    vm = sim_vm_simple(900);
    for (uint32_t g = 0; g < 900; g++) {
        sim_write(vm, g, g % 2 ? SIM_NOISE : SIM_TEXT, g);
        for (unsigned i = 0; i < 4; i++)
            sim_write_word(vm, g, (uint16_t)(256 + 8 * i), words[i]);
    }
    sim_settle();
    size_t size = sim.disk.device.sector_count * BLOCK_SECTOR_SIZE;
    assert_true(sim_host_counter(MM_HOST_swap_pages_written) > 200);
    assert_false(contains(sim.disk.bytes, size, canary, 16));
    assert_false(contains(sim.disk.bytes, size, "ballast frame", 13));
    sim_verify(vm);
    sim_stop();
}

/* Disks that are not ours are not written to, and their refusal has a name. */
static void foreign_disks(void **state)
{
    struct sim_settings settings;
    (void)state;
    sim_settings_default(&settings, 91);
    settings.disk_pages = 0;
    for (int kind = 0; kind < 5; kind++) {
        sim_start(&settings);
        sim_disk_init(300);
        uint64_t count = sim.disk.device.sector_count;
        if (kind == 0)
            sim.disk.bytes[0] ^= 1;
        if (kind == 1)
            sim.disk.bytes[40] ^= 1; /* uuid: the check does not fit */
        if (kind == 2)
            count = 5;
        if (kind == 3)
            sim.disk.gone = true;
        if (kind == 4)
            memset(sim.disk.bytes, 0, 4096);
        assert_int_not_equal(mm_swap_attach(&sim.disk.device, 0, count), 0);
        assert_int_equal(sim_host_counter(MM_HOST_swap_online), 0);
        sim.disk.gone = false;
        struct sim_vm *lone = sim_vm_simple(200);
        for (uint32_t g = 0; g < 200; g++)
            sim_write(lone, g, SIM_TEXT, g);
        assert_int_equal(sim.disk.writes, 0);
        sim_verify(lone);
        sim_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passing_read_error),  cmocka_unit_test(lasting_read_error),
        cmocka_unit_test(damage_is_noticed),   cmocka_unit_test(write_errors),
        cmocka_unit_test(disk_gone),           cmocka_unit_test(completions_in_any_order),
        cmocka_unit_test(destroyed_in_flight), cmocka_unit_test(ciphertext_only),
        cmocka_unit_test(foreign_disks),       cmocka_unit_test(write_errors_of_merged_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
