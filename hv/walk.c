#include "hv/walk.h"
#include "hv/vm.h"
#include "hv/x86.h"
#include "lib/string.h"

#define PF_PRESENT  (1u << 0)
#define PF_WRITE    (1u << 1)
#define PF_USER     (1u << 2)
#define PF_RESERVED (1u << 3)
#define PF_FETCH    (1u << 4)

#define PTE_USER_BIT (1ull << 2)
#define LEVEL_MAX    4u

struct walk {
    struct vcpu *vcpu;
    uint64_t linear, cr0, cr4, efer;
    unsigned access, levels, entry_size, index_bits;
    bool user;
    uint64_t rights; /* bits all levels have: writable, user */
    bool no_execute;
    uint32_t error;
    uint64_t page; /* base of the page found */
    uint64_t page_mask;
};

static enum walk_answer answer_of(enum mm_answer answer)
{
    return answer == MM_WAIT ? WALK_WAIT : answer == MM_STOPPED ? WALK_STOPPED : WALK_DONE;
}

/* A table outside of memory reads as zero: not present. */
static enum walk_answer entry_read(struct walk *w, uint64_t address, uint64_t *entry)
{
    *entry = 0;
    if (address >> PAGE_SHIFT >= mm_vm_pages(w->vcpu->vm->mm))
        return WALK_DONE;
    return answer_of(peek_read(w->vcpu, gpa(address), entry, w->entry_size));
}

static uint64_t reserved_bits(const struct walk *w)
{
    if (w->entry_size == 4)
        return 0;
    return w->efer & EFER_NXE ? 0 : PTE_NX;
}

static bool is_large(const struct walk *w, uint64_t entry, unsigned level)
{
    if (level == 1 || !(entry & PTE_LARGE))
        return false;
    if (w->entry_size == 4)
        return level == 2 && (w->cr4 & CR4_PSE);
    return level == 2 || (level == 3 && w->levels == LEVEL_MAX);
}

static bool fail(struct walk *w, uint32_t error)
{
    w->error = error;
    if (w->access & MM_WRITE)
        w->error |= PF_WRITE;
    if (w->user)
        w->error |= PF_USER;
    if ((w->access & MM_EXEC) && (w->efer & EFER_NXE))
        w->error |= PF_FETCH;
    return false;
}

static bool rights_suffice(struct walk *w)
{
    bool denied = false;
    if (w->user && !(w->rights & PTE_USER_BIT))
        denied = true;
    if ((w->access & MM_WRITE) && !(w->rights & PTE_WRITE) && (w->user || (w->cr0 & CR0_WP)))
        denied = true;
    if ((w->access & MM_EXEC) && w->no_execute)
        denied = true;
    return denied ? fail(w, PF_PRESENT) : true;
}

/* The page a leaf entry maps. Large pages of 32-bit paging have address bits
 * 39-32 in bits 20-13 of the entry. */
static void take_leaf(struct walk *w, uint64_t entry, unsigned level)
{
    unsigned shift = PAGE_SHIFT + (level - 1) * w->index_bits;
    w->page_mask = (1ull << shift) - 1;
    if (w->entry_size == 4)
        w->page =
            level == 2 ? (entry & 0xffc00000u) | (entry >> 13 & 0xff) << 32 : entry & 0xfffff000u;
    else
        w->page = entry & PTE_ADDRESS & ~w->page_mask;
}

/* True: go on (or done, when page_mask is set). */
static bool take_entry(struct walk *w, uint64_t entry, unsigned level)
{
    if (!(entry & PTE_PRESENT))
        return fail(w, 0);
    if (entry & reserved_bits(w))
        return fail(w, PF_PRESENT | PF_RESERVED);
    if (w->levels != 3 || level != 3) { /* PAE's top level has no rights */
        w->rights &= entry;
        w->no_execute |= w->entry_size == 8 && (entry & PTE_NX);
    }
    if (level == 1 || is_large(w, entry, level)) {
        take_leaf(w, entry, level);
        return rights_suffice(w);
    }
    return true;
}

static void note(struct walk *w, gpa_t at, uint64_t entry)
{
    struct walk_path *path = &w->vcpu->path;
    path->at[path->count] = at;
    path->entries[path->count++] = entry;
}

static enum walk_answer walk_levels(struct walk *w)
{
    uint64_t table = vcpu_ops->get(w->vcpu, STATE_CR3);
    table &= w->levels == 3 ? 0xffffffe0u : w->levels == 2 ? 0xfffff000u : PTE_ADDRESS;
    for (unsigned level = w->levels; level; level--) {
        unsigned shift = PAGE_SHIFT + (level - 1) * w->index_bits;
        uint64_t index = w->linear >> shift & ((1u << w->index_bits) - 1);
        uint64_t entry;
        if (w->levels == 3 && level == 3)
            index &= 3;
        enum walk_answer answer = entry_read(w, table + index * w->entry_size, &entry);
        if (answer != WALK_DONE)
            return answer;
        note(w, gpa(table + index * w->entry_size), entry);
        if (!take_entry(w, entry, level))
            return WALK_FAULT;
        if (w->page_mask)
            return WALK_DONE;
        table = w->entry_size == 4 ? entry & 0xfffff000u : entry & PTE_ADDRESS;
    }
    return WALK_FAULT;
}

