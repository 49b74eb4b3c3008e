/*
 * VMs: admission, creation, end; see vm.h and mm.h.
 *
 * Admission counts what a VM may need at full, unshared cost: its reservation
 * (at least its vCPUs' floors) and its nested tables must fit in memory, and
 * everything must fit in memory and swap where swap is a tier. Sharing and the
 * pool are no capacity: guests control how well they work.
 */
#include "mm/vm.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/age.h"
#include "mm/core.h"
#include "mm/giveup.h"
#include "mm/inflight.h"
#include "mm/nested.h"
#include "mm/pin.h"
#include "mm/read_ahead.h"
#include "mm/swap.h"
#include "mm/wait.h"

static struct mm_vm vms[MM_VM_MAX];

/* Under core.step_lock. */
static struct {
    unsigned count;
    unsigned free;               /* no free slot comes before this one */
    uint16_t ids[MM_VM_MAX];     /* of the VMs there are, ascending */
    struct mm_admission_sum sum; /* overhead, reserved, configured of all of them */
} live;

void vm_init(void)
{
    memset(vms, 0, sizeof(vms));
    memset(&live, 0, sizeof(live));
}

uint64_t vm_metadata_bytes(void)
{
    return sizeof(vms) + sizeof(live);
}

unsigned vm_live_count(void)
{
    return live.count;
}

struct mm_vm *vm_live(unsigned index)
{
    return &vms[live.ids[index]];
}

unsigned vm_scan_start(uint32_t *hand, unsigned scan)
{
    if (live.count <= VM_SCAN)
        return 0;
    unsigned start = *hand % live.count;
    *hand = start + scan;
    return start;
}

