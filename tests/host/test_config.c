/*
 * boot/config*.c: what a configuration means, every class of error with its
 * line, mutations of a good file, and the table of keys against the document.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/machine.h"
#include "boot/config_keys.h"
#include "lib/rng.h"
#include "tests/host/support.h"

static struct config config;
static char message[256];

static bool parse_bytes(const char *text, size_t size)
{
    message[0] = 0;
    memset(&config, 0xa5, sizeof config);
    return config_parse(&config, "f", text, size, message, sizeof message);
}

static void good(const char *text)
{
    if (!parse_bytes(text, strlen(text)))
        fail_msg("refused: %s\n%s", message, text);
}

/* Refused with a message that begins like this. */
static void bad(const char *text, const char *expected)
{
    if (parse_bytes(text, strlen(text)))
        fail_msg("accepted, not '%s':\n%s", expected, text);
    if (strncmp(message, expected, strlen(expected)) != 0)
        fail_msg("'%s' is not '%s...' for:\n%s", message, expected, text);
    assert_null(strchr(message, '\n'));
}

#define VM "[vm a]\nmemory = 64M\nimage = guest.elf\n"
/* A bad line, as the second line of [host] and as the fourth of [vm a]. */
#define BAD_HOST(line, reason) bad("[host]\n" line "\n" VM, "f:2: " reason)
#define BAD_VM(line, reason)   bad(VM line "\n", "f:4: " reason)

static void everything(void **state)
{
    (void)state;
    good("# a comment\r\n"
         "; another = one\r\n"
         "\r\n"
         "[host]\r\n"
         "memory = 96M   # trailing\r\n"
         "policy=esx\r\n"
         "  swap = none\t# tab\r\n"
         "seed = 18446744073709551615\r\n"
         "duration = 5m\r\n"
         "tiers = swap share\r\n"
         "slice = 5ms\ncpus = 2\nsample = 2s\nmin_free_permille = 60\n"
         "soft_percent = 70\nhard_percent = 40\nlow_percent = 10\n"
         "idle_tax_percent = 0\npool_percent = 25\nshare_pages = 128\nlarge_pages = off\n"
         "swap_read_ahead = 3\n"
         "disk_fault = read 3 2\ndisk_fault = write 7 1\n"
         "[ vm  web-1.x ]\n"
         "memory = 1G\nreserve = 16M\nlimit = 512M\nshares = 2000\ncpu_shares = 10\nvcpus = 3\n"
         "share_group = web\nballoon = off\nimage = sub/guest.elf\n"
         "cmdline = workload=cache ws=24M a#b ; c\n");
    const struct config_host *host = &config.host;
    assert_int_equal(host->memory, 96 * MIB);
    assert_string_equal(host->policy, "esx");
    assert_false(host->swap);
    assert_true(host->seeded);
    assert_true(host->seed == UINT64_MAX);
    assert_int_equal(host->duration_s, 300);
    assert_true(host->tiers[MM_TIER_SHARE] && host->tiers[MM_TIER_SWAP]);
    assert_false(host->tiers[MM_TIER_BALLOON] || host->tiers[MM_TIER_COMPRESS]);
    assert_int_equal(host->slice_ms, 5);
    assert_int_equal(host->cpus, 2);
    assert_int_equal(host->sample_ms, 2000);
    assert_int_equal(host->min_free_permille, 60);
    assert_int_equal(host->soft_percent, 70);
    assert_int_equal(host->hard_percent, 40);
    assert_int_equal(host->low_percent, 10);
    assert_int_equal(host->idle_tax_percent, 0);
    assert_int_equal(host->pool_percent, 25);
    assert_int_equal(host->share_pages, 128);
    assert_false(host->large_pages);
    assert_int_equal(host->swap_read_ahead, 3);
    assert_int_equal(host->disk_fault_count, 2);
    assert_false(host->disk_faults[0].write);
    assert_int_equal(host->disk_faults[0].first, 3);
    assert_int_equal(host->disk_faults[0].count, 2);
    assert_true(host->disk_faults[1].write);
    const struct config_vm *vm = &config.vms[0];
    assert_int_equal(config.vm_count, 1);
    assert_string_equal(vm->name, "web-1.x");
    assert_int_equal(vm->line, 25);
    assert_int_equal(vm->image_line, 34);
    assert_int_equal(vm->vcpus, 3);
    assert_int_equal(vm->memory, GIB);
    assert_int_equal(vm->reserve, 16 * MIB);
    assert_int_equal(vm->limit, 512 * MIB);
    assert_int_equal(vm->shares, 2000);
    assert_int_equal(vm->cpu_shares, 10);
    assert_string_equal(vm->share_group, "web");
    assert_false(vm->balloon);
    assert_string_equal(vm->image, "sub/guest.elf");
    assert_string_equal(vm->cmdline, "workload=cache ws=24M a#b ; c");
}

