/*
 * The screen console's place in the machine: where its frame buffer lies and how
 * long it stays. The buffer is mapped uncached. No locks: boot and end only.
 */
#include "hv/display.h"
#include "drivers/clock.h"
#include "drivers/port.h"
#include "drivers/screen.h"
#include "drivers/serial.h"
#include "hv/paging.h"
#include "hv/version.h"
#include "hv/x86.h"
#include "lib/log.h"

#define LINGER_SECONDS 60u
#define TSC_HZ_GUESS   3000000000ull /* before the clock is calibrated */

/* Keyboard controller (IBM PC/AT): status, bit 0: a byte waits. */
#define KEYBOARD_DATA   0x60
#define KEYBOARD_STATUS 0x64
#define KEYBOARD_FULL   0x01
#define KEYBOARD_NONE   0xff
#define KEYBOARD_BYTES  256u

/* A frame buffer that lies in memory of ours or of nobody would be written over
 * what is there. */
static bool lies_in_memory(const struct boot_info *info, const struct screen_mode *mode)
{
    uint64_t start = mode->address, end = start + screen_bytes(mode);
    for (unsigned i = 0; i < info->region_count; i++) {
        const struct boot_region *region = &info->regions[i];
        if (region->kind != BOOT_REGION_RESERVED && start < region->start + region->bytes &&
            end > region->start)
            return true;
    }
    return false;
}

void display_start(const struct boot_info *info)
{
    static const char first[] = "ballast: version " BALLAST_VERSION "\n";
    const struct screen_mode mode = {
        .address = info->framebuffer,
        .bytes = info->framebuffer_bytes,
        .width = info->framebuffer_width,
        .height = info->framebuffer_height,
        .pitch = info->framebuffer_pitch,
        .ink = info->framebuffer_ink,
    };
    if (mode.address == 0)
        return;
    const char *problem = screen_refuse(&mode);
    if (!problem && lies_in_memory(info, &mode))
        problem = "it lies in memory";
    void *pixels = problem ? NULL : paging_map_device(hpa(mode.address), screen_bytes(&mode));
    if (!pixels) {
        log_info("ballast: screen: not used: %s", problem ? problem : "it cannot be mapped");
        return;
    }
    screen_init(pixels, &mode);
    screen_write(first, sizeof(first) - 1);
    log_info("ballast: screen: %ux%u", mode.width, mode.height);
}

static bool key_pressed(void)
{
    uint8_t status = port_read8(KEYBOARD_STATUS);
    return status != KEYBOARD_NONE && (status & KEYBOARD_FULL);
}

void display_linger(void)
{
    if (!screen_is_on() || serial_is_present(SERIAL_CONSOLE))
        return;
    uint64_t hz = clock_tsc_hz() ? clock_tsc_hz() : TSC_HZ_GUESS;
    uint64_t start = x86_rdtsc();
    log_info("The machine goes off in a minute, or when a key is pressed.");
    /* What was typed before is not an answer. */
    for (unsigned i = 0; i < KEYBOARD_BYTES && key_pressed(); i++)
        port_read8(KEYBOARD_DATA);
    while (x86_rdtsc() - start < LINGER_SECONDS * hz && !key_pressed())
        __builtin_ia32_pause();
}
