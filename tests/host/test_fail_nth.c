/*
 * Every allocation and every transfer fails once (P10): a scenario that uses all
 * tiers is run again and again, with the Nth frame refused, or the Nth request of
 * the disk failed, for every N in turn; then with two failures, and with a run of
 * them. Each run must come to its end without a hang, with every page as it was
 * written, and with books that add up (the audit, and sim_stop()'s).
 *
 * BALLAST_RUNS bounds the runs of each kind (default 60; 0: every N); they are then
 * spread evenly. `make fail-nth` runs them all. The wrapped functions are put in
 * place by the linker (host.mk).
 */
#include <stdio.h>
#include <string.h>

#include "mm/frame.h"
#include "tests/host/sim.h"

pfn_t __real_frame_alloc(enum frame_kind kind, enum frame_urgency urgency);
pfn_t __wrap_frame_alloc(enum frame_kind kind, enum frame_urgency urgency);
pfn_t __real_frame_alloc_shared(void);
pfn_t __wrap_frame_alloc_shared(void);

#define VMS   3u
#define PAGES 150u

/* Which fail: first, and how many from there; a second one. 0: none. */
struct plan {
    uint64_t alloc, allocs, alloc_too;
    uint64_t io, ios, io_too;
};

static struct {
    bool armed;
    struct plan plan;
    uint64_t allocs, ios; /* so far */
    uint64_t refused, failed;
} f;

static uint64_t runs, refused, failed, victims;

static bool is_due(uint64_t number, uint64_t first, uint64_t count, uint64_t too)
{
    return (first && number >= first && number - first < count) || (too && number == too);
}

static bool refuses(void)
{
    if (!f.armed)
        return false;
    f.allocs++;
    bool due = is_due(f.allocs, f.plan.alloc, f.plan.allocs, f.plan.alloc_too);
    f.refused += due;
    return due;
}

pfn_t __wrap_frame_alloc(enum frame_kind kind, enum frame_urgency urgency)
{
    return refuses() ? PFN_NONE : __real_frame_alloc(kind, urgency);
}

pfn_t __wrap_frame_alloc_shared(void)
{
    return refuses() ? PFN_NONE : __real_frame_alloc_shared();
}

/* Between the core and the simulated disk: what is due is reported as failed. */
static void (*submit_to_disk)(struct block_device *device, struct block_request *request);
static void (*done_of[2])(struct block_request *request); /* reads, writes: the same for all */

static void done_failing(struct block_request *request)
{
    request->status = f.failed++ % 2 ? BLOCK_TIMEOUT : BLOCK_ERROR;
    done_of[request->operation](request);
}

static void submit(struct block_device *device, struct block_request *request)
{
    f.ios++;
    if (is_due(f.ios, f.plan.io, f.plan.ios, f.plan.io_too)) {
        done_of[request->operation] = request->done;
        request->done = done_failing;
    }
    submit_to_disk(device, request);
}

/* ---- the scenario ---------------------------------------------------------------- */

static void add_vm(unsigned index)
{
    struct mm_vm_config config;
    sim_vm_config_default(&config, PAGES);
    config.salt = 7;
    config.limit_pages = index == 1 ? PAGES * 3 / 4 : PAGES;
    struct sim_vm *vm = sim_vm_add(&config);
    vm->driver = index == 0;
    if (vm->driver)
        SIM_CORE(mm_balloon_driver(vm->core, true, false, 0));
}

static void touch(struct sim_vm *vm, unsigned round, uint32_t page)
{
    static const enum sim_content contents[] = { SIM_COMMON, SIM_TEXT, SIM_NOISE, SIM_UNIFORM };
    enum sim_content content = contents[(page + round) % 4];
    if (vm->stopped)
        return;
    if ((page + round) % 3 == 2 && round > 0)
        sim_read(vm, page);
    else
        sim_write(vm, page, content, content == SIM_COMMON ? page % 16 : page + 1000 * round);
}

static void work(void)
{
    for (unsigned round = 0; round < 3; round++)
        for (uint32_t page = 0; page < PAGES; page++) {
            for (unsigned i = 0; i < VMS; i++)
                if (sim.vms[i].core)
                    touch(&sim.vms[i], round, round == 1 ? PAGES - 1 - page : page);
            if (sim.vms[0].core && !sim.vms[0].stopped)
                sim_balloon_work(&sim.vms[0], 4);
            sim_pump();
            if (page % 50 == 0)
                sim_oracle(false);
        }
}