static void defaults(void **state)
{
    (void)state;
    good(VM);
    const struct config_host *host = &config.host;
    assert_int_equal(host->memory, 0);
    assert_string_equal(host->policy, "esx");
    assert_true(host->swap);
    assert_false(host->seeded);
    assert_int_equal(host->duration_s, 0);
    for (unsigned i = 0; i < MM_TIER_COUNT; i++)
        assert_true(host->tiers[i]);
    assert_int_equal(host->soft_percent, 64);
    assert_int_equal(host->hard_percent, 32);
    assert_int_equal(host->low_percent, 16);
    assert_int_equal(host->idle_tax_percent, 75);
    assert_true(host->large_pages);
    const struct config_vm *vm = &config.vms[0];
    assert_int_equal(vm->reserve, 0);
    assert_int_equal(vm->limit, 64 * MIB);
    assert_int_equal(vm->shares, 1000);
    assert_true(vm->balloon);
    assert_string_equal(vm->share_group, "");
    assert_string_equal(vm->cmdline, "");
    good("[host]\ntiers = none\nduration = 0\n" VM);
    for (unsigned i = 0; i < MM_TIER_COUNT; i++)
        assert_false(config.host.tiers[i]);
    good("\xef\xbb\xbf" VM);
    good("[host] # comment\n" VM "# caf\xc3\xa9\n");
    good("[vm a]\nmemory = 3328M\nimage = g");
    assert_int_equal(config.vms[0].memory, GUEST_HOLE_START);
    good("[host]\nmemory = 16777216K\n" VM);
    good("[host]\nmemory = 8388608\n" VM);
}

static void structure(void **state)
{
    (void)state;
    bad("", "f:1: no VM");
    bad("[host]\n\n", "f:2: no VM");
    bad("memory = 1M\n" VM, "f:1: key before the first section");
    bad("[host\n" VM, "f:1: section without a closing ']'");
    bad("[\n", "f:1: section without");
    bad("[]\n", "f:1: unknown section []");
    bad("[network]\n" VM, "f:1: unknown section [network]");
    bad("[vmx]\n" VM, "f:1: unknown section [vmx]");
    bad("[host]\n" VM "[host]\n", "f:5: second [host] section (the first is in line 1)");
    bad(VM VM, "f:4: second VM named a (the first is in line 1)");
    bad("[vm]\n", "f:1: name of a VM: no value");
    bad("[vm a b]\n", "f:1: name of a VM: only letters");
    bad("[vm 01234567890123456789012345678901]\n", "f:1: name of a VM: too long");
    BAD_HOST("just words", "neither '[section]' nor 'key = value'");
    BAD_HOST("= 3", "unknown key ''");
    BAD_HOST("colour = red", "unknown key 'colour' in a [host] section");
    BAD_HOST("reserve = 1M", "unknown key 'reserve' in a [host] section");
    BAD_VM("policy = esx", "unknown key 'policy' in a [vm] section");
    bad("[host]\nseed = 1\nseed = 2\n" VM, "f:3: second 'seed' (the first is in line 2)");
    bad("[vm a]\nimage = g\n", "f:1: [vm a] has no memory");
    bad("[vm a]\nmemory = 4M\n[vm b]\nmemory = 4M\nimage = g\n", "f:1: [vm a] has no image");
}

