/*
 * The simulated machine: CPUs with translation caches, guests, a disk, and an
 * oracle that knows what every guest page must hold.
 *
 *   sim_machine.c  machine_*(): frames in an arena, time, entropy, bounce memory
 *   sim_tlb.c      CPUs: nested walks, caches that keep entries until flushed
 *   sim_guest.c    VMs and vCPUs: accesses, waiting, shadow copies, pins, balloon
 *   sim_disk.c     a block device with faults and completions in any order
 *   sim_oracle.c   the promises, checked after every step
 *   sim_run.c      start, the pump, random operation
 *
 * There is one machine at a time, `sim`. It is single-threaded: what other CPUs
 * do meanwhile happens inside machine_frame_map() and machine_flush_vm(), where
 * guests that are in guest mode on other CPUs go on with whatever translation
 * they hold (settings.interleave). Everything derives from settings.seed.
 */
#ifndef TESTS_HOST_SIM_H
#define TESTS_HOST_SIM_H

#include "lib/rng.h"
#include "mm/block.h"
#include "mm/mm.h"
#include "tests/host/support.h"

#define SIM_CPU_MAX   8
#define SIM_VM_MAX    16
#define SIM_VCPU_MAX  4
#define SIM_TLB_SIZE  48
#define SIM_WALK_SIZE 6
#define SIM_PIN_SLOTS 8
/* First frame number of the arena; not zero, so that an index taken for a frame
 * number is noticed. */
#define SIM_PFN_FIRST 0x4321u

/* ---- guests ---------------------------------------------------------------- */

enum sim_content { SIM_ZERO, SIM_UNIFORM, SIM_COMMON, SIM_TEXT, SIM_NOISE, SIM_CONTENT_COUNT };

enum sim_op_kind { SIM_NO_OP, SIM_READ, SIM_EXEC, SIM_WRITE_WORD, SIM_WRITE_PAGE };

struct sim_op {
    enum sim_op_kind kind;
    uint32_t gfn;
    uint16_t offset;          /* WRITE_WORD: byte offset, multiple of 8 */
    enum sim_content content; /* WRITE_PAGE */
    uint64_t value;           /* the word, or what selects the content */
};

struct sim_pin {
    bool used, write, merged; /* merged: of a shared frame; shows the content of that time */
    uint32_t gfn;
    void *page;
    uint8_t *then;
};

struct sim_vcpu {
    struct mm_vcpu core; /* first: mm_vcpu -> sim_vcpu is a cast */
    struct sim_vm *vm;
    unsigned cpu;     /* where it runs */
    struct sim_op op; /* what it is about to do; NO_OP: nothing */
    unsigned tries;   /* faults answered DONE for this op */
    uint64_t wakes;
    bool asleep; /* the core said WAIT and has not woken it */
};

struct sim_vm {
    struct mm_vm *core; /* NULL: slot not in use */
    unsigned slot;
    struct mm_vm_config config;
    char name[MM_VM_NAME_MAX];
    uint8_t *shadow;     /* what every page must hold */
    uint64_t generation; /* flushes asked for */
    bool stopped;
    enum mm_stop_reason reason;
    struct sim_vcpu vcpus[SIM_VCPU_MAX];
    struct sim_pin pins[SIM_PIN_SLOTS];
    /* A simulated balloon driver: which pages it gave. */
    uint8_t *inflated;
    uint32_t inflated_count;
    bool driver; /* said DRIVER_OK */
    unsigned rolls;
    unsigned in_order;   /* random reads that follow each other still */
    unsigned over_limit; /* steps in a row */
};

/* ---- CPUs ------------------------------------------------------------------- */

struct sim_translation {
    bool valid, dirty, large; /* large: of 512 pages, from gfn and pfn on */
    uint8_t access;           /* MM_READ | MM_WRITE | MM_EXEC */
    uint8_t slot;
    uint32_t gfn, pfn;
};

/* A cached upper level: where the leaf table of gfn >> 9 is. */
struct sim_walk {
    bool valid;
    uint8_t slot, access;
    uint32_t region, table;
};

struct sim_cpu {
    struct sim_vcpu *inside; /* in guest mode now */
    uint64_t seen[SIM_VM_MAX];
    struct sim_translation tlb[SIM_TLB_SIZE];
    struct sim_walk walks[SIM_WALK_SIZE];
};

/* ---- disk --------------------------------------------------------------------- */

enum sim_order { SIM_FIFO, SIM_LIFO, SIM_RANDOM };
enum sim_damage {
    SIM_INTACT,
    SIM_FLIPPED,
    SIM_TORN,
    SIM_LOST,
    SIM_STALE,
    SIM_MISDIRECTED,
    SIM_DAMAGE_COUNT
};

