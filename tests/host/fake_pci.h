/*
 * One PCI function with its configuration space, for tests of disk drivers: the
 * test supplies what its registers do. Memory that devices reach is at the same
 * address for both sides. Time moves a little with every look at the clock.
 */
#ifndef TESTS_HOST_FAKE_PCI_H
#define TESTS_HOST_FAKE_PCI_H

#include "drivers/disk_driver.h"
#include "lib/rng.h"

#define FAKE_BAR      0x80000000u /* BAR n lies at FAKE_BAR + n * FAKE_BAR_STEP */
#define FAKE_BAR_STEP 0x01000000u
#define FAKE_VECTOR   0x41
#define FAKE_MS       1000000ull

extern uint32_t (*fake_read)(unsigned bar, unsigned offset, unsigned bytes);
extern void (*fake_write)(unsigned bar, unsigned offset, unsigned bytes, uint32_t value);
extern uint32_t (*fake_in)(uint16_t port, unsigned bytes);
extern void (*fake_out)(uint16_t port, unsigned bytes, uint32_t value);

extern uint8_t fake_config[256];
extern uint64_t fake_now;             /* ns */
extern unsigned fake_messages;        /* vectors handed out for messages */
extern struct disk_queue *fake_queue; /* the one that was added last */
extern unsigned fake_queue_count;
extern const struct disk_host fake_host;

/* A new function without BARs and capabilities; forgets queues and memory. */
void fake_pci_reset(uint16_t vendor, uint16_t device, uint8_t class_code, uint8_t subclass,
                    uint8_t interface);
/* bytes: a power of two. */
void fake_bar_set(unsigned bar, uint32_t bytes);
void fake_bar_set_port(unsigned bar, uint16_t port);
/* Appends to the list of capabilities; returns its offset. */
unsigned fake_capability_add(uint8_t id, unsigned bytes);
void fake_config_write32(unsigned offset, uint32_t value);
/* MSI-X with its table at the beginning of that BAR. */
void fake_msix_add(unsigned bar);
bool fake_bus_master(void);
/* Finds the function the way disk_init() does, and has the driver probe it. */
void fake_probe(const struct disk_driver *driver);

/* ---- requests ------------------------------------------------------------------------ */

#define FAKE_REQUESTS 64
extern struct block_request fake_requests[FAKE_REQUESTS];
extern bool fake_done[FAKE_REQUESTS];
extern unsigned fake_done_count;
extern uint8_t *fake_buffers; /* FAKE_BUFFER_BYTES for each request */
#define FAKE_BUFFER_BYTES (DISK_SECTORS_MAX * BLOCK_SECTOR_SIZE + 4096)

/* Forgets all requests. */
void fake_requests_reset(void);
struct block_request *fake_submit(unsigned index, bool write, uint64_t sector, uint32_t count);
/* Polls until the request is done or a simulated minute has gone by. */
enum block_status fake_wait(unsigned index);

/* ---- hardware that does as it likes ------------------------------------------------------ */

struct fake_hardware {
    const char *name;            /* in the plural */
    uint8_t **store;             /* what its sectors hold */
    void (*begin)(struct rng *); /* a new device with its driver */
    void (*vary)(struct rng *);  /* what goes wrong from now on */
    void (*answer)(void);        /* does what it was asked for */
    void (*calm)(void);          /* answers all from now on */
};
/* Whatever it does, each request ends exactly once, and what is told to have been read
 * has been read. BALLAST_STEPS / 100 devices of 120 steps, from BALLAST_SEED. */
void fake_random_hardware(const struct fake_hardware *hardware);

#endif
