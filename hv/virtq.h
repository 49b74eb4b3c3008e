/*
 * A split virtqueue seen from the device: VIRTIO 1.2, 2.7. All of it lies in
 * guest memory and is hostile.
 *
 * Every descriptor and index is read once into a copy, checked, and only the
 * copy is used. A chain is walked a bounded number of times (its queue's size),
 * and work can be put down at any entry and taken up again: the cursor is here,
 * not in guest memory. An operation that finds a page on its way answers
 * VIRTQ_WAIT without any effect.
 *
 * Locks: none; a queue is worked on by the CPU loop only.
 */
#ifndef HV_VIRTQ_H
#define HV_VIRTQ_H

#include "abi/virtio.h"
#include "lib/types.h"

struct vm;

#define VIRTQ_SIZE_MAX 256u

enum virtq_answer {
    VIRTQ_DONE,
    VIRTQ_EMPTY,   /* nothing available */
    VIRTQ_WAIT,    /* the vCPU waits for a page: try again later */
    VIRTQ_STOPPED, /* the VM has ended */
    VIRTQ_BROKEN   /* the driver broke the rules: `reason` names how */
};

struct virtq {
    uint32_t size; /* as the driver wrote it; checked when ready */
    bool ready;
    uint64_t desc, avail, used;
    uint16_t last_avail, used_index;

    bool open; /* a chain has been taken and not yet given back */
    uint16_t head;
    struct virtq_desc current; /* copy of the descriptor being worked on */
    uint32_t offset;           /* bytes of it that are done */
    unsigned walked;           /* descriptors of this chain seen so far */
    const char *reason;
};

void virtq_reset(struct virtq *queue);

/* Checks size, alignment and place of the rings. NULL, or what is wrong. */
const char *virtq_check(const struct vm *vm, const struct virtq *queue);

/* Takes the next available chain (queue->open afterwards). */
enum virtq_answer virtq_open(struct vm *vm, struct virtq *queue);
/* Goes on to the next descriptor of the chain. EMPTY: that was the last one. */
enum virtq_answer virtq_next(struct vm *vm, struct virtq *queue);
/* Gives the chain back. *notify: the driver wants an interrupt. */
enum virtq_answer virtq_close(struct vm *vm, struct virtq *queue, bool *notify);

/* Does this guest page hold a part of the queue's rings? */
bool virtq_uses(const struct virtq *queue, gfn_t page);

/* Copies between guest memory and a buffer (at most a page) on behalf of the
 * VM's first vCPU; all pages are pinned before a byte moves. */
enum virtq_answer virtq_copy(struct vm *vm, uint64_t address, void *buffer, size_t size, bool write,
                             const char **reason);

#endif
