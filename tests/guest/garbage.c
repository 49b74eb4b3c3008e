/*
 * garbage: everything a balloon queue can be given that makes no sense, one case
 * after another, with a reset in between. Each must end in one of the ways its
 * line allows (given back, device asks for a reset, ignored), the device must
 * still be one afterwards, and the memory that was never named must be intact.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "lib/string.h"
#include "lib/types.h"
#include "tests/guest/hostile.h"
#include "tests/guest/raw_virtio.h"

#define SIZE      16u /* of the queues, unless a case says otherwise */
#define SPARE     64u /* pages at the end of memory that may be given up */
#define CHECKED   32u /* pages verified after every case; all of them at the end */
#define BATCH     256u
#define INFLATE   VIRTIO_BALLOON_Q_INFLATE
#define DEFLATE   VIRTIO_BALLOON_Q_DEFLATE
#define STATS     VIRTIO_BALLOON_Q_STATS
#define FLAG_NEXT VIRTQ_DESC_F_NEXT

#define USED    (1u << RAW_USED)
#define RESET   (1u << RAW_NEEDS_RESET)
#define IGNORED (1u << RAW_IGNORED)
#define ANY     (USED | RESET | IGNORED)

static struct raw_queue queues[3];
static _Alignas(4096) uint32_t numbers[16 * 1024];
static struct virtio_balloon_stat stats[64];
static uint32_t spare_page, memory_end;
static struct raw_queue *const inflate = &queues[INFLATE];

/* ---- set-ups ---------------------------------------------------------------- */

static void usual_setup(void)
{
    raw_negotiate(1u << VIRTIO_BALLOON_F_STATS_VQ);
    for (unsigned i = 0; i < 3; i++)
        raw_queue_setup(i, &queues[i], SIZE);
    raw_driver_ok();
}

/* The inflate queue with these rings and this size. */
static void odd_setup(uint32_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
    raw_negotiate(0);
    memset(inflate, 0, sizeof(*inflate));
    raw_queue_setup_at(INFLATE, size, desc, avail, used);
    raw_driver_ok();
}

#define DESC  ((uint64_t)inflate->desc)
#define AVAIL ((uint64_t)inflate->avail)
#define USEDR ((uint64_t)&inflate->used_flags)
#define END   ((uint64_t)memory_end * PAGE_SIZE)

/* X(function, size, descriptors, available ring, used ring) */
#define ODD_SETUPS(X)                                                                              \
    X(size_zero, 0, DESC, AVAIL, USEDR)                                                            \
    X(size_three, 3, DESC, AVAIL, USEDR)                                                           \
    X(size_huge, 0x80000000u, DESC, AVAIL, USEDR)                                                  \
    X(size_all_ones, 0xffffffffu, DESC, AVAIL, USEDR)                                              \
    X(no_addresses, SIZE, 0, 0, 0)                                                                 \
    X(desc_misaligned, SIZE, DESC + 8, AVAIL, USEDR)                                               \
    X(avail_misaligned, SIZE, DESC, AVAIL + 1, USEDR)                                              \
    X(used_misaligned, SIZE, DESC, AVAIL, USEDR + 2)                                               \
    X(rings_in_hole, SIZE, 0xe0000000u, 0xe0001000u, 0xe0002000u)                                  \
    X(rings_in_device, SIZE, GUEST_VIRTIO_BASE, GUEST_LAPIC_BASE, GUEST_IOAPIC_BASE)               \
    X(rings_past_end, SIZE, END, END + PAGE_SIZE, END + 2 * PAGE_SIZE)                             \
    X(rings_across_end, SIZE, END - 16, END - 4, END - 8)                                          \
    X(rings_wrap, SIZE, 0 - 16ull, 0 - 4ull, 0 - 8ull)                                             \
    X(rings_overlap, SIZE, AVAIL, AVAIL, AVAIL)

#define DEFINE_SETUP(name, size, desc, avail, used)                                                \
    static void setup_##name(void)                                                                 \
    {                                                                                              \
        odd_setup(size, desc, avail, used);                                                        \
    }
ODD_SETUPS(DEFINE_SETUP)

static void setup_before_driver_ok(void)
{
    raw_negotiate(0);
    raw_queue_setup(INFLATE, inflate, SIZE);
}

static void setup_nothing(void)
{
    raw_write(VIRTIO_MMIO_STATUS, 0);
    raw_queue_setup(INFLATE, inflate, SIZE);
}