struct sim_disk {
    struct block_device device;
    uint8_t *bytes;
    uint8_t *old; /* content before the last write of each sector */
    struct list_node queue;
    unsigned queued;
    enum sim_order order;
    bool gone;
    /* Faults by number, counted from 1 since the last reset; 0: none. */
    uint64_t reads, writes;
    uint64_t fail_read_first, fail_read_count, fail_write_first, fail_write_count;
    unsigned fail_read_permille, fail_write_permille, damage_permille;
    enum sim_damage damage; /* of the next writes (STALE: of reads) */
    uint64_t damage_count;  /* how many more; UINT64_MAX: all */
    uint64_t damaged;       /* done so far */
    uint64_t failed_reads, failed_writes;
};

/* ---- the machine ---------------------------------------------------------------- */

struct sim_settings {
    uint64_t seed;
    unsigned cpus;       /* 1 */
    uint32_t frames;     /* host memory */
    uint32_t disk_pages; /* swap area; 0: no disk */
    unsigned interleave; /* per mille of hook calls at which another CPU's guest acts */
    bool execute_small;  /* no execution from large mappings */
    bool npt;            /* format of nested entries; BALLAST_FORMAT=npt makes it the default */
    struct mm_config core;
};

struct sim_hooks {
    void (*frame_map)(pfn_t frame);
    void (*flush)(struct mm_vm *vm);
    void (*wake)(struct mm_vcpu *vcpu);
    void (*stop)(struct mm_vm *vm, enum mm_stop_reason reason);
    void (*event)(enum mm_event_kind kind, struct mm_vm *vm, uint64_t a, uint64_t b);
    /* In the place of the poison, and before bytes go to the disk (memcheck.c). */
    void (*forget)(void *page);
    void (*written_out)(const void *bytes, size_t size);
};
extern struct sim_hooks sim_hooks;

#define SIM_TRACE 48
struct sim {
    struct sim_settings settings;
    bool running;
    uint8_t *arena;
    struct rng rng, entropy, meanwhile;
    uint64_t time, step;
    unsigned cpu;  /* the one that executes the core */
    unsigned core; /* depth of calls into the core */
    struct sim_cpu cpus[SIM_CPU_MAX];
    struct sim_vm vms[SIM_VM_MAX];
    struct sim_disk disk;
    uint8_t *poisoned; /* per frame: holds poison since it became free */
    void *dma[64];
    unsigned dma_count;
    uint64_t events[MM_EVENT_KIND_COUNT];
    uint64_t event_a[MM_EVENT_KIND_COUNT], event_b[MM_EVENT_KIND_COUNT];
    uint64_t digest; /* of all events */
    uint64_t flushes, accesses, meanwhile_accesses, meanwhile_writes, cow_writes, waits;
    uint64_t stops[MM_STOP_REASON_COUNT];
    bool victim_allowed, stop_allowed; /* what a test expects; else a stop is a failure */
    char trace[SIM_TRACE][96];
    unsigned trace_next;
};
extern struct sim sim;

/* Fills in what most tests want: 1 CPU, 512 frames, all tiers, a disk of 1024
 * pages, other CPUs' guests active when there are any. */
void sim_settings_default(struct sim_settings *settings, uint64_t seed);
void sim_settings_format(struct sim_settings *settings, bool npt);
/* Builds the machine and calls mm_init(); sim_stop() frees it. */
void sim_start(const struct sim_settings *settings);
void sim_stop(void);
/* Just memory, time and entropy, for tests of single modules. */
void sim_memory_start(const struct sim_settings *settings);
void sim_memory_stop(void);

/* Fails the running test: prints seed, step and the last operations. */
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define sim_check(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_fail(__VA_ARGS__);                                                                 \
    } while (0)

/* Content of a frame of the arena. */
void *sim_frame(uint32_t pfn);
bool sim_frame_valid(uint32_t pfn);

/* ---- VMs -------------------------------------------------------------------------- */

void sim_vm_config_default(struct mm_vm_config *config, uint32_t pages);
/* Admission must say yes. */
struct sim_vm *sim_vm_add(const struct mm_vm_config *config);
/* `pages` pages, no reservation, no limit, salt 1 + slot, one vCPU. */
struct sim_vm *sim_vm_simple(uint32_t pages);
/* The same with so many shares that all others have to give way to it. */
struct sim_vm *sim_vm_greedy(uint32_t pages);
/* Destroys it, pumping the machine while I/O is in flight. */
void sim_vm_remove(struct sim_vm *vm);
/* One try; false while I/O is in flight. */
bool sim_vm_try_remove(struct sim_vm *vm);
struct sim_vm *sim_vm_of(const struct mm_vm *vm);
uint64_t sim_vm_counter(const struct sim_vm *vm, enum mm_vm_counter counter);
uint64_t sim_host_counter(enum mm_host_counter counter);

