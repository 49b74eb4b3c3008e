/*
 * Bringing pages into homes; see homes.h.
 */
#include "tests/host/homes.h"
#include "mm/vm.h"

static struct sim_vm *squeezer;

enum home homes_of(struct sim_vm *vm, uint32_t number)
{
    unsigned level;
    return entry_home((entry_t){ sim_peek(vm, number, &level) });
}

struct sim_vm *homes_squeezer(void)
{
    return squeezer;
}

void homes_start(enum home home, uint64_t seed)
{
    struct sim_settings settings;
    sim_settings_default(&settings, seed);
    settings.frames = 500;
    settings.disk_pages = 2000;
    bool *tiers = settings.core.tiers;
    tiers[MM_TIER_SHARE] =
        home == HOME_SHARED || home == HOME_COUNTED || home == HOME_FILL || home == HOME_ZERO;
    tiers[MM_TIER_BALLOON] = false;
    tiers[MM_TIER_COMPRESS] = home == HOME_POOL;
    sim_start(&settings);
    squeezer = NULL;
}

static void write_candidates(struct sim_vm *vm, uint32_t number, enum home home)
{
    static const struct {
        enum sim_content content;
        uint64_t value;
    } contents[HOME_COUNT] = {
        [HOME_FILL] = { SIM_UNIFORM, 0x1234567812345678 },
        [HOME_PRIVATE] = { SIM_NOISE, 1 },
        [HOME_SHARED] = { SIM_COMMON, 3 },
        [HOME_POOL] = { SIM_TEXT, 4 },
        [HOME_SWAP] = { SIM_NOISE, 5 },
        [HOME_COUNTED] = { SIM_COMMON, 6 },
        [HOME_BUSY_OUT] = { SIM_NOISE, 7 },
        [HOME_BUSY_IN] = { SIM_NOISE, 8 },
    };
    /* The VM must have more than its floor, or nothing is taken from it. */
    if (home != HOME_PRIVATE)
        for (uint32_t i = 0; i < vm->config.pages - SIM_ROLL_PAGES; i++)
            sim_write(vm, i, home == HOME_POOL || home == HOME_COUNTED ? SIM_TEXT : SIM_NOISE,
                      50000 + (home == HOME_COUNTED ? i / 2 : i));
    bool same = home == HOME_SHARED || home == HOME_COUNTED || home == HOME_FILL;
    for (uint32_t i = 0; i < 2; i++)
        sim_write(vm, number + i, contents[home].content,
                  contents[home].value + (same ? 0 : 100 * i));
}

/* Steps without the disk, for BUSY homes. */
static void step_only(void)
{
    bool more;
    sim.step++;
    SIM_CORE(more = mm_step());
    (void)more;
    if (sim.step % 4 == 0)
        SIM_CORE(mm_tick());
    sim_poison();
}

static bool both(struct sim_vm *vm, uint32_t number, enum home home)
{
    if (home == HOME_BUSY_OUT) /* the two need not be on their way at one time */
        return homes_of(vm, number) == home;
    return homes_of(vm, number) == home && homes_of(vm, number + 1) == home;
}

static bool squeeze(struct sim_vm *vm, uint32_t number, enum home home)
{
    bool hold_disk = home == HOME_BUSY_OUT;
    if (!squeezer)
        squeezer = sim_vm_greedy(900);
    struct sim_vcpu *vcpu = &squeezer->vcpus[0];
    uint32_t next = 0;
    for (unsigned i = 0; i < 30000 && !both(vm, number, home); i++) {
        if (vcpu->op.kind == SIM_NO_OP) {
            vcpu->op = (struct sim_op){ .kind = SIM_WRITE_PAGE,
                                        .gfn = next % 900,
                                        .content = home == HOME_POOL ? SIM_TEXT : SIM_NOISE,
                                        .value = 1001 + next };
            next++;
        }
        sim_vcpu_try(vcpu);
        /* The BUSY page must be seen: one completion only when nothing else moves. */
        if (hold_disk)
            step_only();
        else
            sim_pump();
        if (hold_disk && i % 64 == 0 && !both(vm, number, home))
            sim_disk_complete();
    }
    return both(vm, number, home);
}

bool homes_reach(struct sim_vm *vm, uint32_t number, enum home home)
{
    switch (home) {
    case HOME_ZERO:
        return both(vm, number, home);
    case HOME_BALLOON:
        return sim_inflate(vm, number) == MM_BALLOON_OK &&
               sim_inflate(vm, number + 1) == MM_BALLOON_OK;
    case HOME_PRIVATE:
        write_candidates(vm, number, home);
        return both(vm, number, home);
    case HOME_FILL:
    case HOME_SHARED:
        write_candidates(vm, number, home);
        sim_roll_floor(&vm->vcpus[0]);
        for (unsigned i = 0; i < 2000 && !both(vm, number, home); i++)
            sim_pump();
        return both(vm, number, home) || squeeze(vm, number, home);
    case HOME_COUNTED:
        write_candidates(vm, number, home);
        sim_roll_floor(&vm->vcpus[0]);
        for (unsigned i = 0; i < 2000 && !both(vm, number, HOME_SHARED); i++)
            sim_pump();
        return squeeze(vm, number, home);
    case HOME_BUSY_IN:
        write_candidates(vm, number, home);
        sim_roll_floor(&vm->vcpus[0]);
        if (!squeeze(vm, number, HOME_SWAP))
            return false;
        for (uint32_t i = 0; i < 2; i++) {
            vm->vcpus[i].op = (struct sim_op){ .kind = SIM_READ, .gfn = number + i };
            for (unsigned n = 0; n < 64 && homes_of(vm, number + i) == HOME_SWAP; n++) {
                sim_vcpu_try(&vm->vcpus[i]);
                if (homes_of(vm, number + i) == HOME_SWAP)
                    sim_pump();
            }
        }
        return both(vm, number, home);
    default:
        write_candidates(vm, number, home);
        sim_roll_floor(&vm->vcpus[0]);
        return squeeze(vm, number, home);
    }
}

uint16_t sim_vm_id(const struct mm_vm *vm)
{
    return vm->id;
}
