/*
 * Parser for the command line. The table is all there is to know about a key:
 * where it goes, what it may be.
 */
#include "guest-driver/options.h"

#include "abi/machine.h"
#include "lib/fmt.h"
#include "lib/string.h"
#include "lib/types.h"

enum option_type { OPTION_NAME, OPTION_NUMBER, OPTION_SECONDS, OPTION_SWITCH, OPTION_MIX };

#define WORD_MAX 64

struct option {
    const char *key;
    enum option_type type;
    size_t offset;
    uint64_t low, high; /* of a number */
};

#define AT(field) offsetof(struct options, field)

static const struct option table[] = {
    { "workload", OPTION_NAME, AT(workload), 0, 0 },
    { "ws", OPTION_NUMBER, AT(ws), PAGE_SIZE, GUEST_HOLE_START },
    { "seed", OPTION_NUMBER, AT(seed), 0, UINT64_MAX },
    { "common", OPTION_NUMBER, AT(common), 0, UINT64_MAX },
    { "rounds", OPTION_NUMBER, AT(rounds), 0, 1000000 },
    { "requests", OPTION_NUMBER, AT(requests), 1, 1000000000 },
    { "phases", OPTION_NUMBER, AT(phases), 1, 1000000 },
    { "ticks", OPTION_NUMBER, AT(ticks), 0, 1000000000 },
    { "seconds", OPTION_SECONDS, AT(ticks), 0, 10000000 },
    { "private", OPTION_NUMBER, AT(private_percent), 0, 100 },
    { "corrupt", OPTION_NUMBER, AT(corrupt), 0, UINT32_MAX },
    { "mix", OPTION_MIX, AT(mix), 0, 100 },
    { "balloon", OPTION_SWITCH, AT(balloon), 0, 0 },
    { "fpu", OPTION_SWITCH, AT(fpu), 0, 0 },
    { "virtio", OPTION_NUMBER, AT(virtio), PAGE_SIZE, UINT32_MAX },
    { "gsi", OPTION_NUMBER, AT(gsi), 0, 23 },
};

static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    return c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : 16;
}

/* Decimal or 0x hexadecimal. Returns where it ended, NULL: no number, or one
 * above 64 bits. */
static const char *parse_digits(const char *text, uint64_t *value)
{
    unsigned base = text[0] == '0' && text[1] == 'x' ? 16 : 10;
    if (base == 16)
        text += 2;
    if (digit_of(*text) >= base)
        return NULL;
    for (*value = 0; digit_of(*text) < base; text++)
        if (__builtin_mul_overflow(*value, base, value) ||
            __builtin_add_overflow(*value, digit_of(*text), value))
            return NULL;
    return text;
}

/* A number with an optional K, M or G, and nothing after it. */
static bool parse_number(const char *text, uint64_t *value)
{
    static const char suffixes[] = "KMG";
    text = parse_digits(text, value);
    if (!text)
        return false;
    const char *suffix = *text ? strchr(suffixes, *text) : NULL;
    if (suffix) {
        unsigned shift = 10 * (unsigned)(suffix - suffixes + 1);
        if (*value > UINT64_MAX >> shift)
            return false;
        *value <<= shift;
        text++;
    }
    return *text == '\0';
}

static bool parse_mix(const char *text, struct content_mix *mix)
{
    uint64_t sum = 0, percent;
    for (unsigned i = 0; i < CONTENT_KIND_COUNT; i++) {
        text = parse_digits(text, &percent);
        if (!text || percent > 100 || *text != (i + 1 < CONTENT_KIND_COUNT ? ':' : '\0'))
            return false;
        mix->percent[i] = (uint32_t)percent;
        sum += percent;
        text++;
    }
    return sum == 100;
}

static bool parse_switch(const char *text, bool *value)
{
    *value = !strcmp(text, "on");
    return *value || !strcmp(text, "off");
}

static const char *set_number(const struct option *option, const char *text, uint64_t *field)
{
    uint64_t value;
    if (!parse_number(text, &value))
        return "is not a number";
    if (value < option->low || value > option->high)
        return "is out of range";
    *field = option->type == OPTION_SECONDS ? value * 100 : value;
    return NULL;
}

/* NULL: done; else what is wrong. */
static const char *set_option(struct options *o, const struct option *option, const char *text)
{
    void *field = (char *)o + option->offset;
    switch (option->type) {
    case OPTION_NAME:
        if (strlen(text) >= OPTION_NAME_MAX)
            return "is too long";
        memcpy(field, text, strlen(text) + 1);
        return NULL;
    case OPTION_SWITCH:
        return parse_switch(text, field) ? NULL : "is neither on nor off";
    case OPTION_MIX:
        o->mix_given = true;
        return parse_mix(text, field) ? NULL : "is not RANDOM:TEXT:ZERO:UNIFORM in percent";
    default:
        return set_number(option, text, field);
    }
}

/* word: KEY=VALUE, changed by it. */
static const char *set_word(struct options *o, char *word)
{
    char *value = strchr(word, '=');
    if (!value)
        return "is not KEY=VALUE";
    size_t key_length = (size_t)(value - word);
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strlen(table[i].key) == key_length && !strncmp(table[i].key, word, key_length))
            return set_option(o, &table[i], value + 1);
    return "is an unknown key";
}

static const struct options defaults = {
    .workload = "idle",
    .seed = 1,
    .common = 42,
    .rounds = 2,
    .requests = 20000,
    .phases = 5,
    .ticks = 20,
    .private_percent = 10,
    .mix = { { 20, 60, 10, 10 } },
    .balloon = true,
    .fpu = true,
    .virtio = GUEST_VIRTIO_BASE,
    .gsi = GUEST_VIRTIO_GSI,
};

bool options_parse(struct options *options, const char *cmdline, char *message, size_t size)
{
    *options = defaults;
    for (const char *p = cmdline; *p;) {
        char word[WORD_MAX];
        size_t length = 0;
        while (*p == ' ')
            p++;
        while (p[length] && p[length] != ' ')
            length++;
        if (!length)
            break;
        size_t kept = length < WORD_MAX - 1 ? length : WORD_MAX - 1;
        memcpy(word, p, kept);
        word[kept] = '\0';
        const char *problem = kept < length ? "is too long" : set_word(options, word);
        if (problem) {
            fmt_print(message, size, "'%.*s' %s", (int)kept, p, problem);
            return false;
        }
        p += length;
    }
    return true;
}
