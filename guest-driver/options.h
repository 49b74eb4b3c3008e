/*
 * The command line of the minimal guest: words KEY=VALUE. Every key is described
 * in docs/guest.md.
 */
#ifndef GUEST_OPTIONS_H
#define GUEST_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest-driver/content.h"

#define OPTION_NAME_MAX 16

struct options {
    char workload[OPTION_NAME_MAX];
    uint64_t ws;     /* bytes; 0: the workload's default */
    uint64_t seed;   /* of private content and of all choices */
    uint64_t common; /* clones: seed of the content common to all VMs */
    uint64_t rounds;
    uint64_t requests;        /* cache */
    uint64_t phases;          /* grow */
    uint64_t ticks;           /* idle, and the pauses of the others; hundredths of a second */
    uint64_t private_percent; /* clones: pages written again per round */
    uint64_t corrupt;         /* falsify this many pages, to see that it is found */
    struct content_mix mix;
    bool mix_given;
    bool balloon;    /* off: the device is left alone */
    bool fpu;        /* keep patterns in vector registers all along */
    uint64_t virtio; /* address of the balloon's registers */
    uint64_t gsi;
};

/* False: message says which word and why. */
bool options_parse(struct options *options, const char *cmdline, char *message, size_t size);

#endif
