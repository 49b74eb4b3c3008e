/*
 * The balloon driver in the minimal guest: balloon_core.h on its page allocator,
 * page cache and interrupts.
 */
#ifndef GUEST_BALLOON_H
#define GUEST_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

/* Finds the device at this address and starts it; interrupts stay off. Without a
 * device there, or with one that does not follow the specification, the guest
 * runs without a balloon; a line says so. */
void balloon_init(uint64_t address, unsigned gsi);
/* Does what there is to do; cheap when that is nothing. */
void balloon_poll(void);
/* A line about what the driver did. False: the device misbehaved. */
bool balloon_finish(void);

#endif
