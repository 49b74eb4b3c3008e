/*
 * libFuzzer: whatever the file, checking it and walking its segments, notes and
 * symbols stays inside it and ends (P16).
 */
#include "lib/elf.h"
#include "tests/fuzz/fuzz.h"

static volatile uint8_t sink;

static void look(const uint8_t *bytes, uint64_t size)
{
    if (size > 0)
        sink = bytes[0] ^ bytes[size - 1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_image image;
    struct elf_segment segment;
    struct elf_symbols symbols;
    struct elf_symbol symbol;
    const char *reason = NULL;
    unsigned cursor = 0, segments = 0;
    if (!elf_check(data, size, &image, &reason)) {
        fuzz_require(reason && *reason);
        return 0;
    }
    while (elf_segment_next(&image, &cursor, &segment)) {
        fuzz_require(segment.file_size <= segment.memory_size && segments++ < 65536);
        look(segment.bytes, segment.file_size);
    }
    const uint8_t *note;
    size_t note_size;
    if (elf_note_find(&image, "Xen", 18, &note, &note_size))
        look(note, note_size);
    if (elf_symbols_open(&image, &symbols))
        for (size_t i = 0; i < symbols.count; i++)
            if (elf_symbols_get(&symbols, i, &symbol))
                look((const uint8_t *)symbol.name, strlen(symbol.name) + 1);
    return 0;
}