enum walk_answer walk_translate(struct vcpu *vcpu, uint64_t linear, unsigned access, gpa_t *address,
                                struct walk_fault *fault)
{
    struct walk w = { .vcpu = vcpu, .linear = linear, .access = access, .rights = UINT64_MAX };
    vcpu->path.count = 0;
    vcpu->path.is_complete = false;
    w.cr0 = vcpu_ops->get(vcpu, STATE_CR0);
    w.cr4 = vcpu_ops->get(vcpu, STATE_CR4);
    w.efer = vcpu_ops->get(vcpu, STATE_EFER);
    w.user = vcpu_ops->get(vcpu, STATE_CPL) == 3;
    if (!(w.efer & EFER_LMA))
        w.linear &= UINT32_MAX;
    if (!(w.cr0 & CR0_PG)) {
        vcpu->path.page = *address = gpa(w.linear);
        vcpu->path.is_complete = true;
        return WALK_DONE;
    }
    bool wide = w.cr4 & CR4_PAE;
    w.levels = w.efer & EFER_LMA ? 4 : wide ? 3 : 2;
    w.entry_size = wide ? 8 : 4;
    w.index_bits = wide ? 9 : 10;
    enum walk_answer answer = walk_levels(&w);
    *fault = (struct walk_fault){ w.linear, w.error };
    vcpu->path.page = *address = gpa(w.page | (w.linear & w.page_mask));
    vcpu->path.is_complete = answer == WALK_DONE && wide;
    return answer;
}

/* ---- copying -------------------------------------------------------------------- */

static enum walk_answer part_pin(struct vcpu *vcpu, uint64_t linear, unsigned access,
                                 struct walk_part *part, struct walk_fault *fault)
{
    gpa_t address;
    void *memory = NULL;
    enum walk_answer answer = walk_translate(vcpu, linear, access, &address, fault);
    if (answer != WALK_DONE)
        return answer;
    part->offset = (unsigned)(address.v & PAGE_MASK);
    part->memory = NULL;
    if (address.v >> PAGE_SHIFT >= mm_vm_pages(vcpu->vm->mm))
        return WALK_DONE;
    part->page = gfn((uint32_t)(address.v >> PAGE_SHIFT));
    enum mm_answer pinned = mm_pin(vcpu->vm->mm, &vcpu->mm, part->page,
                                   access & MM_WRITE ? MM_WRITE : MM_READ, &memory);
    if (pinned == MM_DONE)
        part->memory = memory;
    return answer_of(pinned);
}

static void part_move(const struct walk_part *part, uint8_t *buffer, unsigned access)
{
    if (!part->memory) {
        if (!(access & MM_WRITE))
            memset(buffer, 0xff, part->size);
        return;
    }
    if (access & MM_WRITE)
        memcpy(part->memory + part->offset, buffer, part->size);
    else
        memcpy(buffer, part->memory + part->offset, part->size);
}

enum walk_answer walk_pin(struct vcpu *vcpu, uint64_t linear, size_t size, unsigned access,
                          struct walk_area *area, struct walk_fault *fault)
{
    size_t room = PAGE_SIZE - (linear & PAGE_MASK);
    unsigned count = size > room ? 2 : 1;
    area->count = 0;
    while (area->count < count) {
        bool second = area->count;
        struct walk_part *part = &area->parts[second];
        part->size = second ? size - room : size < room ? size : room;
        enum walk_answer answer = part_pin(vcpu, linear + (second ? room : 0), access, part, fault);
        if (answer != WALK_DONE) {
            walk_unpin(vcpu, area);
            return answer;
        }
        area->count++;
    }
    return WALK_DONE;
}

void walk_unpin(struct vcpu *vcpu, const struct walk_area *area)
{
    for (unsigned i = 0; i < area->count; i++)
        if (area->parts[i].memory)
            mm_unpin(vcpu->vm->mm, area->parts[i].page);
}

void walk_move(const struct walk_area *area, void *buffer, unsigned access)
{
    uint8_t *bytes = buffer;
    for (unsigned i = 0; i < area->count; i++) {
        part_move(&area->parts[i], bytes, access);
        bytes += area->parts[i].size;
    }
}

enum walk_answer walk_copy(struct vcpu *vcpu, uint64_t linear, void *buffer, size_t size,
                           unsigned access, struct walk_fault *fault)
{
    struct walk_area area;
    enum walk_answer answer = walk_pin(vcpu, linear, size, access, &area, fault);
    if (answer != WALK_DONE)
        return answer;
    walk_move(&area, buffer, access);
    walk_unpin(vcpu, &area);
    return WALK_DONE;
}

enum walk_answer walk_peek(struct vcpu *vcpu, uint64_t linear, void *buffer, size_t size,
                           unsigned access, struct walk_fault *fault)
{
    gpa_t address;
    enum walk_answer answer = walk_translate(vcpu, linear, access, &address, fault);
    if (answer != WALK_DONE)
        return answer;
    if (address.v >> PAGE_SHIFT < mm_vm_pages(vcpu->vm->mm))
        return answer_of(peek_read(vcpu, address, buffer, size));
    memset(buffer, 0xff, size);
    return WALK_DONE;
}

bool walk_settle(struct vcpu *vcpu, enum walk_answer answer, const struct walk_fault *fault)
{
    if (answer == WALK_FAULT)
        seam_page_fault(vcpu, fault->address, fault->error);
    return answer == WALK_DONE;
}
