/*
 * A text console on a linear frame buffer (UEFI graphics output), beside the
 * serial console or in its place. What the firmware says about the buffer is
 * checked before a pixel is touched.
 *
 * One writer at a time (the log's lock). Nothing here allocates or waits.
 */
#ifndef DRIVERS_SCREEN_H
#define DRIVERS_SCREEN_H

#include "lib/types.h"

/* 32 bits a pixel; lines are pitch bytes apart. */
struct screen_mode {
    uint64_t address; /* physical; 0: there is none */
    uint64_t bytes;   /* that the buffer has, 0: not known */
    uint32_t width, height, pitch;
    uint32_t ink; /* pixel value of the letters; 0 is black */
};

/* NULL when the mode can be used, else why not, in a few words. A size that is
 * absurd, misaligned or does not fit into the buffer's bytes is refused. */
const char *screen_refuse(const struct screen_mode *mode);

/* Bytes of the buffer that are written, once the mode was not refused. */
uint64_t screen_bytes(const struct screen_mode *mode);

/* From now on lines appear at pixels, where the caller has mapped the buffer.
 * The mode must not be one that is refused. Clears the screen. */
void screen_init(volatile void *pixels, const struct screen_mode *mode);
bool screen_is_on(void);

/* Text with newlines; other control characters show as boxes. Long lines wrap.
 * Before screen_init() it is dropped. */
void screen_write(const char *text, size_t size);

#endif
