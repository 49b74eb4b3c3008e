/*
 * Reader for ELF64 x86-64 executables. A file is hostile until elf_check() has
 * accepted it; afterwards every header and segment lies within the file, no
 * address wraps and no two loadable segments overlap. Nothing is written and
 * nothing is allocated; the file may lie at any alignment and has to stay in
 * place, unchanged, as long as the image is used.
 *
 * Source: System V ABI, generic part, chapters 4 and 5 (ELF-64 object file
 * format), and its AMD64 supplement.
 */
#ifndef LIB_ELF_H
#define LIB_ELF_H

#include "lib/types.h"

/* More program headers than this are refused, which bounds all work. */
#define ELF_HEADER_MAX 64

/* Flags of a segment. */
#define ELF_EXECUTE 1u
#define ELF_WRITE   2u
#define ELF_READ    4u

struct elf_image {
    const uint8_t *file;
    size_t size;
    uint64_t entry;   /* as the header has it; may be virtual or physical */
    uint64_t headers; /* file offset of the program headers */
    unsigned header_count;
    uint64_t section_headers; /* file offset, not checked yet (elf_symbols_open) */
    unsigned section_count;
    uint64_t physical_start, physical_end; /* span of the loadable segments */
    uint64_t virtual_start, virtual_end;
};

/* A loadable segment: content is file_size bytes at bytes, then zeros. */
struct elf_segment {
    const uint8_t *bytes;
    uint64_t virtual_address, physical_address;
    uint64_t file_size, memory_size; /* file_size <= memory_size, memory_size > 0 */
    uint32_t flags;                  /* ELF_EXECUTE | ELF_WRITE | ELF_READ */
};

/* Accepts an executable (ET_EXEC). On false *reason names what is wrong with it,
 * in a few words without a newline. */
bool elf_check(const void *file, size_t size, struct elf_image *image, const char **reason);

/* The next loadable segment that is not empty; *cursor starts at 0. */
bool elf_segment_next(const struct elf_image *image, unsigned *cursor, struct elf_segment *segment);

/* Looks for a note in the PT_NOTE segments. False: there is none like that. */
bool elf_note_find(const struct elf_image *image, const char *name, uint32_t type,
                   const uint8_t **descriptor, size_t *size);

/* The symbol table (the first SHT_SYMTAB section), for backtraces. */
struct elf_symbols {
    const uint8_t *table;
    size_t count;
    const char *names;
    size_t names_size; /* > 0, and the last byte is a terminator */
};

struct elf_symbol {
    const char *name; /* terminated, inside the file */
    uint64_t value, size;
    uint8_t type; /* ELF_SYMBOL_* */
};
#define ELF_SYMBOL_NONE     0
#define ELF_SYMBOL_OBJECT   1
#define ELF_SYMBOL_FUNCTION 2

/* False: no symbol table, or a damaged one. */
bool elf_symbols_open(const struct elf_image *image, struct elf_symbols *symbols);
/* False: index is past the end, or the entry is damaged. */
bool elf_symbols_get(const struct elf_symbols *symbols, size_t index, struct elf_symbol *symbol);

#endif