static void setup_features_not_offered(void)
{
    raw_negotiate(0xffffffffu);
    raw_queue_setup(INFLATE, inflate, SIZE);
    raw_driver_ok();
}

static void setup_status_all_ones(void)
{
    usual_setup();
    raw_write(VIRTIO_MMIO_STATUS, 0xffffffffu);
}

static void setup_queue_missing(void)
{
    raw_negotiate(0);
    raw_queue_setup(1000, &queues[STATS], SIZE);
    raw_queue_setup(INFLATE, inflate, SIZE);
    raw_driver_ok();
}

/* The rings lie on pages that were given up. */
static void setup_rings_ballooned(void)
{
    usual_setup();
    for (uint32_t i = 0; i < 3; i++)
        numbers[i] = spare_page + 8 + i;
    inflate->desc[0] = (struct virtq_desc){ (uint64_t)numbers, 12, 0, 0 };
    raw_offer(inflate, SIZE, 0);
    raw_notify(INFLATE);
    raw_wait(inflate, 1);
    uint64_t at = (uint64_t)(spare_page + 8) * PAGE_SIZE;
    odd_setup(SIZE, at, at + PAGE_SIZE, at + 2 * PAGE_SIZE);
}

/* ---- pokes -------------------------------------------------------------------- */

static void offer(uint64_t address, uint32_t bytes, uint16_t flags, uint16_t next)
{
    inflate->desc[0] = (struct virtq_desc){ address, bytes, flags, next };
    raw_offer(inflate, SIZE, 0);
    raw_notify(INFLATE);
}

static void poke_plain(void)
{
    numbers[0] = spare_page;
    offer((uint64_t)numbers, 4, 0, 0);
}

static void poke_out_of_range(void)
{
    static const uint32_t odd[] = { 0xffffffffu, 0xd0000u, 0xfee00u, 0x100000u, 0x7fffffffu };
    for (uint32_t i = 0; i < BATCH; i++)
        numbers[i] = i % 6 < 5 ? odd[i % 6] : memory_end + i;
    offer((uint64_t)numbers, BATCH * 4, 0, 0);
}

static void poke_own_queue(void)
{
    for (uint32_t i = 0; i < sizeof(queues) / PAGE_SIZE; i++)
        numbers[i] = (uint32_t)((uint64_t)queues / PAGE_SIZE) + i;
    offer((uint64_t)numbers, sizeof(queues) / PAGE_SIZE * 4, 0, 0);
}

static void poke_duplicates(void)
{
    for (uint32_t i = 0; i < BATCH; i++)
        numbers[i] = spare_page + i % 2;
    offer((uint64_t)numbers, BATCH * 4, 0, 0);
}

/* 64 KiB of page numbers: more than one exit's worth of work. */
static void poke_long(void)
{
    for (uint32_t i = 0; i < sizeof(numbers) / 4; i++)
        numbers[i] = spare_page + i % SPARE;
    offer((uint64_t)numbers, sizeof(numbers), 0, 0);
}

static void poke_writable(void)
{
    offer((uint64_t)numbers, 4, VIRTQ_DESC_F_WRITE, 0);
}

static void poke_indirect(void)
{
    offer((uint64_t)numbers, 64, VIRTQ_DESC_F_INDIRECT, 0);
}

#define DEFINE_OFFER(name, address, bytes, flags, next)                                            \
    static void poke_##name(void)                                                                  \
    {                                                                                              \
        numbers[0] = spare_page;                                                                   \
        offer(address, bytes, flags, next);                                                        \
    }
DEFINE_OFFER(length_zero, (uint64_t)numbers, 0, 0, 0)
DEFINE_OFFER(length_three, (uint64_t)numbers, 3, 0, 0)
DEFINE_OFFER(length_ragged, (uint64_t)numbers, 10, 0, 0)
DEFINE_OFFER(length_huge, (uint64_t)numbers, 0xffffffffu, 0, 0)
DEFINE_OFFER(length_huge_even, (uint64_t)numbers, 0xfffffffcu, 0, 0)
DEFINE_OFFER(buffer_in_hole, 0xe0000000u, 1024, 0, 0)
DEFINE_OFFER(buffer_in_device, GUEST_VIRTIO_BASE, 1024, 0, 0)
DEFINE_OFFER(buffer_past_end, END, 1024, 0, 0)
DEFINE_OFFER(buffer_across_end, END - 8, 1024, 0, 0)
DEFINE_OFFER(buffer_wraps, 0 - 8ull, 1024, 0, 0)
DEFINE_OFFER(buffer_odd, (uint64_t)numbers + 1, 8, 0, 0)
DEFINE_OFFER(loop_self, (uint64_t)numbers, 4, FLAG_NEXT, 0)
DEFINE_OFFER(next_out_of_range, (uint64_t)numbers, 4, FLAG_NEXT, SIZE)
DEFINE_OFFER(next_all_ones, (uint64_t)numbers, 4, FLAG_NEXT, 0xffff)