static void values(void **state)
{
    (void)state;
    BAD_HOST("memory =", "memory: no value");
    BAD_HOST("memory = # 4M", "memory: no value");
    BAD_HOST("memory = lots", "memory: not a size");
    BAD_HOST("memory = 64MB", "memory: not a size");
    BAD_HOST("memory = 64m", "memory: not a size");
    BAD_HOST("memory = -64M", "memory: not a size");
    BAD_HOST("memory = 1.5G", "memory: not a size");
    BAD_HOST("memory = 0x4000000", "memory: not a size");
    BAD_HOST("memory = 0", "memory: must not be 0");
    BAD_HOST("memory = 8388609", "memory: not a multiple of 4096 bytes");
    BAD_HOST("memory = 18446744073709551616", "memory: number too large");
    BAD_HOST("memory = 99999999999999999999999999G", "memory: number too large");
    BAD_HOST("memory = 17179869184G", "memory: number too large");
}

static void values_of_each_type(void **state)
{
    (void)state;
    BAD_HOST("memory = 32768G", "memory: too large");
    BAD_HOST("memory = 1M", "memory: too small");
    BAD_HOST("seed = -1", "seed: not a number");
    BAD_HOST("seed = 18446744073709551616", "seed: number too large");
    BAD_HOST("share_pages = 1K", "share_pages: not a number");
    BAD_HOST("share_pages = 4294967297", "share_pages: too large");
    BAD_HOST("idle_tax_percent = 100", "idle_tax_percent: too large");
    BAD_HOST("duration = 60", "duration: not a duration");
    BAD_HOST("duration = 60h", "duration: not a duration");
    BAD_HOST("duration = 1500ms", "duration: not whole seconds");
    BAD_HOST("duration = 8000000000000000000m", "duration: number too large");
    BAD_HOST("slice = 0ms", "slice: must not be 0");
    BAD_HOST("slice = 2s", "slice: too large");
    BAD_HOST("cpus = 17", "cpus: too large");
    BAD_HOST("swap = yes", "swap: neither auto nor none");
    BAD_HOST("large_pages = auto", "large_pages: neither on nor off");
    BAD_HOST("swap_read_ahead = on", "swap_read_ahead: not a number");
    BAD_HOST("swap_read_ahead = 15", "swap_read_ahead: too large");
    BAD_HOST("mitigations = some", "mitigations: neither auto nor off");
    BAD_HOST("tiers = share zram", "tiers: not a list");
    BAD_HOST("tiers = share none", "tiers: not a list");
    BAD_HOST("tiers = swap swap", "tiers: the same tier twice");
    BAD_HOST("policy = e/x", "policy: only letters");
    BAD_HOST("disk_fault = read", "disk_fault: not like");
    BAD_HOST("disk_fault = read 1", "disk_fault: not like");
    BAD_HOST("disk_fault = erase 1 1", "disk_fault: not like");
    BAD_HOST("disk_fault = read 1 1 1", "disk_fault: not like");
    BAD_HOST("disk_fault = read 1x 1", "disk_fault: not like");
    BAD_HOST("disk_fault = read 0 1", "disk_fault: FIRST and COUNT");
    BAD_HOST("disk_fault = read 4294967295 2", "disk_fault: FIRST and COUNT");
    bad("[host]\ndisk_fault=read 1 1\ndisk_fault=read 1 1\ndisk_fault=read 1 1\n"
        "disk_fault=read 1 1\ndisk_fault=read 1 1\n" VM,
        "f:6: disk_fault: more than 4");
    BAD_VM("balloon = maybe", "balloon: neither on nor off");
    BAD_VM("shares = 0", "shares: must not be 0");
    BAD_VM("limit = 0", "limit: must not be 0");
    BAD_VM("share_group = a b", "share_group: only letters");
    bad("[vm a]\nmemory = 3329M\nimage = g\n", "f:2: memory: too large");
}

