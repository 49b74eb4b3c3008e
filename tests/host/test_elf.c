/*
 * lib/elf.c: a small file made here, then one damage at a time, then mutations.
 * Files lie on the heap in exactly their size, so that ASan sees each byte read
 * outside of them.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/elf.h"
#include "lib/rng.h"
#include "tests/host/support.h"

#define BASE 0x200000u

struct file {
    Elf64_Ehdr header;
    Elf64_Phdr segments[4]; /* code, data with zeros behind it, empty, note */
    Elf64_Shdr sections[3]; /* null, symbols, strings */
    Elf64_Sym symbols[2];
    struct {
        uint32_t name_size, descriptor_size, type;
        char name[4];
        uint32_t descriptor;
    } notes[2];
    char strings[16];
    char code[64];
};

static struct file make(void)
{
    struct file f = {
        .header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
                    .e_type = ET_EXEC,
                    .e_machine = EM_X86_64,
                    .e_version = EV_CURRENT,
                    .e_entry = BASE + 4,
                    .e_phoff = offsetof(struct file, segments),
                    .e_shoff = offsetof(struct file, sections),
                    .e_phentsize = sizeof(Elf64_Phdr),
                    .e_phnum = 4,
                    .e_shentsize = sizeof(Elf64_Shdr),
                    .e_shnum = 3 },
        .segments = { { .p_type = PT_LOAD,
                        .p_flags = PF_R | PF_X,
                        .p_offset = offsetof(struct file, code),
                        .p_vaddr = BASE,
                        .p_paddr = BASE,
                        .p_filesz = 64,
                        .p_memsz = 64 },
                      { .p_type = PT_LOAD,
                        .p_flags = PF_R | PF_W,
                        .p_offset = offsetof(struct file, code) + 32,
                        .p_vaddr = BASE + 0x1000,
                        .p_paddr = BASE + 0x1000,
                        .p_filesz = 32,
                        .p_memsz = 0x2000 },
                      { .p_type = PT_LOAD, .p_vaddr = BASE, .p_paddr = BASE },
                      { .p_type = PT_NOTE,
                        .p_offset = offsetof(struct file, notes),
                        .p_filesz = sizeof f.notes,
                        .p_align = 4 } },
        .sections = { { 0 },
                      { .sh_type = SHT_SYMTAB,
                        .sh_offset = offsetof(struct file, symbols),
                        .sh_size = sizeof f.symbols,
                        .sh_entsize = sizeof(Elf64_Sym),
                        .sh_link = 2 },
                      { .sh_type = SHT_STRTAB,
                        .sh_offset = offsetof(struct file, strings),
                        .sh_size = sizeof f.strings } },
        .symbols = { { 0 },
                     { .st_name = 1, .st_info = STT_FUNC, .st_value = BASE + 4, .st_size = 9 } },
        .notes = { { 4, 4, 1, "GNU", 7 }, { 4, 4, 18, "Xen", 0x200004 } },
        .strings = "\0start",
    };
    return f;
}

/* Reads everything there is to read. */
static void walk(const struct elf_image *image)
{
    struct elf_segment segment;
    struct elf_symbols symbols;
    struct elf_symbol symbol;
    const uint8_t *descriptor;
    size_t size;
    volatile uint8_t sink = 0;
    uint64_t bytes = 0;
    for (unsigned cursor = 0; elf_segment_next(image, &cursor, &segment);) {
        assert_true(segment.file_size <= segment.memory_size && segment.memory_size > 0);
        assert_true(segment.physical_address + segment.memory_size <= image->physical_end);
        for (uint64_t i = 0; i < segment.file_size; i++)
            sink ^= segment.bytes[i];
        bytes += segment.memory_size;
    }
    assert_true(bytes <= image->physical_end - image->physical_start);
    if (elf_note_find(image, "Xen", 18, &descriptor, &size))
        for (size_t i = 0; i < size; i++)
            sink ^= descriptor[i];
    if (elf_symbols_open(image, &symbols))
        for (size_t i = 0; i < symbols.count; i++)
            if (elf_symbols_get(&symbols, i, &symbol))
                sink ^= (uint8_t)strlen(symbol.name);
}

