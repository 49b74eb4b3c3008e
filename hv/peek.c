#include "hv/peek.h"
#include "hv/vm.h"

static uint64_t generation_now(const struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->vm->flush_generation, __ATOMIC_ACQUIRE);
}

typedef uint64_t word_t __attribute__((aligned(1), may_alias));

static void copy_word(uint8_t *to, const uint8_t *from)
{
    *(word_t *)to = *(const volatile word_t *)from;
}

/* An entry of a page table all at once, an instruction in two words that overlap. */
static void copy(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size < sizeof(word_t)) {
        for (size_t i = 0; i < size; i++)
            to[i] = *(const volatile uint8_t *)&from[i];
        return;
    }
    copy_word(to, from);
    if (size > sizeof(word_t))
        copy_word(to + size - sizeof(word_t), from + size - sizeof(word_t));
}

/* False: the place is not known, or was not its page's any more. */
static bool read_remembered(struct vcpu *vcpu, gpa_t address, void *buffer, size_t size)
{
    const struct peek *peek = &vcpu->peek;
    uint32_t page = (uint32_t)(address.v >> PAGE_SHIFT);
    unsigned i = page % PEEK_PAGES;
    if (!peek->places[i] || peek->pages[i] != page || peek->generation != generation_now(vcpu))
        return false;
    copy(buffer, peek->places[i] + (address.v & PAGE_MASK), size);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return peek->generation == generation_now(vcpu);
}

const uint8_t *peek_place(const struct vcpu *vcpu, gpa_t address)
{
    uint32_t page = (uint32_t)(address.v >> PAGE_SHIFT);
    const uint8_t *place = vcpu->peek.places[page % PEEK_PAGES];
    return place && vcpu->peek.pages[page % PEEK_PAGES] == page ? place + (address.v & PAGE_MASK)
                                                                : NULL;
}

/* The generation was looked at before the page was pinned. */
static void remember(struct peek *peek, uint64_t generation, uint32_t page, const void *place)
{
    if (peek->generation != generation)
        *peek = (struct peek){ .generation = generation };
    peek->pages[page % PEEK_PAGES] = page;
    peek->places[page % PEEK_PAGES] = place;
}

enum mm_answer peek_read(struct vcpu *vcpu, gpa_t address, void *buffer, size_t size)
{
    struct mm_vm *vm = vcpu->vm->mm;
    gfn_t page = gfn((uint32_t)(address.v >> PAGE_SHIFT));
    void *memory;
    assert((address.v & PAGE_MASK) + size <= PAGE_SIZE && size <= PEEK_BYTES);
    if (read_remembered(vcpu, address, buffer, size))
        return MM_DONE;
    uint64_t generation = generation_now(vcpu);
    enum mm_answer answer = mm_pin(vm, &vcpu->mm, page, MM_READ, &memory);
    if (answer != MM_DONE)
        return answer;
    remember(&vcpu->peek, generation, page.v, memory);
    copy(buffer, (const uint8_t *)memory + (address.v & PAGE_MASK), size);
    mm_unpin(vm, page);
    return MM_DONE;
}
