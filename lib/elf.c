/*
 * ELF64 reader, see elf.h. Structures are copied out of the file before they are
 * looked at, so alignment does not matter; every range is checked in the form
 * `length <= size && offset <= size - length`, which cannot wrap.
 */
#include "lib/elf.h"

#include "lib/assert.h"
#include "lib/string.h"

#define ELF_TYPE_EXECUTABLE 2
#define ELF_MACHINE_X86_64  62
#define ELF_SEGMENT_LOAD    1u
#define ELF_SEGMENT_NOTE    4u
#define ELF_SECTION_SYMBOLS 2u
#define ELF_SECTION_STRINGS 3u
/* Sections looked at for a symbol table, and a bound on all notes looked at. */
#define ELF_SECTION_MAX 256
#define ELF_NOTE_MAX    64

struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
static_assert(sizeof(struct elf_header) == 64, "Elf64_Ehdr");

struct elf_program_header {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
static_assert(sizeof(struct elf_program_header) == 56, "Elf64_Phdr");

struct elf_section_header {
    uint32_t name, type;
    uint64_t flags, addr, offset, size;
    uint32_t link, info;
    uint64_t addralign, entsize;
};
static_assert(sizeof(struct elf_section_header) == 64, "Elf64_Shdr");

struct elf_symbol_entry {
    uint32_t name;
    uint8_t info, other;
    uint16_t shndx;
    uint64_t value, size;
};
static_assert(sizeof(struct elf_symbol_entry) == 24, "Elf64_Sym");

struct elf_note_header {
    uint32_t name_size, descriptor_size, type;
};

static bool in_bounds(uint64_t size, uint64_t offset, uint64_t length)
{
    return length <= size && offset <= size - length;
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

static struct elf_program_header program_header(const struct elf_image *image, unsigned index)
{
    struct elf_program_header header;
    memcpy(&header, image->file + image->headers + index * sizeof(header), sizeof(header));
    return header;
}

static const char *check_header(const struct elf_header *header, size_t size)
{
    static const uint8_t ident[7] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };
    if (memcmp(header->ident, ident, 4))
        return "not an ELF file";
    if (memcmp(header->ident, ident, sizeof(ident)))
        return "not a 64-bit little-endian ELF file";
    if (header->machine != ELF_MACHINE_X86_64)
        return "not an ELF file for x86-64";
    if (header->type != ELF_TYPE_EXECUTABLE)
        return "ELF file is not an executable";
    if (header->phentsize != sizeof(struct elf_program_header))
        return "ELF program headers have a wrong size";
    if (header->phnum == 0)
        return "ELF file has no program headers";
    if (header->phnum > ELF_HEADER_MAX)
        return "ELF file has too many program headers";
    if (!in_bounds(size, header->phoff, header->phnum * sizeof(struct elf_program_header)))
        return "ELF program headers lie outside the file";
    return NULL;
}

static const char *check_segment(const struct elf_program_header *header, size_t size)
{
    if (!in_bounds(size, header->offset, header->filesz))
        return "ELF segment lies outside the file";
    if (header->type != ELF_SEGMENT_LOAD)
        return NULL;
    if (header->filesz > header->memsz)
        return "ELF segment is larger in the file than in memory";
    /* The end itself must be representable: end addresses are compared. */
    if (header->paddr + header->memsz < header->paddr ||
        header->vaddr + header->memsz < header->vaddr)
        return "ELF segment wraps around the address space";
    return NULL;
}

static const char *check_overlap(const struct elf_image *image, unsigned index)
{
    struct elf_program_header b = program_header(image, index);
    for (unsigned i = 0; i < index; i++) {
        struct elf_program_header a = program_header(image, i);
        if (a.type != ELF_SEGMENT_LOAD || a.memsz == 0)
            continue;
        if (overlaps(a.paddr, a.memsz, b.paddr, b.memsz) ||
            overlaps(a.vaddr, a.memsz, b.vaddr, b.memsz))
            return "ELF segments overlap";
    }
    return NULL;
}

static void widen(uint64_t *start, uint64_t *end, uint64_t address, uint64_t size)
{
    if (address < *start)
        *start = address;
    if (address + size > *end)
        *end = address + size;
}

static const char *check_segments(struct elf_image *image)
{
    unsigned loadable = 0;
    image->physical_start = image->virtual_start = UINT64_MAX;
    image->physical_end = image->virtual_end = 0;
    for (unsigned i = 0; i < image->header_count; i++) {
        struct elf_program_header header = program_header(image, i);
        const char *reason = check_segment(&header, image->size);
        if (reason)
            return reason;
        if (header.type != ELF_SEGMENT_LOAD || header.memsz == 0)
            continue;
        reason = check_overlap(image, i);
        if (reason)
            return reason;
        widen(&image->physical_start, &image->physical_end, header.paddr, header.memsz);
        widen(&image->virtual_start, &image->virtual_end, header.vaddr, header.memsz);
        loadable++;
    }
    return loadable ? NULL : "ELF file has no loadable segment";
}

bool elf_check(const void *file, size_t size, struct elf_image *image, const char **reason)
{
    struct elf_header header;
    if (size < sizeof(header)) {
        *reason = size ? "file is too short for an ELF header" : "file is empty";
        return false;
    }
    memcpy(&header, file, sizeof(header));
    *reason = check_header(&header, size);
    if (*reason)
        return false;
    *image = (struct elf_image){
        .file = file,
        .size = size,
        .entry = header.entry,
        .headers = header.phoff,
        .header_count = header.phnum,
        .section_headers = header.shoff,
        .section_count = header.shentsize == sizeof(struct elf_section_header) ? header.shnum : 0,
    };
    *reason = check_segments(image);
    return *reason == NULL;
}

bool elf_segment_next(const struct elf_image *image, unsigned *cursor, struct elf_segment *segment)
{
    while (*cursor < image->header_count) {
        struct elf_program_header header = program_header(image, (*cursor)++);
        if (header.type != ELF_SEGMENT_LOAD || header.memsz == 0)
            continue;
        *segment = (struct elf_segment){
            .bytes = image->file + header.offset,
            .virtual_address = header.vaddr,
            .physical_address = header.paddr,
            .file_size = header.filesz,
            .memory_size = header.memsz,
            .flags = header.flags & (ELF_EXECUTE | ELF_WRITE | ELF_READ),
        };
        return true;
    }
    return false;
}

/* Notes of one segment: header, name, descriptor, the latter two padded. */
static bool note_search(const uint8_t *notes, uint64_t size, unsigned align, const char *name,
                        uint32_t type, const uint8_t **descriptor, size_t *descriptor_size)
{
    size_t name_size = strlen(name) + 1;
    uint64_t at = 0;
    for (unsigned i = 0; i < ELF_NOTE_MAX; i++) {
        struct elf_note_header note;
        if (!in_bounds(size, at, sizeof(note)))
            return false;
        memcpy(&note, notes + at, sizeof(note));
        /* 32-bit sizes added to 64-bit offsets inside the file: no wrap. */
        uint64_t name_at = at + sizeof(note);
        uint64_t bytes_at = (name_at + note.name_size + align - 1) & ~(uint64_t)(align - 1);
        if (!in_bounds(size, name_at, note.name_size) ||
            !in_bounds(size, bytes_at, note.descriptor_size))
            return false;
        if (note.type == type && note.name_size == name_size &&
            memcmp(notes + name_at, name, name_size) == 0) {
            *descriptor = notes + bytes_at;
            *descriptor_size = note.descriptor_size;
            return true;
        }
        at = (bytes_at + note.descriptor_size + align - 1) & ~(uint64_t)(align - 1);
    }
    return false;
}

bool elf_note_find(const struct elf_image *image, const char *name, uint32_t type,
                   const uint8_t **descriptor, size_t *size)
{
    for (unsigned i = 0; i < image->header_count; i++) {
        struct elf_program_header header = program_header(image, i);
        if (header.type == ELF_SEGMENT_NOTE &&
            note_search(image->file + header.offset, header.filesz, header.align == 8 ? 8 : 4, name,
                        type, descriptor, size))
            return true;
    }
    return false;
}

static bool section_header(const struct elf_image *image, unsigned index,
                           struct elf_section_header *header)
{
    if (index >= image->section_count ||
        !in_bounds(image->size, image->section_headers,
                   image->section_count * sizeof(struct elf_section_header)))
        return false;
    memcpy(header, image->file + image->section_headers + index * sizeof(*header), sizeof(*header));
    return true;
}

bool elf_symbols_open(const struct elf_image *image, struct elf_symbols *symbols)
{
    struct elf_section_header table, strings;
    for (unsigned i = 0; i < ELF_SECTION_MAX && section_header(image, i, &table); i++) {
        if (table.type != ELF_SECTION_SYMBOLS)
            continue;
        if (table.entsize != sizeof(struct elf_symbol_entry) ||
            !in_bounds(image->size, table.offset, table.size) ||
            !section_header(image, table.link, &strings) || strings.type != ELF_SECTION_STRINGS ||
            strings.size == 0 || !in_bounds(image->size, strings.offset, strings.size) ||
            image->file[strings.offset + strings.size - 1] != 0)
            return false;
        symbols->table = image->file + table.offset;
        symbols->count = table.size / sizeof(struct elf_symbol_entry);
        symbols->names = (const char *)image->file + strings.offset;
        symbols->names_size = strings.size;
        return true;
    }
    return false;
}

bool elf_symbols_get(const struct elf_symbols *symbols, size_t index, struct elf_symbol *symbol)
{
    struct elf_symbol_entry entry;
    if (index >= symbols->count)
        return false;
    memcpy(&entry, symbols->table + index * sizeof(entry), sizeof(entry));
    if (entry.name >= symbols->names_size)
        return false;
    *symbol = (struct elf_symbol){
        .name = symbols->names + entry.name,
        .value = entry.value,
        .size = entry.size,
        .type = entry.info & 15,
    };
    return true;
}