static void between_keys(void **state)
{
    (void)state;
    BAD_VM("reserve = 65M", "reserve is above memory");
    BAD_VM("limit = 65M", "limit is above memory");
    bad("[vm a]\nreserve = 32M\nlimit = 16M\nmemory = 64M\nimage = g\n",
        "f:2: reserve is above limit");
    BAD_HOST("soft_percent = 32", "soft_percent, hard_percent, low_percent must fall");
    BAD_HOST("low_percent = 50", "soft_percent, hard_percent, low_percent must fall");
}

static void no_text(void **state)
{
    (void)state;
    static const char nul[] = "[vm a]\nmem\0ory = 4M\n";
    static const char utf16[] = "\xff\xfe[\0v\0m\0";
    assert_false(parse_bytes(nul, sizeof nul - 1));
    assert_string_equal(message, "f:2: NUL byte: this is not a text file");
    assert_false(parse_bytes(utf16, sizeof utf16 - 1));
    assert_string_equal(message, "f:1: file is UTF-16; save it as plain ASCII or UTF-8");
    bad("\xfe\xff" VM, "f:1: file is UTF-16");
    bad(VM "cmdline = caf\xc3\xa9\n", "f:4: byte 0xc3 is not ASCII");
    bad(VM "cmdline = a\x1b[2J\n", "f:4: control character 0x1b");
    bad(VM "# a\x7f\n", "f:4: control character 0x7f");
    bad(VM "cmdline = a\rb\n", "f:4: control character 0xd");
}

static void too_much(void **state)
{
    (void)state;
    static char text[80000];
    memset(text, 'a', sizeof text);
    memcpy(text, VM, sizeof VM - 1);
    assert_false(parse_bytes(text, 60000));
    assert_string_equal(message, "f:4: line longer than 511 bytes");
    assert_false(parse_bytes(text, sizeof text));
    assert_string_equal(message, "f:1: file is larger than 65536 bytes");
    size_t at = 0;
    for (unsigned i = 0; i <= CONFIG_VM_MAX; i++)
        at += (size_t)sprintf(text + at, "[vm v%u]\nmemory = 4M\nimage = g\n", i);
    assert_false(parse_bytes(text, at));
    assert_string_equal(message, "f:97: more than 32 VMs");
    at = (size_t)sprintf(text, VM "cmdline = %0255d\n", 0);
    assert_true(parse_bytes(text, at));
    at = (size_t)sprintf(text, VM "cmdline = %0256d\n", 0);
    assert_false(parse_bytes(text, at));
    assert_string_equal(message, "f:4: cmdline: too long");
}

/* Whatever the bytes, the parser returns, and what it accepts keeps the rules. */
static void check_rules(void)
{
    assert_in_range(config.vm_count, 1, CONFIG_VM_MAX);
    assert_true(config.host.disk_fault_count <= CONFIG_FAULT_MAX);
    assert_true(config.host.memory % PAGE_SIZE == 0);
    assert_true(config.host.soft_percent > config.host.hard_percent);
    for (unsigned i = 0; i < config.vm_count; i++) {
        const struct config_vm *vm = &config.vms[i];
        assert_true(vm->memory >= MIB && vm->memory <= GUEST_HOLE_START);
        assert_true(vm->reserve <= vm->limit && vm->limit <= vm->memory);
        assert_true((vm->memory | vm->reserve | vm->limit) % PAGE_SIZE == 0);
        assert_true(vm->shares > 0 && vm->name[0] && vm->image[0]);
        assert_non_null(memchr(vm->name, 0, sizeof vm->name));
        assert_non_null(memchr(vm->image, 0, sizeof vm->image));
        assert_non_null(memchr(vm->cmdline, 0, sizeof vm->cmdline));
    }
}

