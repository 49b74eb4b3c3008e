/* See fake_pci.h. */
#include "tests/host/fake_pci.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/clock.h"
#include "drivers/irq.h"
#include "tests/host/fake_port.h"
#include "tests/host/support.h"

#define SLOT       3
#define MEMORY_MAX 64
#define CLOCK_STEP 1000u /* ns a look */

uint32_t (*fake_read)(unsigned bar, unsigned offset, unsigned bytes);
void (*fake_write)(unsigned bar, unsigned offset, unsigned bytes, uint32_t value);
uint32_t (*fake_in)(uint16_t port, unsigned bytes);
void (*fake_out)(uint16_t port, unsigned bytes, uint32_t value);
uint8_t fake_config[256];
uint64_t fake_now;
unsigned fake_messages;
struct disk_queue *fake_queue;
unsigned fake_queue_count;

static uint32_t bar_mask[6];
static uint32_t selected;
static unsigned last_capability;
static void *memory[MEMORY_MAX];
static unsigned memory_count;

/* ---- configuration space ----------------------------------------------------------------- */

static uint32_t config_get(unsigned offset, unsigned bytes)
{
    uint32_t value = 0;
    memcpy(&value, fake_config + offset, bytes);
    return value;
}

void fake_config_write32(unsigned offset, uint32_t value)
{
    memcpy(fake_config + offset, &value, 4);
}

static void config_set(unsigned offset, unsigned bytes, uint32_t value)
{
    unsigned bar = (offset - 0x10) / 4;
    if (offset >= 0x10 && offset < 0x28)
        fake_config_write32(offset, (value & bar_mask[bar]) | (config_get(offset, 4) & 15));
    else
        memcpy(fake_config + offset, &value, bytes);
}

void fake_pci_reset(uint16_t vendor, uint16_t device, uint8_t class_code, uint8_t subclass,
                    uint8_t interface)
{
    memset(fake_config, 0, sizeof fake_config);
    memset(bar_mask, 0, sizeof bar_mask);
    fake_config_write32(0, (uint32_t)device << 16 | vendor);
    fake_config_write32(8, (uint32_t)class_code << 24 | (uint32_t)subclass << 16 |
                               (uint32_t)interface << 8);
    fake_config[0x3c] = 11;
    last_capability = 0;
    fake_queue = NULL;
    fake_queue_count = fake_messages = 0;
    fake_now = 1000 * FAKE_MS;
    while (memory_count)
        free(memory[--memory_count]);
    fake_requests_reset();
}

void fake_bar_set(unsigned bar, uint32_t bytes)
{
    bar_mask[bar] = ~(bytes - 1);
    fake_config_write32(0x10 + 4 * bar, FAKE_BAR + bar * FAKE_BAR_STEP);
}

void fake_bar_set_port(unsigned bar, uint16_t port)
{
    fake_config_write32(0x10 + 4 * bar, port | 1u);
}

unsigned fake_capability_add(uint8_t id, unsigned bytes)
{
    static unsigned next;
    if (!last_capability) {
        next = 0x40;
        fake_config[6] |= 0x10;
    }
    fake_config[last_capability ? last_capability + 1 : 0x34] = (uint8_t)next;
    last_capability = next;
    fake_config[next] = id;
    next += (bytes + 3) & ~3u;
    return last_capability;
}

void fake_msix_add(unsigned bar)
{
    fake_config_write32(fake_capability_add(0x11, 12) + 4, bar);
}

bool fake_bus_master(void)
{
    return fake_config[4] & 4;
}

/* ---- ports, registers, time, interrupts ----------------------------------------------------- */

uint32_t fake_port_read(uint16_t port, unsigned bytes)
{
    if (port < 0xcf8 || port > 0xcff)
        return fake_in ? fake_in(port, bytes) : UINT32_MAX;
    if ((selected & 0xffff00) != SLOT << 11)
        return UINT32_MAX;
    return config_get((selected & 0xfc) + (port - 0xcfc), bytes);
}

void fake_port_write(uint16_t port, unsigned bytes, uint32_t value)
{
    if (port == 0xcf8)
        selected = value;
    else if (port >= 0xcfc && port <= 0xcff && (selected & 0xffff00) == SLOT << 11)
        config_set((selected & 0xfc) + (port - 0xcfc), bytes, value);
    else if (fake_out)
        fake_out(port, bytes, value);
}

uint32_t fake_mmio_read(uint64_t address, unsigned bytes)
{
    uint64_t at = address - FAKE_BAR;
    assert_true(at % FAKE_BAR_STEP % bytes == 0);
    assert_true(at % FAKE_BAR_STEP + bytes <= ~bar_mask[at / FAKE_BAR_STEP] + 1ull);
    return fake_read((unsigned)(at / FAKE_BAR_STEP), at % FAKE_BAR_STEP, bytes);
}

void fake_mmio_write(uint64_t address, unsigned bytes, uint32_t value)
{
    uint64_t at = address - FAKE_BAR;
    assert_true(at % FAKE_BAR_STEP % bytes == 0);
    assert_true(at % FAKE_BAR_STEP + bytes <= ~bar_mask[at / FAKE_BAR_STEP] + 1ull);
    fake_write((unsigned)(at / FAKE_BAR_STEP), at % FAKE_BAR_STEP, bytes, value);
}

