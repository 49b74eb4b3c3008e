/*
 * The memory core in a program of one's own: a machine of 8 MiB with three VMs of
 * 4 MiB each and a disk, all of it simulated. It uses nothing but the library's
 * public header.
 *
 * Each guest fills its memory, then all of it is read back: what it finds has
 * been merged, compressed, swapped out and brought in meanwhile. Prints where
 * the pages are and what it took; the exit status is 0 when every byte was right
 * and the audit found nothing.
 */
#include <mm/ballast_mm.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES     2048u
#define FIRST_PFN  0x1000u
#define VMS        3u
#define VM_PAGES   1024u
#define DISK_PAGES 4096u

/* ---- the machine below the core (mm/machine.h) ------------------------------- */

static uint8_t (*memory)[PAGE_SIZE];
static uint64_t clock_ns, random_state = 1;

void *machine_frame_map(pfn_t frame)
{
    return memory[frame.v - FIRST_PFN];
}

/* No translation is ever cached here: guests go through mm_pin(). */
void machine_flush_vm(struct mm_vm *vm)
{
    (void)vm;
}

uint64_t machine_time_ns(void)
{
    return clock_ns += 1000;
}

void machine_entropy(void *bytes, size_t size)
{
    for (uint8_t *at = bytes; size--; at++)
        *at = (uint8_t)((random_state = random_state * 6364136223846793005u + 1) >> 56);
}

unsigned machine_cpu(void)
{
    return 0;
}

void machine_vcpu_wake(struct mm_vcpu *vcpu)
{
    (void)vcpu;
}

void machine_vm_stop(struct mm_vm *vm, enum mm_stop_reason reason)
{
    panic("%s was stopped: %s", mm_vm_name(vm), mm_stop_reason_name(reason));
}

void *machine_dma_alloc(size_t size, hpa_t *address)
{
    void *buffer = aligned_alloc(PAGE_SIZE, size);
    *address = hpa((uintptr_t)buffer);
    return buffer;
}

void machine_event(enum mm_event_kind kind, struct mm_vm *vm, uint64_t a, uint64_t b)
{
    (void)kind, (void)a, (void)b;
    (void)vm;
}

void panic(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    exit(1);
}

void log_line(enum log_level level, const char *format, ...)
{
    (void)level;
    (void)format;
}

/* ---- a disk in memory that answers at the next turn ----------------------------- */

static uint8_t *disk;
static struct list_node waiting = { &waiting, &waiting };

static void disk_submit(struct block_device *device, struct block_request *request)
{
    (void)device;
    list_append(&waiting, &request->link);
}

static void disk_turn(struct block_device *device)
{
    (void)device;
    while (!list_is_empty(&waiting)) {
        struct list_node *first = list_pop(&waiting);
        struct block_request *request =
            (struct block_request *)((char *)first - offsetof(struct block_request, link));
        uint8_t *at = disk + request->sector * BLOCK_SECTOR_SIZE;
        size_t bytes = (size_t)request->sector_count * BLOCK_SECTOR_SIZE;
        if (request->operation == BLOCK_READ)
            memcpy(request->buffer, at, bytes);
        else
            memcpy(at, request->buffer, bytes);
        request->status = BLOCK_OK;
        request->done(request);
    }
}

static struct block_device device = {
    .name = "memory",
    .sector_count = DISK_PAGES * (PAGE_SIZE / BLOCK_SECTOR_SIZE),
    .max_sectors = 256,
    .queue_depth = 32,
    .submit = disk_submit,
    .poll = disk_turn,
};

