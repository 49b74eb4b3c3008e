/*
 * Reading a few bytes of guest memory again and again (the guest's page tables, the
 * instruction that exited) without a pin each time.
 *
 * A vCPU remembers where pages were that it has read. That holds as long as no
 * translation of its VM was revoked: mm never lets a frame go before it has counted
 * the VM's flush generation up (hv/guest.h). So the bytes are taken, and count only
 * when the generation is still the one the places were remembered at. In between, a
 * frame may get another owner; its bytes are then read and thrown away, inside the
 * hypervisor, which maps all memory anyway.
 *
 * Used by the CPU that handles the vCPU's exit; no lock.
 */
#ifndef HV_PEEK_H
#define HV_PEEK_H

#include "lib/types.h"
#include "mm/mm.h"

struct vcpu;

#define PEEK_PAGES 8u
#define PEEK_BYTES 16u /* at most, at once */

struct peek {
    uint64_t generation; /* of what is remembered */
    uint32_t pages[PEEK_PAGES];
    const uint8_t *places[PEEK_PAGES]; /* NULL: none */
};

/* Where that byte is at vcpu->peek.generation; NULL: not known. */
const uint8_t *peek_place(const struct vcpu *vcpu, gpa_t address);

/* size bytes at the address, which are of one page of the VM's memory. Answers other
 * than MM_DONE are mm_pin()'s. */
enum mm_answer peek_read(struct vcpu *vcpu, gpa_t address, void *buffer, size_t size);

#endif
