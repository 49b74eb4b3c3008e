/*
 * ELF64 (System V ABI, gabi 4.1): section headers, .symtab and its string table.
 * The file is checked once here, so that a look-up in a panic cannot fault.
 */
#include "hv/symbols.h"
#include "lib/assert.h"
#include "lib/string.h"

#define SHT_SYMTAB 2u
#define STT_NOTYPE 0u
#define STT_FUNC   2u
#define ELF_IDENT  "\177ELF\2\1"

struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_section {
    uint32_t name, type;
    uint64_t flags, addr, offset, size;
    uint32_t link, info;
    uint64_t addralign, entsize;
};

struct elf_symbol {
    uint32_t name;
    uint8_t info, other;
    uint16_t section;
    uint64_t value, size;
};
static_assert(sizeof(struct elf_header) == 64, "ELF64 header");
static_assert(sizeof(struct elf_section) == 64, "ELF64 section header");
static_assert(sizeof(struct elf_symbol) == 24, "ELF64 symbol");

extern uint8_t hv_text_start[], hv_text_end[];

static const struct elf_symbol *symbols;
static size_t symbol_count;
static const char *names;
static size_t names_size;

static bool inside(size_t size, uint64_t offset, uint64_t length)
{
    return offset <= size && length <= size - offset;
}

static const struct elf_section *sections_find(const uint8_t *file, size_t size, unsigned *count)
{
    const struct elf_header *header = (const void *)file;
    if (!inside(size, 0, sizeof(*header)) || memcmp(header->ident, ELF_IDENT, 6) != 0)
        return NULL;
    uint64_t length = (uint64_t)header->shnum * sizeof(struct elf_section);
    if (header->shentsize != sizeof(struct elf_section) || header->shoff % 8 ||
        !inside(size, header->shoff, length))
        return NULL;
    *count = header->shnum;
    return (const void *)(file + header->shoff);
}

void symbols_init(const void *file, size_t size)
{
    const uint8_t *bytes = file;
    unsigned count = 0;
    const struct elf_section *sections = file ? sections_find(bytes, size, &count) : NULL;
    for (unsigned i = 0; i < count; i++) {
        const struct elf_section *table = &sections[i];
        if (table->type != SHT_SYMTAB || table->link >= count || table->offset % 8)
            continue;
        const struct elf_section *strings = &sections[table->link];
        if (!inside(size, table->offset, table->size) ||
            !inside(size, strings->offset, strings->size) || strings->size == 0 ||
            bytes[strings->offset + strings->size - 1] != 0)
            continue;
        symbols = (const void *)(bytes + table->offset);
        symbol_count = table->size / sizeof(struct elf_symbol);
        names = (const char *)bytes + strings->offset;
        names_size = strings->size;
        return;
    }
}

const char *symbols_find(uint64_t address, uint64_t *offset)
{
    const struct elf_symbol *best = NULL;
    if (address < (uint64_t)hv_text_start || address >= (uint64_t)hv_text_end)
        return NULL;
    for (size_t i = 0; i < symbol_count; i++) {
        const struct elf_symbol *symbol = &symbols[i];
        unsigned type = symbol->info & 15;
        if ((type != STT_FUNC && type != STT_NOTYPE) || symbol->section == 0 ||
            symbol->value > address || symbol->value < (uint64_t)hv_text_start ||
            symbol->name >= names_size || names[symbol->name] == 0)
            continue;
        if (!best || symbol->value > best->value ||
            (symbol->value == best->value && type == STT_FUNC))
            best = symbol;
    }
    if (!best)
        return NULL;
    *offset = address - best->value;
    return names + best->name;
}