/* Place of the id in the list, or where it belongs. */
static unsigned live_place(uint16_t id)
{
    unsigned low = 0, high = live.count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (live.ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct mm_vm *vm_live_after(uint16_t id)
{
    unsigned place = live_place((uint16_t)(id + 1));
    return live.count ? &vms[live.ids[place < live.count ? place : 0]] : NULL;
}

static void live_add(uint16_t id)
{
    unsigned place = live_place(id);
    memmove(&live.ids[place + 1], &live.ids[place], (live.count - place) * sizeof(live.ids[0]));
    live.ids[place] = id;
    live.count++;
}

static void live_remove(uint16_t id)
{
    unsigned place = live_place(id);
    ensure(place < live.count && live.ids[place] == id);
    live.count--;
    memmove(&live.ids[place], &live.ids[place + 1], (live.count - place) * sizeof(live.ids[0]));
    if (id < live.free)
        live.free = id;
}

struct mm_vm *vm_at(unsigned id)
{
    return id < MM_VM_MAX && __atomic_load_n(&vms[id].in_use, __ATOMIC_ACQUIRE) ? &vms[id] : NULL;
}

uint32_t vm_floor(const struct mm_vm_config *config)
{
    uint32_t floor = config->vcpu_count * MM_VCPU_FLOOR;
    return floor < config->pages ? floor : config->pages;
}

uint32_t vm_resident(const struct mm_vm *vm)
{
    uint64_t merged = frame_kind_count(FRAME_SHARED), leaves = atomic_get(core.shared_leaves);
    uint64_t shared = leaves ? (vm_pages_in(vm, HOME_SHARED) * merged + leaves - 1) / leaves : 0;
    uint64_t pool = (atomic_get(vm->pool_bytes) + PAGE_MASK) >> PAGE_SHIFT;
    return vm_pages_in(vm, HOME_PRIVATE) + atomic_get(vm->held_frames) + (uint32_t)(shared + pool);
}

bool vm_is_at_limit(const struct mm_vm *vm)
{
    return vm->config.limit_pages < vm->config.pages && vm_resident(vm) >= vm->config.limit_pages;
}

/* ---- admission -------------------------------------------------------------------- */

static void admission_add(struct mm_admission_sum *sum, const struct mm_vm_config *config)
{
    uint32_t floor = vm_floor(config);
    sum->overhead += nested_worst_case(config->pages);
    sum->reserved += config->reserve_pages > floor ? config->reserve_pages : floor;
    sum->configured += config->pages;
}

static void admission_take(struct mm_admission_sum *sum, const struct mm_vm_config *config)
{
    struct mm_admission_sum one = { 0 };
    admission_add(&one, config);
    sum->overhead -= one.overhead;
    sum->reserved -= one.reserved;
    sum->configured -= one.configured;
}

static void admission_sum(const struct mm_vm_config *config, struct mm_admission_sum *sum)
{
    *sum = (struct mm_admission_sum){ .managed = frame_managed_count() };
    sum->overhead = frame_reserve_count() + frame_kind_count(FRAME_FIXED) -
                    (frame_total_count() - frame_managed_count());
    sum->swap = core_tier_works(MM_TIER_SWAP) ? swap_capacity_pages() : 0;
    sum->overhead += live.sum.overhead;
    sum->reserved += live.sum.reserved;
    sum->configured += live.sum.configured;
    admission_add(sum, config);
}

static bool config_is_good(const struct mm_vm_config *c)
{
    return c->name && c->name[0] != '\0' && c->pages > 0 && c->pages < UINT32_MAX - 512 &&
           c->vcpu_count > 0 && c->vcpu_count <= VM_VCPU_MAX && c->limit_pages > 0 &&
           c->limit_pages >= c->reserve_pages && c->reserve_pages <= c->pages && c->shares > 0 &&
           (c->limit_pages >= c->pages || c->limit_pages > vm_floor(c));
}

static enum mm_admission admit(const struct mm_vm_config *config, struct mm_admission_sum *sum)
{
    if (!config_is_good(config))
        return MM_ADMIT_BAD_CONFIG;
    admission_sum(config, sum);
    if (sum->reserved + sum->overhead > sum->managed)
        return MM_ADMIT_RESERVATION;
    /* Without the swap tier, its operator has chosen to run without backing. */
    if (core.config.tiers[MM_TIER_SWAP] &&
        sum->configured + sum->overhead > sum->managed + sum->swap)
        return MM_ADMIT_BACKING;
    return MM_ADMIT_OK;
}

const char *mm_admission_name(enum mm_admission admission)
{
    static const char *const names[MM_ADMIT_COUNT] = {
        [MM_ADMIT_OK] = "ok",
        [MM_ADMIT_TOO_MANY_VMS] = "too many VMs",
        [MM_ADMIT_RESERVATION] = "reservations and overhead do not fit in memory",
        [MM_ADMIT_BACKING] = "configured memory does not fit in memory and swap",
        [MM_ADMIT_NO_TABLES] = "no frame for a nested table",
        [MM_ADMIT_BAD_CONFIG] = "sizes, limit, reservation or shares make no sense",
    };
    return admission < MM_ADMIT_COUNT ? names[admission] : "?";
}

/* ---- life ---------------------------------------------------------------------------- */

static struct mm_vm *slot_take(void)
{
    for (unsigned i = live.free; i < MM_VM_MAX; i++)
        if (!vms[i].in_use) {
            live.free = i;
            memset(&vms[i], 0, sizeof(vms[i]));
            vms[i].id = (uint16_t)i;
            vms[i].lock = SPINLOCK(RANK_VM);
            vms[i].balloon_lock = SPINLOCK(RANK_BALLOON);
            vms[i].pin_lock = SPINLOCK(RANK_PIN);
            vms[i].fill.lock = SPINLOCK(RANK_FILL);
            for (unsigned lock = 0; lock < VM_RANGE_LOCKS; lock++)
                vms[i].ranges[lock] = SPINLOCK(RANK_RANGE);
            return &vms[i];
        }
    return NULL;
}

static void set_up(struct mm_vm *vm, const struct mm_vm_config *config)
{
    size_t length = strlen(config->name);
    if (length > MM_VM_NAME_MAX - 1)
        length = MM_VM_NAME_MAX - 1;
    memcpy(vm->name, config->name, length);
    vm->config = *config;
    vm->config.name = vm->name;
    if (vm->config.limit_pages > config->pages)
        vm->config.limit_pages = config->pages;
    vm->homes[HOME_ZERO] = config->pages;
    vm->target = vm->config.limit_pages;
    vm->ahead.window = read_ahead_begin();
    vm->age_next = core_ticks() + AGE_PERIOD;
    vm->stats = (struct mm_guest_stats){ UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                         UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };
}

enum mm_admission mm_vm_create(const struct mm_vm_config *config, struct mm_vm **out,
                               struct mm_admission_sum *sum)
{
    struct mm_admission_sum ignored;
    *out = NULL;
    spin_lock(&core.step_lock);
    enum mm_admission answer = admit(config, sum ? sum : &ignored);
    struct mm_vm *vm = answer == MM_ADMIT_OK ? slot_take() : NULL;
    if (answer == MM_ADMIT_OK && !vm)
        answer = MM_ADMIT_TOO_MANY_VMS;
    if (vm) {
        set_up(vm, config);
        if (nested_create(vm)) {
            atomic_add(core.configured_pages, config->pages);
            admission_add(&live.sum, &vm->config);
            live_add(vm->id);
            __atomic_store_n(&vm->in_use, true, __ATOMIC_RELEASE);
        } else {
            answer = MM_ADMIT_NO_TABLES;
        }
    }
    spin_unlock(&core.step_lock);
    if (answer == MM_ADMIT_OK)
        *out = vm;
    return answer;
}

bool vm_take_credit(struct mm_vm *vm)
{
    uint32_t credit = atomic_get(vm->balloon_credit);
    while (credit > 0)
        if (__atomic_compare_exchange_n(&vm->balloon_credit, &credit, credit - 1, false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return true;
    return false;
}

void vm_stop(struct mm_vm *vm, enum mm_stop_reason reason)
{
    if (__atomic_exchange_n(&vm->stopped, true, __ATOMIC_ACQ_REL))
        return;
    machine_vm_stop(vm, reason);
}

bool mm_vm_destroy(struct mm_vm *vm)
{
    ensure(vm->in_use);
    __atomic_store_n(&vm->stopped, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        wait_forget(vm->vcpus[i]);
    /* With the lock, no step is at the VM, or will be: it is stopped. */
    spin_lock(&core.step_lock);
    bool busy = inflight_count(vm) > 0;
    if (busy) {
        swap_write_flush();
    } else {
        core_flush(vm);
        pin_drop_all(vm);
        nested_destroy(vm, giveup_end);
        atomic_sub(core.configured_pages, vm->config.pages);
        if (atomic_swap(vm->limit_waiter, false))
            atomic_sub(core.limit_waiters, 1);
        admission_take(&live.sum, &vm->config);
        live_remove(vm->id);
        __atomic_store_n(&vm->in_use, false, __ATOMIC_RELEASE);
    }
    spin_unlock(&core.step_lock);
    return !busy;
}

void mm_vcpu_init(struct mm_vcpu *vcpu, struct mm_vm *vm, unsigned index)
{
    memset(vcpu, 0, sizeof(*vcpu));
    vcpu->vm = vm;
    vcpu->index = index;
    list_init(&vcpu->wait_link);
    for (unsigned i = 0; i < MM_VCPU_FLOOR; i++)
        vcpu->floor[i] = UINT32_MAX;
    spin_lock(&vm->lock);
    ensure(vm->vcpu_count < vm->config.vcpu_count);
    vm->vcpus[vm->vcpu_count] = vcpu;
    __atomic_store_n(&vm->vcpu_count, vm->vcpu_count + 1, __ATOMIC_RELEASE);
    spin_unlock(&vm->lock);
}

const char *mm_vm_name(const struct mm_vm *vm)
{
    return vm->name;
}

uint32_t mm_vm_pages(const struct mm_vm *vm)
{
    return vm->config.pages;
}

hpa_t mm_vm_root(const struct mm_vm *vm)
{
    return pfn_to_hpa(vm->root);
}

void mm_vm_set_context(struct mm_vm *vm, void *context)
{
    __atomic_store_n(&vm->context, context, __ATOMIC_RELEASE);
}

void *mm_vm_context(const struct mm_vm *vm)
{
    return __atomic_load_n(&vm->context, __ATOMIC_ACQUIRE);
}