static void mutations(void **state)
{
    (void)state;
    static const char seed_text[] =
        "[host]\nmemory = 96M # c\nseed = 1\nduration = 60s\ntiers = share swap\n"
        "disk_fault = read 1 2\nlow_percent = 9\n[vm a]\nmemory = 64M\nreserve = 16M\n"
        "limit = 32M\nshares = 7\nballoon = on\nimage = guest.elf\ncmdline = a b\n"
        "[vm b]\nmemory = 4M\nimage = x\n";
    static const char pieces[] = "[]=#;\n\r\t 0123456789KMGsmonf.\0\xff";
    uint64_t rounds = support_number("BALLAST_STEPS", 20000), accepted = 0;
    struct rng rng;
    rng_seed(&rng, support_number("BALLAST_SEED", 1));
    for (uint64_t i = 0; i < rounds; i++) {
        /* On the heap, so that a read past the end is seen. */
        size_t size = sizeof seed_text - 1;
        char *text = malloc(size);
        memcpy(text, seed_text, size);
        for (uint64_t n = 1 + rng_below(&rng, 4); n; n--)
            text[rng_below(&rng, size)] = pieces[rng_below(&rng, sizeof pieces)];
        if (rng_below(&rng, 4) == 0)
            size = rng_below(&rng, size);
        char *exact = malloc(size ? size : 1);
        memcpy(exact, text, size);
        if (parse_bytes(exact, size)) {
            check_rules();
            accepted++;
        } else {
            assert_int_equal(strncmp(message, "f:", 2), 0);
            assert_null(strchr(message, '\n'));
        }
        free(exact);
        free(text);
    }
    assert_true(rounds < 1000 || accepted > 0);
    printf("figure: %llu mutated configurations, %llu accepted\n", (unsigned long long)rounds,
           (unsigned long long)accepted);
}

static void hash(void **state)
{
    (void)state;
    good(VM);
    uint64_t first = config.hash;
    good(VM "\n");
    assert_true(config.hash != first);
    good(VM);
    assert_true(config.hash == first);
}

/* Each key has its own heading, "### `key`", below its section's. */
static void documented(void **state)
{
    (void)state;
    FILE *file = fopen("docs/configuration.md", "r");
    assert_non_null(file);
    static char text[100000];
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    char *vm_part = strstr(text, "\n## `[vm NAME]`"), *host_part = strstr(text, "\n## `[host]`");
    assert_true(host_part && vm_part && host_part < vm_part);
    *vm_part = 0;
    unsigned headings = 0;
    for (unsigned i = 0; i < KEY_COUNT; i++) {
        char heading[64];
        snprintf(heading, sizeof heading, "\n### `%s`", config_keys[i].name);
        if (!strstr(config_keys[i].section == CONFIG_SECTION_HOST ? host_part : vm_part + 1,
                    heading))
            fail_msg("docs/configuration.md does not describe %s", config_keys[i].name);
    }
    for (char *at = host_part; (at = strstr(at, "\n### `")) != NULL; at++)
        headings++;
    for (char *at = vm_part + 1; (at = strstr(at, "\n### `")) != NULL; at++)
        headings++;
    assert_int_equal(headings, KEY_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything),
        cmocka_unit_test(defaults),
        cmocka_unit_test(structure),
        cmocka_unit_test(values),
        cmocka_unit_test(values_of_each_type),
        cmocka_unit_test(between_keys),
        cmocka_unit_test(no_text),
        cmocka_unit_test(too_much),
        cmocka_unit_test(mutations),
        cmocka_unit_test(hash),
        cmocka_unit_test(documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