/* Given up, and holding the page numbers at the same time. */
static void poke_buffer_ballooned(void)
{
    numbers[0] = spare_page + 4;
    offer((uint64_t)numbers, 4, 0, 0);
    raw_wait(inflate, 1);
    offer((uint64_t)(spare_page + 4) * PAGE_SIZE, 1024, 0, 0);
}

static void link_chain(uint16_t length, uint16_t last_next, uint16_t last_flags)
{
    numbers[0] = spare_page;
    for (uint16_t i = 0; i < length; i++)
        inflate->desc[i] =
            (struct virtq_desc){ (uint64_t)numbers, 4, FLAG_NEXT, (uint16_t)(i + 1) };
    inflate->desc[length - 1].next = last_next;
    inflate->desc[length - 1].flags = last_flags;
    raw_offer(inflate, SIZE, 0);
    raw_notify(INFLATE);
}

static void poke_chain(void)
{
    link_chain(SIZE, 0, 0);
}

static void poke_loop_long(void)
{
    link_chain(SIZE, 3, FLAG_NEXT);
}

static void poke_head_out_of_range(void)
{
    raw_offer(inflate, SIZE, SIZE);
    raw_notify(INFLATE);
}

static void jump_index(uint16_t index)
{
    inflate->desc[0] = (struct virtq_desc){ (uint64_t)numbers, 4, 0, 0 };
    __atomic_store_n(&inflate->avail[1], index, __ATOMIC_SEQ_CST);
    raw_notify(INFLATE);
}

static void poke_index_back(void)
{
    jump_index(65535);
}

static void poke_index_far(void)
{
    jump_index(1000);
}

static void poke_deflate_unknown(void)
{
    numbers[0] = spare_page + 20;
    numbers[1] = memory_end;
    struct raw_queue *deflate = &queues[DEFLATE];
    deflate->desc[0] = (struct virtq_desc){ (uint64_t)numbers, 8, 0, 0 };
    raw_offer(deflate, SIZE, 0);
    raw_notify(DEFLATE);
    raw_wait(deflate, 1);
    poke_plain();
}

/* Lies, unknown tags, a length that is no multiple of 10; then the usual. */
static void poke_statistics(void)
{
    for (uint16_t i = 0; i < 64; i++)
        stats[i] = (struct virtio_balloon_stat){ (uint16_t)(i * 1021), 0 - (uint64_t)i };
    queues[STATS].desc[0] = (struct virtq_desc){ (uint64_t)stats, sizeof(stats) - 3, 0, 0 };
    queues[STATS].desc[1] = (struct virtq_desc){ (uint64_t)stats, 0xffffffffu, 0, 0 };
    raw_offer(&queues[STATS], SIZE, 0);
    raw_offer(&queues[STATS], SIZE, 1);
    raw_notify(STATS);
    poke_plain();
}

static void poke_reset_midway(void)
{
    poke_long();
    raw_write(VIRTIO_MMIO_STATUS, 0);
    usual_setup();
    poke_plain();
}

static void poke_move_ring(void)
{
    raw_write(VIRTIO_MMIO_QUEUE_SEL, INFLATE);
    raw_write(VIRTIO_MMIO_QUEUE_DESC_LOW, 0xfffffff0u);
    raw_write(VIRTIO_MMIO_QUEUE_NUM, 1);
    poke_plain();
}

static void poke_notify_unknown(void)
{
    raw_notify(3);
    raw_notify(0xffffffffu);
    poke_plain();
}

static void poke_actual(void)
{
    raw_write(VIRTIO_MMIO_CONFIG + 4, 0xffffffffu);
    raw_write(VIRTIO_MMIO_CONFIG, 0xffffffffu);
    raw_write(VIRTIO_MMIO_CONFIG + 8, 0xffffffffu);
    poke_plain();
}

