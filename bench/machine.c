/*
 * The machine below the core for measurements: one run of frames, no caches of
 * translations. Every call of machine_flush_vm() is counted, so that its cost can
 * be added at a stated price.
 */
#include "bench/machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/assert.h"
#include "lib/crc32.h"
#include "lib/log.h"
#include "mm/block.h"
#include "mm/machine.h"
#include "mm/swap_format.h"

#define FIRST_PFN 0x1000u

static uint8_t *memory;
static size_t mapped; /* bytes of a sparse memory, else 0 */
static void *guests_page;
static uint64_t entropy = 1;
uint64_t machine_flushes;

static void drop(void)
{
    if (mapped)
        munmap(memory, mapped);
    else
        free(memory);
    mapped = 0;
    guests_page = NULL;
}

struct frame_region machine_start_sparse(uint64_t frames)
{
    drop();
    mapped = frames * PAGE_SIZE;
    memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    if (memory == MAP_FAILED)
        panic("no address space for %llu frames", (unsigned long long)frames);
    return (struct frame_region){ pfn_to_hpa(pfn(FIRST_PFN)), frames * PAGE_SIZE };
}

void machine_share_content(void *page)
{
    guests_page = page;
}

struct frame_region machine_start(uint32_t frames)
{
    drop();
    memory = aligned_alloc(1u << 21,
                           ((size_t)frames * PAGE_SIZE + (1u << 21) - 1) & ~((1ull << 21) - 1));
    memset(memory, 1, (size_t)frames * PAGE_SIZE);
    return (struct frame_region){ pfn_to_hpa(pfn(FIRST_PFN)), (uint64_t)frames * PAGE_SIZE };
}

void *machine_frame_map(pfn_t frame)
{
    if (guests_page && frame_at(frame)->kind == FRAME_PRIVATE)
        return guests_page;
    return memory + (uint64_t)(frame.v - FIRST_PFN) * PAGE_SIZE;
}

void machine_flush_vm(struct mm_vm *vm)
{
    (void)vm;
    machine_flushes++;
}

uint64_t machine_time_ns(void)
{
    static uint64_t now;
    return now += 1000;
}

void machine_entropy(void *bytes, size_t size)
{
    for (uint8_t *at = bytes; size--; at++)
        *at = (uint8_t)((entropy = entropy * 6364136223846793005u + 1) >> 56);
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
    (void)vm;
    panic("a VM was stopped: %d", (int)reason);
}

void *machine_dma_alloc(size_t size, hpa_t *address)
{
    void *buffer = aligned_alloc(PAGE_SIZE, size);
    *address = hpa((uintptr_t)buffer);
    return buffer;
}

void machine_event(enum mm_event_kind kind, struct mm_vm *vm, uint64_t a, uint64_t b)
{
    (void)kind, (void)vm, (void)a, (void)b;
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
    (void)level, (void)format;
}

/* ---- a disk in memory that answers at the next turn ----------------------------- */

static uint8_t *disk;
static struct list_node waiting = { &waiting, &waiting };

static void disk_submit(struct block_device *unused, struct block_request *request)
{
    (void)unused;
    list_append(&waiting, &request->link);
}

static void disk_turn(struct block_device *unused)
{
    (void)unused;
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

static struct block_device device = { .name = "memory",
                                      .max_sectors = 256,
                                      .queue_depth = 32,
                                      .submit = disk_submit,
                                      .poll = disk_turn };

struct block_device *machine_disk(uint64_t bytes)
{
    free(disk);
    disk = calloc(bytes / PAGE_SIZE, PAGE_SIZE);
    device.sector_count = bytes / BLOCK_SECTOR_SIZE;
    struct swap_header header = { .magic = SWAP_MAGIC,
                                  .version = SWAP_VERSION,
                                  .sector_size = BLOCK_SECTOR_SIZE,
                                  .sector_count = device.sector_count,
                                  .uuid = { 1 } };
    header.check = crc32_add(0, &header, offsetof(struct swap_header, check));
    memcpy(disk, &header, sizeof(header));
    return &device;
}