void sim_content_make(enum sim_content content, uint64_t value, void *page);
uint8_t *sim_shadow(struct sim_vm *vm, uint32_t gfn);

/* One attempt at vcpu->op. MM_DONE also when the access has to be tried again. */
enum mm_answer sim_vcpu_try(struct sim_vcpu *vcpu);
/* The whole operation: pumps the machine while the vCPU waits. MM_DONE or
 * MM_STOPPED or MM_NO_PAGE; no progress in a bounded number of steps fails. */
enum mm_answer sim_do(struct sim_vcpu *vcpu, struct sim_op op);
enum mm_answer sim_read(struct sim_vm *vm, uint32_t gfn);
enum mm_answer sim_write(struct sim_vm *vm, uint32_t gfn, enum sim_content content, uint64_t value);
enum mm_answer sim_write_word(struct sim_vm *vm, uint32_t gfn, uint16_t offset, uint64_t value);

/*
 * Brings 64 other pages in for this vCPU, so that what it touched before falls
 * off its floor and may be taken or merged. Uses the VM's last SIM_ROLL_PAGES
 * pages, which the test leaves alone.
 */
#define SIM_ROLL_PAGES (2 * MM_VCPU_FLOOR)
void sim_roll_floor(struct sim_vcpu *vcpu);

/* Pins through the core, checking content; slot index or -1. */
int sim_pin(struct sim_vm *vm, struct sim_vcpu *vcpu, uint32_t gfn, bool write);
void sim_unpin(struct sim_vm *vm, int pin);
enum mm_balloon_result sim_inflate(struct sim_vm *vm, uint32_t gfn);
enum mm_balloon_result sim_deflate(struct sim_vm *vm, uint32_t gfn);
/* Inflate or deflate at most `pages` towards mm_balloon_target(). */
void sim_balloon_work(struct sim_vm *vm, unsigned pages);

/* ---- CPUs ---------------------------------------------------------------------------- */

/* Enters guest mode with this vCPU on its CPU (flushing when the VM's generation
 * moved on), and leaves it. */
void sim_enter(struct sim_vcpu *vcpu);
void sim_leave(unsigned cpu);
/* The frame behind gfn for this access, by cache or by walk; false: violation. */
bool sim_translate(unsigned cpu, struct sim_vm *vm, uint32_t gfn, unsigned access, uint32_t *frame);
void sim_tlb_flush(struct mm_vm *vm);
/* A vCPU in guest mode walks to gfn speculatively: upper levels are cached, there
 * is no fault (SDM 29.4.2 lets processors do so at any time). */
void sim_speculate(const struct sim_vcpu *vcpu, uint32_t gfn);
/* A walk that changes nothing: leaf entry of gfn (0 when a level is absent) and
 * the level it was found at. */
uint64_t sim_peek(struct sim_vm *vm, uint32_t gfn, unsigned *level);
/* Guests in guest mode on other CPUs go on, while the core runs here. */
void sim_meanwhile(void);
/* This vCPU holds a usable cached translation of gfn now. */
bool sim_cached(const struct sim_vcpu *vcpu, uint32_t gfn, struct sim_translation *found);

/* ---- disk ------------------------------------------------------------------------------ */

void sim_disk_init(uint32_t pages);
void sim_disk_free(void);
void sim_disk_format(void);
/* Completes one request in the configured order; false when there is none. */
bool sim_disk_complete(void);
/* Forgets all faults and counts from 1 again. */
void sim_disk_heal(void);

/* ---- time ------------------------------------------------------------------------------ */

/* The core's background work and the disk, a little. */
void sim_pump(void);
/* Until mm_step() has nothing to do and no I/O is in flight; bounded. */
void sim_settle(void);
/* mm_step() n times, mm_tick() now and then, completions. */
void sim_run(unsigned steps);
/* One random operation of a random kind. */
void sim_random_step(void);

/* ---- oracle ------------------------------------------------------------------------------ */

/* After a step: P1, P2, P4, limits, mm_audit(); content of present pages too. */
void sim_oracle(bool content);
/* Every page of the VM, read by its guest, holds what it must. */
void sim_verify(struct sim_vm *vm);
/* Fills frames that have become free with poison, checks those that are. */
void sim_poison(void);

#define SIM_CORE(statement)                                                                        \
    do {                                                                                           \
        sim.core++;                                                                                \
        statement;                                                                                 \
        sim.core--;                                                                                \
    } while (0)

/* What its frames are tagged with. */
uint16_t sim_vm_id(const struct mm_vm *vm);

#endif