static bool check_copy(const void *bytes, size_t size, const char **reason)
{
    struct elf_image image;
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    *reason = NULL;
    bool accepted = elf_check(copy, size, &image, reason);
    if (accepted)
        walk(&image);
    else
        assert_true(*reason && **reason && !strchr(*reason, '\n'));
    free(copy);
    return accepted;
}

static void reads(void **state)
{
    (void)state;
    struct file f = make();
    struct elf_image image;
    struct elf_segment segment;
    const char *reason;
    assert_true(elf_check(&f, sizeof f, &image, &reason));
    assert_int_equal(image.entry, BASE + 4);
    assert_int_equal(image.physical_start, BASE);
    assert_int_equal(image.physical_end, BASE + 0x3000);
    unsigned cursor = 0;
    assert_true(elf_segment_next(&image, &cursor, &segment));
    assert_int_equal(segment.flags, ELF_READ | ELF_EXECUTE);
    assert_ptr_equal(segment.bytes, f.code);
    assert_true(elf_segment_next(&image, &cursor, &segment));
    assert_int_equal(segment.file_size, 32);
    assert_int_equal(segment.memory_size, 0x2000);
    assert_false(elf_segment_next(&image, &cursor, &segment));
    const uint8_t *descriptor;
    size_t size;
    assert_true(elf_note_find(&image, "Xen", 18, &descriptor, &size));
    assert_int_equal(size, 4);
    assert_memory_equal(descriptor, &f.notes[1].descriptor, 4);
    assert_false(elf_note_find(&image, "Xen", 1, &descriptor, &size));
    assert_false(elf_note_find(&image, "Zen", 18, &descriptor, &size));
    struct elf_symbols symbols;
    struct elf_symbol symbol;
    assert_true(elf_symbols_open(&image, &symbols));
    assert_int_equal(symbols.count, 2);
    assert_true(elf_symbols_get(&symbols, 1, &symbol));
    assert_string_equal(symbol.name, "start");
    assert_int_equal(symbol.value, BASE + 4);
    assert_int_equal(symbol.type, ELF_SYMBOL_FUNCTION);
    assert_false(elf_symbols_get(&symbols, 2, &symbol));
}

#define REFUSES(change, text)                                                                      \
    do {                                                                                           \
        struct file f = make();                                                                    \
        const char *reason;                                                                        \
        change;                                                                                    \
        assert_false(check_copy(&f, sizeof f, &reason));                                           \
        assert_string_equal(reason, text);                                                         \
    } while (0)

static void refuses_headers(void **state)
{
    (void)state;
    REFUSES(f.header.e_ident[0] = 0, "not an ELF file");
    REFUSES(f.header.e_ident[4] = ELFCLASS32, "not a 64-bit little-endian ELF file");
    REFUSES(f.header.e_ident[5] = ELFDATA2MSB, "not a 64-bit little-endian ELF file");
    REFUSES(f.header.e_machine = EM_386, "not an ELF file for x86-64");
    REFUSES(f.header.e_type = ET_REL, "ELF file is not an executable");
    REFUSES(f.header.e_type = ET_DYN, "ELF file is not an executable");
    REFUSES(f.header.e_phentsize = 32, "ELF program headers have a wrong size");
    REFUSES(f.header.e_phnum = 0, "ELF file has no program headers");
    REFUSES(f.header.e_phnum = 65, "ELF file has too many program headers");
    REFUSES(f.header.e_phnum = 0xffff, "ELF file has too many program headers");
    REFUSES(f.header.e_phoff = sizeof f, "ELF program headers lie outside the file");
    REFUSES(f.header.e_phoff = UINT64_MAX - 8, "ELF program headers lie outside the file");
}

