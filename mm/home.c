/*
 * The transition table and the one mutator of leaf entries; see home.h.
 */
#include "mm/home.h"
#include "lib/atomic.h"
#include "lib/string.h"
#include "mm/core.h"
#include "mm/large.h"
#include "mm/read_ahead.h"
#include "mm/vm.h"

#define TO(home) (1u << HOME_##home)

/* From each home, where to. Every live home may become NONE: its VM ends. */
static const uint16_t legal[HOME_COUNT] = {
    [HOME_NONE] = 0,
    /* touch; inflate */
    [HOME_ZERO] = TO(PRIVATE) | TO(BALLOON) | TO(NONE),
    [HOME_FILL] = TO(PRIVATE) | TO(BALLOON) | TO(NONE),
    /* merge; found zero, found uniform; page out; inflate; another frame (coalesce) */
    [HOME_PRIVATE] =
        TO(SHARED) | TO(ZERO) | TO(FILL) | TO(BUSY_OUT) | TO(BALLOON) | TO(NONE) | TO(PRIVATE),
    /* copy or take back; page out, repoint; inflate */
    [HOME_SHARED] = TO(PRIVATE) | TO(BUSY_OUT) | TO(COUNTED) | TO(BALLOON) | TO(NONE),
    /* touch; compaction; write back; inflate */
    [HOME_POOL] = TO(PRIVATE) | TO(POOL) | TO(BUSY_OUT) | TO(BALLOON) | TO(NONE),
    /* touch; inflate */
    [HOME_SWAP] = TO(BUSY_IN) | TO(BALLOON) | TO(NONE),
    /* touch: from the pool, from a frame that is still there, from swap; inflate */
    [HOME_COUNTED] = TO(PRIVATE) | TO(SHARED) | TO(BUSY_IN) | TO(BALLOON) | TO(NONE),
    /* deflate; touch */
    [HOME_BALLOON] = TO(ZERO) | TO(PRIVATE) | TO(NONE),
    /* done: pool, swap, counted, zero, uniform; failed: back to where it was */
    [HOME_BUSY_OUT] =
        TO(POOL) | TO(SWAP) | TO(COUNTED) | TO(ZERO) | TO(FILL) | TO(PRIVATE) | TO(SHARED),
    /* done; failed: back */
    [HOME_BUSY_IN] = TO(PRIVATE) | TO(SWAP) | TO(COUNTED),
};

/* One ring a CPU, written by that CPU alone: faults must not meet here. */
static struct trace {
    uint64_t count;
    struct home_trace moves[HOME_TRACE_COUNT];
} __attribute__((aligned(64))) traces[MACHINE_CPU_MAX];

bool home_may_change(enum home from, enum home to)
{
    return from < HOME_COUNT && to < HOME_COUNT && (legal[from] & (1u << to)) != 0;
}

const char *home_name(enum home home)
{
    static const char *const names[HOME_COUNT] = {
        "NONE", "ZERO",    "FILL",    "PRIVATE",  "SHARED",  "POOL",
        "SWAP", "COUNTED", "BALLOON", "BUSY_OUT", "BUSY_IN",
    };
    return home < HOME_COUNT ? names[home] : "?";
}

static void trace(const struct leaf *leaf, enum home from, enum home to)
{
    struct trace *mine = &traces[machine_cpu()];
    mine->moves[mine->count++ % HOME_TRACE_COUNT] =
        (struct home_trace){ leaf->gfn.v, leaf->vm->id, (uint8_t)from, (uint8_t)to };
}

static bool is_uniform(enum home home)
{
    return home == HOME_NONE || home == HOME_ZERO;
}

static bool is_present(enum home home)
{
    return home == HOME_PRIVATE || home == HOME_SHARED;
}

