/*
 * The instruction a guest is at, fetched through its own page tables.
 */
#ifndef HV_FETCH_H
#define HV_FETCH_H

#include "hv/decode.h"
#include "hv/walk.h"

/* How its code is decoded now. */
enum decode_mode fetch_mode(struct vcpu *vcpu);

/* The bytes at RIP, at most DECODE_BYTES_MAX; those of a second page only when they
 * can be had. Taken from the exit where the processor has left them there. */
enum walk_answer fetch_bytes(struct vcpu *vcpu, uint8_t *bytes, unsigned *size,
                             struct walk_fault *fault);

#endif
