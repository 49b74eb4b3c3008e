#include "hv/dev_ioapic.h"
#include "hv/vm.h"
#include "lib/string.h"

/* 82093AA, 3.0 and 3.2. */
#define WINDOW_SELECT 0x00u
#define WINDOW_DATA   0x10u
enum { REG_ID, REG_VERSION, REG_ARBITRATION, REG_REDIRECTION = 0x10 };
#define VERSION_VALUE ((IOAPIC_PIN_COUNT - 1) << 16 | 0x11u)

#define ENTRY_MODE(e)        ((unsigned)((e) >> 8) & 7)
#define ENTRY_LOGICAL        (1ull << 11)
#define ENTRY_REMOTE_IRR     (1ull << 14)
#define ENTRY_LEVEL          (1ull << 15)
#define ENTRY_MASKED         (1ull << 16)
#define ENTRY_READ_ONLY      (1ull << 12 | ENTRY_REMOTE_IRR)
#define ENTRY_WRITABLE       0xff0000000001ffffull
#define ENTRY_DESTINATION(e) ((uint8_t)((e) >> 56))

void dev_ioapic_init(struct ioapic *ioapic)
{
    memset(ioapic, 0, sizeof(*ioapic));
    for (unsigned i = 0; i < IOAPIC_PIN_COUNT; i++)
        ioapic->redirection[i] = ENTRY_MASKED;
}

static void message_send(struct vm *vm, uint64_t entry)
{
    if (ENTRY_MODE(entry) > 1)
        return; /* neither fixed nor lowest priority */
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (dev_lapic_accepts(&vm->lapics[i], ENTRY_DESTINATION(entry), entry & ENTRY_LOGICAL)) {
            dev_lapic_request(&vm->vcpus[i], (uint8_t)entry, entry & ENTRY_LEVEL);
            if (ENTRY_MODE(entry) == 1)
                return;
        }
}

/* Delivers what the pin has to say, when its entry lets it. */
static void pin_update(struct vm *vm, unsigned pin)
{
    struct ioapic *ioapic = &vm->ioapic;
    uint64_t *entry = &ioapic->redirection[pin];
    uint32_t bit = 1u << pin;
    if (*entry & ENTRY_MASKED)
        return;
    if (*entry & ENTRY_LEVEL) {
        if (!(ioapic->asserted & bit) || (*entry & ENTRY_REMOTE_IRR))
            return;
        *entry |= ENTRY_REMOTE_IRR;
    } else if (!(ioapic->edges & bit)) {
        return;
    }
    ioapic->edges &= ~bit;
    message_send(vm, *entry);
}

void dev_ioapic_raise(struct vm *vm, unsigned pin)
{
    vm->ioapic.asserted |= 1u << pin;
    vm->ioapic.edges |= 1u << pin;
    pin_update(vm, pin);
}

void dev_ioapic_lower(struct vm *vm, unsigned pin)
{
    vm->ioapic.asserted &= ~(1u << pin);
}

void dev_ioapic_eoi(struct vm *vm, uint8_t vector)
{
    for (unsigned i = 0; i < IOAPIC_PIN_COUNT; i++) {
        uint64_t *entry = &vm->ioapic.redirection[i];
        if ((uint8_t)*entry != vector || !(*entry & ENTRY_LEVEL))
            continue;
        *entry &= ~ENTRY_REMOTE_IRR;
        pin_update(vm, i);
    }
}

static uint32_t register_read(const struct ioapic *ioapic)
{
    unsigned index = ioapic->select;
    switch (index) {
    case REG_ID:
    case REG_ARBITRATION:
        return ioapic->id;
    case REG_VERSION:
        return VERSION_VALUE;
    }
    if (index < REG_REDIRECTION || index >= REG_REDIRECTION + 2 * IOAPIC_PIN_COUNT)
        return 0;
    index -= REG_REDIRECTION;
    return (uint32_t)(ioapic->redirection[index / 2] >> (index & 1 ? 32 : 0));
}

static void register_write(struct vm *vm, uint32_t value)
{
    struct ioapic *ioapic = &vm->ioapic;
    unsigned index = ioapic->select;
    if (index == REG_ID)
        ioapic->id = value & 0x0f000000u;
    if (index < REG_REDIRECTION || index >= REG_REDIRECTION + 2 * IOAPIC_PIN_COUNT)
        return;
    index -= REG_REDIRECTION;
    uint64_t *entry = &ioapic->redirection[index / 2];
    uint64_t half = (uint64_t)UINT32_MAX << (index & 1 ? 32 : 0);
    uint64_t wanted = (*entry & ~half) | ((uint64_t)value << (index & 1 ? 32 : 0) & half);
    *entry = (wanted & ENTRY_WRITABLE & ~ENTRY_READ_ONLY) | (*entry & ENTRY_READ_ONLY);
    if (!(*entry & ENTRY_LEVEL))
        *entry &= ~ENTRY_REMOTE_IRR;
    pin_update(vm, index / 2);
}

uint32_t dev_ioapic_read(struct vm *vm, unsigned offset)
{
    if (offset == WINDOW_SELECT)
        return vm->ioapic.select;
    return offset == WINDOW_DATA ? register_read(&vm->ioapic) : 0;
}

void dev_ioapic_write(struct vm *vm, unsigned offset, uint32_t value)
{
    if (offset == WINDOW_SELECT)
        vm->ioapic.select = value & 0xff;
    else if (offset == WINDOW_DATA)
        register_write(vm, value);
}