static void account(struct leaf *leaf, enum home from, enum home to)
{
    struct mm_vm *vm = leaf->vm;
    atomic_sub(vm->homes[from], 1);
    atomic_add(vm->homes[to], 1);
    leaf->table->table.entries += (uint32_t)is_uniform(from) - (uint32_t)is_uniform(to);
    int present = is_present(to) - is_present(from);
    leaf->table->table.present = (uint16_t)(leaf->table->table.present + present);
    if (from == HOME_SHARED)
        atomic_sub(core.shared_leaves, 1);
    if (to == HOME_SHARED)
        atomic_add(core.shared_leaves, 1);
}

/* A private frame names its one owner; what it knew of an earlier content goes. */
static void name_owner(const struct leaf *leaf, entry_t to)
{
    struct frame *frame = frame_at(entry_frame(to));
    ensure(frame && frame->kind == FRAME_PRIVATE);
    /* Scans read it without the lock, as a hint. */
    atomic_set(frame->tag, leaf->vm->id);
    atomic_set(frame->private.gfn, leaf->gfn.v);
}

static bool differs_beyond_hardware_bits(entry_t a, entry_t b)
{
    return ((a.v ^ b.v) & ~(ENTRY_ACCESSED | ENTRY_DIRTY)) != 0;
}

entry_t home_change(struct leaf *leaf, entry_t to)
{
    enum home from = entry_home(leaf->entry), next = entry_home(to);
    ensure(leaf->slot && home_may_change(from, next) && entry_is_safe(to));
    /* Pages of a large mapping are all private. */
    if (from == HOME_PRIVATE && large_holds(leaf))
        large_split(leaf);
    if (next == HOME_PRIVATE)
        name_owner(leaf, to);
    entry_t old = { __atomic_load_n(&leaf->slot->v, __ATOMIC_ACQUIRE) };
    do {
        /* The lock is ours: only the processor may have written meanwhile. */
        ensure(entry_is_present(old) ? !differs_beyond_hardware_bits(old, leaf->entry)
                                     : old.v == leaf->entry.v);
    } while (!__atomic_compare_exchange_n(&leaf->slot->v, &old.v, to.v, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    leaf->entry = to;
    account(leaf, from, next);
    trace(leaf, from, next);
    if (entry_is_ahead(old))
        read_ahead_judge(leaf->vm, entry_is_used(old));
    return old;
}

void home_adjust(struct leaf *leaf, uint64_t set, uint64_t clear)
{
    const uint64_t allowed = ENTRY_WRITE | ENTRY_ACCESSED | ENTRY_DIRTY | ENTRY_LOGGED;
    ensure(leaf->slot && entry_is_present(leaf->entry) && ((set | clear) & ~allowed) == 0);
    ensure(!(set & ENTRY_WRITE) || entry_home(leaf->entry) == HOME_PRIVATE);
    if (large_holds(leaf) && ((set & ~(ENTRY_ACCESSED | ENTRY_DIRTY)) || clear))
        large_split(leaf);
    uint64_t old = __atomic_load_n(&leaf->slot->v, __ATOMIC_ACQUIRE), next;
    do {
        next = (old | set) & ~clear;
        if (entry_is_used((entry_t){ old | set }))
            next &= ~ENTRY_AHEAD;
    } while (!__atomic_compare_exchange_n(&leaf->slot->v, &old, next, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    leaf->entry.v = next;
    if ((old & ~next) & ENTRY_AHEAD)
        read_ahead_judge(leaf->vm, true);
}

void home_init(void)
{
    memset(traces, 0, sizeof(traces));
}

unsigned home_trace_get(struct home_trace out[HOME_TRACE_COUNT])
{
    const struct trace *mine = &traces[machine_cpu()];
    unsigned count = mine->count < HOME_TRACE_COUNT ? (unsigned)mine->count : HOME_TRACE_COUNT;
    for (unsigned i = 0; i < count; i++)
        out[i] = mine->moves[(mine->count - count + i) % HOME_TRACE_COUNT];
    return count;
}
