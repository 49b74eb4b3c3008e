/*
 * Typed addresses and frame numbers.
 *
 * One-field structs, so that mixing host-physical, guest-physical and frame
 * numbers does not compile. Frames are 4 KiB everywhere; larger mappings are
 * runs of frames.
 */
#ifndef LIB_TYPES_H
#define LIB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096u
#define PAGE_MASK  (PAGE_SIZE - 1u)
/* 64-bit words in a page: the unit of fill patterns and content hashes. */
#define PAGE_WORDS (PAGE_SIZE / 8u)

#define KIB (1024ull)
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

/* Host-physical address, bytes. */
typedef struct {
    uint64_t v;
} hpa_t;

/* Guest-physical address, bytes. */
typedef struct {
    uint64_t v;
} gpa_t;

/* Host frame number: host-physical address >> PAGE_SHIFT. */
typedef struct {
    uint32_t v;
} pfn_t;

/* Guest frame number: guest-physical address >> PAGE_SHIFT. */
typedef struct {
    uint32_t v;
} gfn_t;

/* "No frame": never a managed frame. */
#define PFN_NONE ((pfn_t){ UINT32_MAX })

static inline hpa_t hpa(uint64_t v)
{
    return (hpa_t){ v };
}
static inline gpa_t gpa(uint64_t v)
{
    return (gpa_t){ v };
}
static inline pfn_t pfn(uint32_t v)
{
    return (pfn_t){ v };
}
static inline gfn_t gfn(uint32_t v)
{
    return (gfn_t){ v };
}
static inline bool pfn_is_none(pfn_t p)
{
    return p.v == UINT32_MAX;
}
static inline hpa_t pfn_to_hpa(pfn_t p)
{
    return hpa((uint64_t)p.v << PAGE_SHIFT);
}
static inline pfn_t hpa_to_pfn(hpa_t a)
{
    return pfn((uint32_t)(a.v >> PAGE_SHIFT));
}
static inline gpa_t gfn_to_gpa(gfn_t g)
{
    return gpa((uint64_t)g.v << PAGE_SHIFT);
}

#endif
