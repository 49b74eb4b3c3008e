/*
 * IDT, and what happens on each vector. Source: Intel SDM volume 3A, chapter 6
 * (gate format 6.14.1, error codes 6.15).
 */
#include "guest-driver/interrupts.h"

#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/guest.h"
#include "guest-driver/lapic.h"
#include "lib/assert.h"

#define CODE_SELECTOR     0x08
#define GATE_INTERRUPT    0x8e00 /* present, DPL 0, 64-bit interrupt gate */
#define STUB_SIZE         16
#define VECTOR_PAGE_FAULT 14
#define EXCEPTION_COUNT   32

struct idt_gate {
    uint16_t offset_low, selector;
    uint16_t attributes, offset_middle;
    uint32_t offset_high, reserved;
};
static_assert(sizeof(struct idt_gate) == 16, "a gate is 16 bytes");

extern const char interrupt_stubs[];
void interrupt_dispatch(struct interrupt_frame *frame);

static struct idt_gate idt[VECTOR_COUNT];
static interrupt_handler handlers[VECTOR_COUNT];
static interrupt_hook hook_first;
static uint64_t taken_count;

void interrupts_init(void)
{
    for (unsigned i = 0; i < VECTOR_COUNT; i++) {
        uint64_t stub = (uint64_t)interrupt_stubs + i * STUB_SIZE;
        idt[i] = (struct idt_gate){ .offset_low = (uint16_t)stub,
                                    .selector = CODE_SELECTOR,
                                    .attributes = GATE_INTERRUPT,
                                    .offset_middle = (uint16_t)(stub >> 16),
                                    .offset_high = (uint32_t)(stub >> 32) };
    }
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)idt };
    __asm__ volatile("lidt %0" : : "m"(pointer) : "memory");
}

void interrupts_set_handler(unsigned vector, interrupt_handler handler)
{
    assert(vector >= EXCEPTION_COUNT && vector < VECTOR_COUNT);
    handlers[vector] = handler;
}

void interrupts_set_hook(interrupt_hook hook)
{
    hook_first = hook;
}

uint64_t interrupts_count(void)
{
    return taken_count;
}

static void exception_report(const struct interrupt_frame *frame)
{
    uint64_t cr2 = 0;
    if (frame->vector == VECTOR_PAGE_FAULT)
        __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    console_line("guest: exception %lu error 0x%lx at rip 0x%lx cr2 0x%lx rsp 0x%lx", frame->vector,
                 frame->error, frame->rip, cr2, frame->rsp);
    guest_exit(GUEST_STATUS_UNEXPECTED);
}

void interrupt_dispatch(struct interrupt_frame *frame)
{
    bool answered = hook_first && hook_first(frame);
    if (frame->vector < EXCEPTION_COUNT) {
        if (!answered)
            exception_report(frame);
        return;
    }
    taken_count++;
    if (!answered && handlers[frame->vector])
        handlers[frame->vector]();
    if (frame->vector != VECTOR_SPURIOUS)
        lapic_end_of_interrupt();
}