/* CRC-32 of IEEE 802.3, for the header. */
static uint32_t crc32(const void *bytes, size_t size)
{
    uint32_t crc = ~0u;
    for (const uint8_t *at = bytes; size--; at++) {
        crc ^= *at;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* Ballast writes only to what carries its signature. */
static void disk_make(void)
{
    disk = calloc(DISK_PAGES, PAGE_SIZE);
    struct swap_header header = { .magic = SWAP_MAGIC,
                                  .version = SWAP_VERSION,
                                  .sector_size = BLOCK_SECTOR_SIZE,
                                  .sector_count = device.sector_count,
                                  .uuid = { 1 } };
    header.check = crc32(&header, offsetof(struct swap_header, check));
    memcpy(disk, &header, sizeof(header));
}

/* ---- guests ------------------------------------------------------------------------ */

static struct mm_vm *vms[VMS];
static struct mm_vcpu vcpus[VMS];

/* What page `page` of guest `guest` holds: a fifth is the same in every guest, a
 * fifth is one word, the rest compresses to about a half. */
static void content(unsigned guest, uint32_t page, uint64_t *words)
{
    uint64_t state = page % 5 == 0 ? page : page + guest * 1000003ull;
    for (uint32_t i = 0; i < PAGE_WORDS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        words[i] = page % 5 == 1 ? page : state >> 52;
    }
}

/* One access of a guest: the core may ask for patience while it makes room. */
static void *touch(unsigned guest, uint32_t page, unsigned access)
{
    for (unsigned turn = 0; turn < 1000000; turn++) {
        void *at;
        enum mm_answer answer = mm_pin(vms[guest], &vcpus[guest], gfn(page), access, &at);
        if (answer == MM_DONE)
            return at;
        if (answer != MM_WAIT)
            break;
        mm_step();
        disk_turn(&device);
    }
    panic("guest %u cannot reach page %u", guest, page);
}

static void background(uint32_t turn)
{
    if (turn % 16)
        return;
    mm_step();
    disk_turn(&device);
    if (turn % 256 == 0)
        mm_tick();
}

/* The guests think; the core goes on with what it has to do. */
static void rest(unsigned ticks)
{
    while (ticks--) {
        mm_tick();
        mm_step();
        disk_turn(&device);
    }
}

static unsigned run_guests(bool write)
{
    uint64_t words[PAGE_WORDS];
    unsigned wrong = 0;
    for (uint32_t page = 0; page < VM_PAGES; page++)
        for (unsigned guest = 0; guest < VMS; guest++) {
            void *at = touch(guest, page, write ? MM_WRITE : MM_READ);
            content(guest, page, words);
            if (write)
                memcpy(at, words, PAGE_SIZE);
            else
                wrong += memcmp(at, words, PAGE_SIZE) != 0;
            mm_unpin(vms[guest], gfn(page));
            background(page * VMS + guest);
        }
    return wrong;
}

static void start(void)
{
    memory = aligned_alloc(PAGE_SIZE, (size_t)FRAMES * PAGE_SIZE);
    disk_make();
    struct mm_config config;
    mm_config_default(&config);
    config.accessed_dirty = false; /* nobody walks the tables here */
    struct frame_region region = { .start = pfn_to_hpa(pfn(FIRST_PFN)),
                                   .bytes = (uint64_t)FRAMES * PAGE_SIZE };
    if (!mm_init(&config, &region, 1))
        panic("too little memory");
    if (mm_swap_attach(&device, 0, device.sector_count) != 0)
        panic("the disk was refused");
    for (unsigned guest = 0; guest < VMS; guest++) {
        char name[8];
        snprintf(name, sizeof(name), "vm%u", guest);
        struct mm_vm_config vm = { .name = name,
                                   .pages = VM_PAGES,
                                   .limit_pages = VM_PAGES,
                                   .shares = 1000,
                                   .salt = 1,
                                   .vcpu_count = 1 };
        struct mm_admission_sum sum;
        enum mm_admission answer = mm_vm_create(&vm, &vms[guest], &sum);
        if (answer != MM_ADMIT_OK)
            panic("%s was not admitted: %s", name, mm_admission_name(answer));
        mm_vcpu_init(&vcpus[guest], vms[guest], 0);
    }
}

static void show(void)
{
    static const char *const names[] = {
#define NAME(name, ...) #name,
        MM_HOST_COUNTERS(NAME)
#undef NAME
    };
    uint64_t values[MM_HOST_COUNTER_COUNT];
    mm_host_counters(values);
    for (unsigned i = 0; i < MM_HOST_COUNTER_COUNT; i++)
        if (values[i])
            printf("  %-24s %llu\n", names[i], (unsigned long long)values[i]);
}

int main(void)
{
    start();
    run_guests(true);
    rest(200);
    unsigned wrong = run_guests(false);
    show();
    char first[128] = "";
    unsigned found = mm_audit(first, sizeof(first));
    printf("%u pages of %u were wrong; the audit found %u %s\n", wrong, VMS * VM_PAGES, found,
           first);
    return wrong || found;
}