/* ---- the cases ------------------------------------------------------------------ */

struct garbage {
    const char *name;
    void (*setup)(void); /* NULL: the usual one */
    void (*poke)(void);
    unsigned allowed;
};

#define SETUP_CASE(name, size, desc, avail, used)                                                  \
    { #name, setup_##name, poke_plain, RESET | IGNORED },
#define POKE_CASE(name, allowed) { #name, NULL, poke_##name, allowed },

static const struct garbage cases[] = {
    POKE_CASE(plain, USED) POKE_CASE(out_of_range, USED) POKE_CASE(own_queue, USED) POKE_CASE(
        duplicates, USED) POKE_CASE(long, USED) POKE_CASE(chain, USED)
        POKE_CASE(buffer_odd, USED | RESET) POKE_CASE(buffer_ballooned, ANY) POKE_CASE(
            deflate_unknown, USED) POKE_CASE(statistics, ANY) POKE_CASE(writable, ANY)
            POKE_CASE(indirect, RESET) POKE_CASE(length_zero, ANY) POKE_CASE(
                length_three, ANY) POKE_CASE(length_ragged, ANY) POKE_CASE(length_huge, ANY)
                POKE_CASE(length_huge_even, ANY) POKE_CASE(buffer_in_hole, USED | RESET) POKE_CASE(
                    buffer_in_device, USED | RESET) POKE_CASE(buffer_past_end, USED | RESET)
                    POKE_CASE(buffer_across_end, USED | RESET) POKE_CASE(buffer_wraps, USED | RESET)
                        POKE_CASE(loop_self, RESET) POKE_CASE(loop_long, RESET)
                            POKE_CASE(next_out_of_range, RESET) POKE_CASE(next_all_ones, RESET)
                                POKE_CASE(head_out_of_range, RESET) POKE_CASE(index_back, RESET)
                                    POKE_CASE(index_far, RESET) POKE_CASE(reset_midway, USED)
                                        POKE_CASE(move_ring, ANY) POKE_CASE(notify_unknown, USED)
                                            POKE_CASE(actual, USED) ODD_SETUPS(SETUP_CASE){
                                                "before_driver_ok", setup_before_driver_ok,
                                                poke_plain, RESET | IGNORED },
    { "nothing_negotiated", setup_nothing, poke_plain, RESET | IGNORED },
    { "features_not_offered", setup_features_not_offered, poke_plain, RESET | IGNORED },
    { "status_all_ones", setup_status_all_ones, poke_plain, ANY },
    { "queue_missing", setup_queue_missing, poke_plain, ANY },
    { "rings_ballooned", setup_rings_ballooned, poke_plain, RESET | IGNORED },
    { "plain_again", NULL, poke_plain, USED },
};

/* True when the case ended as it may. */
static bool run(const struct garbage *garbage)
{
    (garbage->setup ? garbage->setup : usual_setup)();
    garbage->poke();
    enum raw_outcome outcome = raw_wait(inflate, inflate->avail[1]);
    bool good = (garbage->allowed & 1u << outcome) && raw_is_present();
    if (!good)
        console_line("garbage: %s: %s, not allowed", garbage->name, raw_outcome_name(outcome));
    return good;
}

int guest_main(const struct guest_boot *boot)
{
    struct hostile_memory memory, part;
    uint32_t bad = 0, count = sizeof(cases) / sizeof(cases[0]);
    if (!raw_find(boot))
        return GUEST_STATUS_DRIVER;
    hostile_memory_init(&memory, boot);
    memory_end = memory.end;
    spare_page = memory.end -= SPARE;
    hostile_memory_fill(&memory);
    part = memory;
    part.end = part.first + CHECKED;
    for (uint32_t i = 0; i < count; i++) {
        bad += !run(&cases[i]);
        hostile_memory_verify(&part);
    }
    raw_write(VIRTIO_MMIO_STATUS, 0);
    hostile_memory_verify(&memory);
    memory.checked += part.checked;
    memory.mismatched += part.mismatched;
    console_line("garbage: %u cases, %u ended in a way they may not", count, bad);
    int status = hostile_memory_finish(&memory, "garbage");
    return bad && !status ? GUEST_STATUS_DRIVER : status;
}