static void run(struct plan plan)
{
    struct sim_settings settings;
    sim_settings_default(&settings, 77);
    settings.cpus = 2;
    settings.frames = 360;
    settings.disk_pages = 900;
    settings.interleave = 10;
    sim_start(&settings);
    memset(&f, 0, sizeof(f));
    f.plan = plan;
    submit_to_disk = sim.disk.device.submit;
    sim.disk.device.submit = submit;
    /* Two failures of one page's transfer may cost its VM; a frame refused never. */
    sim.stop_allowed = plan.io && (plan.ios > 1 || plan.io_too);
    for (unsigned i = 0; i < VMS; i++)
        add_vm(i);
    f.armed = true;
    work();
    f.armed = false;
    for (unsigned i = 0; i < VMS; i++)
        if (sim.vms[i].core && !sim.vms[i].stopped)
            sim_verify(&sim.vms[i]);
    sim_settle();
    sim_oracle(true);
    if (runs++ == 0) /* every tier has its part in it */
        sim_check(
            sim_host_counter(MM_HOST_freed_share) && sim_host_counter(MM_HOST_freed_balloon) &&
                sim_host_counter(MM_HOST_freed_compress) && sim_host_counter(MM_HOST_freed_swap),
            "a tier is not used by the scenario");
    refused += f.refused;
    failed += f.failed;
    victims += sim.stops[MM_STOP_OUT_OF_MEMORY];
    sim_stop();
}

/* ---- which ones -------------------------------------------------------------------- */

/* The step between the Ns that are tried. */
static uint64_t stride(uint64_t count)
{
    uint64_t most = support_number("BALLAST_RUNS", 60);
    return most == 0 || count <= most ? 1 : (count + most - 1) / most;
}

static uint64_t alloc_count, io_count;

static void nothing_fails(void **state)
{
    (void)state;
    run((struct plan){ 0 });
    alloc_count = f.allocs;
    io_count = f.ios;
    assert_true(alloc_count > 300 && io_count > 100);
}

static void each_allocation(void **state)
{
    (void)state;
    uint64_t step = stride(alloc_count);
    for (uint64_t n = 1; n <= alloc_count; n += step)
        run((struct plan){ .alloc = n, .allocs = 1 });
}

static void each_transfer(void **state)
{
    (void)state;
    uint64_t step = stride(io_count);
    for (uint64_t n = 1; n <= io_count; n += step)
        run((struct plan){ .io = n, .ios = 1 });
}

/* Some in a row, as in a real shortage. */
static void runs_of_allocations(void **state)
{
    (void)state;
    uint64_t step = 4 * stride(alloc_count);
    for (uint64_t n = 1; n <= alloc_count; n += step)
        run((struct plan){ .alloc = n, .allocs = 2 + n % 30 });
}

static void runs_of_transfers(void **state)
{
    (void)state;
    uint64_t step = 4 * stride(io_count);
    for (uint64_t n = 1; n <= io_count; n += step)
        run((struct plan){ .io = n, .ios = 2 + n % 6 });
}

/* Of all pairs as many as of single ones, drawn. */
static void pairs(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, support_number("BALLAST_SEED", 1));
    uint64_t count = alloc_count / stride(alloc_count);
    for (uint64_t n = 0; n < count; n++) {
        uint64_t a = 1 + rng_below(&rng, alloc_count), b = 1 + rng_below(&rng, alloc_count);
        uint64_t c = 1 + rng_below(&rng, io_count), d = 1 + rng_below(&rng, io_count);
        struct plan two_frames = { .alloc = a, .allocs = 1, .alloc_too = b };
        struct plan two_transfers = { .io = c, .ios = 1, .io_too = d };
        struct plan one_of_each = { .alloc = a, .allocs = 1, .io = c, .ios = 1 };
        run(n % 3 == 0 ? two_frames : n % 3 == 1 ? two_transfers : one_of_each);
    }
}

static void figure(void **state)
{
    (void)state;
    printf("figure: P10: %llu runs over %llu allocations and %llu transfers; %llu frames refused, "
           "%llu transfers failed, %llu VMs given up for lack of memory\n",
           (unsigned long long)runs, (unsigned long long)alloc_count, (unsigned long long)io_count,
           (unsigned long long)refused, (unsigned long long)failed, (unsigned long long)victims);
    assert_int_equal(victims, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_fails),
        cmocka_unit_test(each_allocation),
        cmocka_unit_test(each_transfer),
        cmocka_unit_test(runs_of_allocations),
        cmocka_unit_test(runs_of_transfers),
        cmocka_unit_test(pairs),
        cmocka_unit_test(figure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