static void refuses_segments(void **state)
{
    (void)state;
    REFUSES(f.segments[0].p_offset = sizeof f - 63, "ELF segment lies outside the file");
    REFUSES(f.segments[0].p_offset = UINT64_MAX - 63, "ELF segment lies outside the file");
    REFUSES(f.segments[0].p_filesz = UINT64_MAX, "ELF segment lies outside the file");
    REFUSES(f.segments[3].p_filesz = sizeof f, "ELF segment lies outside the file");
    REFUSES(f.segments[0].p_filesz = 65;
            f.segments[0].p_offset -= 8, "ELF segment is larger in the file than in memory");
    REFUSES(f.segments[0].p_paddr = UINT64_MAX - 62, "ELF segment wraps around the address space");
    REFUSES(f.segments[0].p_vaddr = UINT64_MAX - 62, "ELF segment wraps around the address space");
    REFUSES(f.segments[1].p_memsz = UINT64_MAX, "ELF segment wraps around the address space");
    REFUSES(f.segments[1].p_paddr = BASE + 63, "ELF segments overlap");
    REFUSES(f.segments[1].p_vaddr = BASE + 63, "ELF segments overlap");
    REFUSES(f.segments[1].p_paddr = BASE - 0x1fff, "ELF segments overlap");
    REFUSES(f.segments[0].p_type = f.segments[1].p_type = PT_NULL,
            "ELF file has no loadable segment");
}

static void refuses_short(void **state)
{
    (void)state;
    struct file f = make();
    const char *reason;
    assert_false(check_copy(&f, 0, &reason));
    assert_string_equal(reason, "file is empty");
    for (size_t size = 0; size < sizeof f; size++)
        assert_false(check_copy(&f, size, &reason));
}

static void damaged_symbols(void **state)
{
    (void)state;
    struct elf_image image;
    struct elf_symbols symbols;
    const char *reason;
#define NO_SYMBOLS(change)                                                                         \
    do {                                                                                           \
        struct file f = make();                                                                    \
        change;                                                                                    \
        assert_true(elf_check(&f, sizeof f, &image, &reason));                                     \
        assert_false(elf_symbols_open(&image, &symbols));                                          \
    } while (0)
    NO_SYMBOLS(f.header.e_shoff = UINT64_MAX);
    NO_SYMBOLS(f.header.e_shnum = 0);
    NO_SYMBOLS(f.header.e_shentsize = 1);
    NO_SYMBOLS(f.sections[1].sh_offset = UINT64_MAX);
    NO_SYMBOLS(f.sections[1].sh_size = sizeof f);
    NO_SYMBOLS(f.sections[1].sh_entsize = 1);
    NO_SYMBOLS(f.sections[1].sh_link = 77);
    NO_SYMBOLS(f.sections[2].sh_size = 0);
    NO_SYMBOLS(f.sections[2].sh_size = sizeof f);
    NO_SYMBOLS(memset(f.strings, 'x', sizeof f.strings));
    struct file f = make();
    struct elf_symbol symbol;
    f.symbols[1].st_name = 16;
    assert_true(elf_check(&f, sizeof f, &image, &reason));
    assert_true(elf_symbols_open(&image, &symbols));
    assert_false(elf_symbols_get(&symbols, 1, &symbol));
}

/* Bytes, and whole fields with values that sums like to trip over. */
static void mutations(void **state)
{
    (void)state;
    static const uint64_t nasty[] = { 0,
                                      1,
                                      0x7f,
                                      0xff,
                                      0xffff,
                                      0x7fffffff,
                                      0xffffffff,
                                      1ull << 32,
                                      INT64_MAX,
                                      UINT64_MAX,
                                      UINT64_MAX - 4095,
                                      BASE };
    uint64_t rounds = support_number("BALLAST_STEPS", 50000), accepted = 0;
    struct rng rng;
    rng_seed(&rng, support_number("BALLAST_SEED", 1));
    for (uint64_t i = 0; i < rounds; i++) {
        struct file f = make();
        const char *reason;
        for (uint64_t n = 1 + rng_below(&rng, 3); n; n--) {
            uint8_t *at = (uint8_t *)&f + rng_below(&rng, offsetof(struct file, code) / 8) * 8;
            if (rng_below(&rng, 2))
                at[rng_below(&rng, 8)] = (uint8_t)rng_next(&rng);
            else
                memcpy(at, &nasty[rng_below(&rng, sizeof nasty / sizeof *nasty)], 8);
        }
        accepted +=
            check_copy(&f, sizeof f - (rng_below(&rng, 8) ? 0 : rng_below(&rng, 64)), &reason);
    }
    printf("figure: %llu mutated ELF files, %llu accepted and walked\n", (unsigned long long)rounds,
           (unsigned long long)accepted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(refuses_headers),
        cmocka_unit_test(refuses_segments),
        cmocka_unit_test(refuses_short),
        cmocka_unit_test(damaged_symbols),
        cmocka_unit_test(mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