__attribute__((weak)) uint64_t clock_now_ns(void)
{
    return fake_now += CLOCK_STEP;
}

uint8_t irq_route_message(uint64_t *address, uint32_t *data)
{
    *address = 0xfee00000;
    *data = FAKE_VECTOR;
    fake_messages++;
    return FAKE_VECTOR;
}
uint8_t irq_route_pci(unsigned line)
{
    return (uint8_t)(0x30 + line);
}
uint8_t irq_route_isa(unsigned line)
{
    return (uint8_t)(0x30 + line);
}

static void *dma_alloc(size_t size, hpa_t *address)
{
    void *at = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
    assert_true(memory_count < MEMORY_MAX);
    memory[memory_count++] = at;
    memset(at, 0, (size + 4095) & ~(size_t)4095);
    *address = hpa((uintptr_t)at);
    return at;
}

static void *map(hpa_t address, size_t size)
{
    assert_true(address.v >= FAKE_BAR && size > 0);
    return (void *)(uintptr_t)address.v;
}

static bool add(struct disk_queue *queue)
{
    fake_queue = queue;
    fake_queue_count++;
    return false; /* the driver may use its place again for the next test */
}

const struct disk_host fake_host = { dma_alloc, map, add };

static const struct disk_driver *probed;

static void found(const struct pci_device *device)
{
    assert_int_equal(device->class_code, probed->class_code);
    assert_int_equal(device->subclass, probed->subclass);
    probed->probe(device, &fake_host);
}

void fake_probe(const struct disk_driver *driver)
{
    probed = driver;
    pci_enumerate(found);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

struct block_request fake_requests[FAKE_REQUESTS];
bool fake_done[FAKE_REQUESTS];
unsigned fake_done_count;
uint8_t *fake_buffers;

static void done(struct block_request *request)
{
    unsigned index = (unsigned)(request - fake_requests);
    assert_false(fake_done[index]);
    fake_done[index] = true;
    fake_done_count++;
}

void fake_requests_reset(void)
{
    if (!fake_buffers)
        fake_buffers = aligned_alloc(4096, (size_t)FAKE_REQUESTS * FAKE_BUFFER_BYTES);
    memset(fake_requests, 0, sizeof fake_requests);
    memset(fake_done, 0, sizeof fake_done);
    fake_done_count = 0;
}

struct block_request *fake_submit(unsigned index, bool write, uint64_t sector, uint32_t count)
{
    struct block_request *request = &fake_requests[index];
    uint8_t *buffer = fake_buffers + (size_t)index * FAKE_BUFFER_BYTES + index % 7 * 512;
    *request = (struct block_request){ .operation = write ? BLOCK_WRITE : BLOCK_READ,
                                       .sector = sector,
                                       .sector_count = count,
                                       .buffer = buffer,
                                       .buffer_address = hpa((uintptr_t)buffer),
                                       .done = done };
    list_init(&request->link);
    fake_done[index] = false;
    disk_submit(&fake_queue->units[0].device, request);
    return request;
}

enum block_status fake_wait(unsigned index)
{
    for (uint64_t end = fake_now + 60000 * FAKE_MS; !fake_done[index];) {
        assert_true(fake_now < end);
        fake_now += 100 * FAKE_MS;
        disk_queue_poll(fake_queue, fake_now);
    }
    return fake_requests[index].status;
}

/* ---- hardware that does as it likes ------------------------------------------------------- */

static unsigned random_life(const struct fake_hardware *hardware, struct rng *rng)
{
    unsigned submitted = 0;
    hardware->begin(rng);
    for (unsigned step = 0; step < 120; step++) {
        hardware->vary(rng);
        fake_now += rng_below(rng, 20) ? rng_below(rng, 50 * FAKE_MS) : 5100 * FAKE_MS;
        if (rng_below(rng, 2) && submitted < FAKE_REQUESTS) {
            fake_submit(submitted++, false, rng_below(rng, 3000),
                        1 + (uint32_t)rng_below(rng, 200));
        } else if (rng_below(rng, 2)) {
            hardware->answer();
            disk_queue_interrupt(fake_queue);
        } else {
            disk_queue_poll(fake_queue, fake_now);
        }
    }
    hardware->calm();
    return submitted;
}

void fake_random_hardware(const struct fake_hardware *hardware)
{
    uint64_t rounds = support_number("BALLAST_STEPS", 20000) / 100, ends[BLOCK_REFUSED + 1] = { 0 };
    struct rng rng;
    rng_seed(&rng, support_number("BALLAST_SEED", 1));
    for (uint64_t round = 0; round < rounds; round++) {
        unsigned submitted = random_life(hardware, &rng);
        for (unsigned i = 0; i < submitted; i++) {
            const struct block_request *r = &fake_requests[i];
            ends[fake_wait(i)]++;
            if (r->status == BLOCK_OK)
                assert_memory_equal(r->buffer, *hardware->store + r->sector * 512,
                                    r->sector_count * 512);
        }
        assert_int_equal(fake_done_count, submitted);
    }
    printf("figure: %llu random %s; requests ok %llu, error %llu, time-out %llu, gone %llu\n",
           (unsigned long long)rounds, hardware->name, (unsigned long long)ends[BLOCK_OK],
           (unsigned long long)ends[BLOCK_ERROR], (unsigned long long)ends[BLOCK_TIMEOUT],
           (unsigned long long)ends[BLOCK_GONE]);
}
