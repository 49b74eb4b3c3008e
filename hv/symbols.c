/* lib/elf checks the file once, so that a look-up in a panic cannot fault. */
#include "hv/symbols.h"
#include "lib/elf.h"

extern uint8_t hv_text_start[], hv_text_end[];

static struct elf_symbols symbols; /* none: count is 0 */

void symbols_init(const void *file, size_t size)
{
    struct elf_image image;
    const char *reason;
    if (!file || !elf_check(file, size, &image, &reason) || !elf_symbols_open(&image, &symbols))
        symbols.count = 0;
}

static bool is_code(const struct elf_symbol *symbol)
{
    return (symbol->type == ELF_SYMBOL_FUNCTION || symbol->type == ELF_SYMBOL_NONE) &&
           symbol->value >= (uint64_t)hv_text_start && symbol->value < (uint64_t)hv_text_end &&
           symbol->name[0];
}

const char *symbols_find(uint64_t address, uint64_t *offset)
{
    struct elf_symbol best = { 0 }, symbol;
    if (address < (uint64_t)hv_text_start || address >= (uint64_t)hv_text_end)
        return NULL;
    for (size_t i = 0; i < symbols.count; i++) {
        if (!elf_symbols_get(&symbols, i, &symbol) || !is_code(&symbol) || symbol.value > address)
            continue;
        if (!best.name || symbol.value > best.value ||
            (symbol.value == best.value && symbol.type == ELF_SYMBOL_FUNCTION))
            best = symbol;
    }
    if (!best.name)
        return NULL;
    *offset = address - best.value;
    return best.name;
}
