/* Values of a configuration file; see config_value.h. */
#include "boot/config_value.h"

#include "lib/string.h"

#define BAD_SIZE     "not a size (a number with K, M, G or nothing after it)"
#define BAD_NUMBER   "not a number"
#define BAD_DURATION "not a duration (a number with ms, s or m after it)"
#define TOO_LARGE    "number too large"

/* Decimal digits, at least one; *text is moved past them. */
static const char *take_number(const char **text, uint64_t *value, const char *bad)
{
    const char *at = *text;
    if (*at < '0' || *at > '9')
        return bad;
    for (*value = 0; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(*value, 10u, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*at - '0'), value))
            return TOO_LARGE;
    *text = at;
    return NULL;
}

static const char *number(const char *text, uint64_t *value)
{
    const char *problem = take_number(&text, value, BAD_NUMBER);
    return problem ? problem : *text ? BAD_NUMBER : NULL;
}

static const char *size_value(const char *text, uint64_t *value)
{
    const char *problem = take_number(&text, value, BAD_SIZE);
    if (problem)
        return problem;
    uint64_t unit = 1;
    if (*text) {
        unit = *text == 'K' ? KIB : *text == 'M' ? MIB : *text == 'G' ? GIB : 0;
        if (!unit || text[1])
            return BAD_SIZE;
    }
    if (__builtin_mul_overflow(*value, unit, value))
        return TOO_LARGE;
    return *value & PAGE_MASK ? "not a multiple of 4096 bytes" : NULL;
}

/* Milliseconds. A bare 0 needs no unit. */
static const char *duration(const char *text, uint64_t *value)
{
    const char *problem = take_number(&text, value, BAD_DURATION);
    if (problem)
        return problem;
    uint64_t unit = !strcmp(text, "ms")  ? 1
                    : !strcmp(text, "s") ? 1000
                    : !strcmp(text, "m") ? 60000
                                         : 0;
    if (!unit)
        return *value == 0 && !*text ? NULL : BAD_DURATION;
    return __builtin_mul_overflow(*value, unit, value) ? TOO_LARGE : NULL;
}

static const char *seconds(const char *text, uint64_t *value)
{
    const char *problem = duration(text, value);
    if (problem)
        return problem;
    if (*value % 1000)
        return "not whole seconds";
    *value /= 1000;
    return NULL;
}

static bool is_word_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

static const char *text_value(const struct config_key *key, const char *text, char *field)
{
    size_t length = strlen(text);
    if (length >= key->max)
        return "too long";
    for (const char *at = text; key->type == CONFIG_WORD && *at; at++)
        if (!is_word_character(*at))
            return "only letters, digits, '_', '-' and '.' are allowed";
    memcpy(field, text, length + 1);
    return NULL;
}

/* The next word, up to a space: its length; *text is moved to its first byte. */
static size_t next_word(const char **text)
{
    while (**text == ' ' || **text == '\t')
        (*text)++;
    size_t length = 0;
    while ((*text)[length] && (*text)[length] != ' ' && (*text)[length] != '\t')
        length++;
    return length;
}

static bool word_is(const char *word, size_t length, const char *what)
{
    return strlen(what) == length && !strncmp(word, what, length);
}

static const char *tiers_value(const char *text, bool *tiers)
{
    static const char *const names[MM_TIER_COUNT] = {
        [MM_TIER_SHARE] = "share",
        [MM_TIER_BALLOON] = "balloon",
        [MM_TIER_COMPRESS] = "compress",
        [MM_TIER_SWAP] = "swap",
    };
    bool set[MM_TIER_COUNT] = { false };
    if (strcmp(text, "none") != 0) {
        for (size_t length; (length = next_word(&text)) != 0; text += length) {
            unsigned tier = 0;
            while (tier < MM_TIER_COUNT && !word_is(text, length, names[tier]))
                tier++;
            if (tier == MM_TIER_COUNT)
                return "not a list of share, balloon, compress, swap, and not none";
            if (set[tier])
                return "the same tier twice";
            set[tier] = true;
        }
    }
    memcpy(tiers, set, sizeof(set));
    return NULL;
}

static const char *choice(const char *text, const char *yes, const char *no, const char *bad,
                          bool *value)
{
    *value = !strcmp(text, yes);
    return *value || !strcmp(text, no) ? NULL : bad;
}

/* A number that is one word of several. */
static const char *word_number(const char **text, uint64_t *value)
{
    next_word(text);
    const char *problem = take_number(text, value, "not like 'read FIRST COUNT'");
    if (problem)
        return problem;
    return **text && **text != ' ' && **text != '\t' ? "not like 'read FIRST COUNT'" : NULL;
}

static const char *fault_value(const char *text, struct config_host *host)
{
    if (host->disk_fault_count == CONFIG_FAULT_MAX)
        return "more than 4 of them";
    struct config_disk_fault *fault = &host->disk_faults[host->disk_fault_count];
    size_t length = next_word(&text);
    fault->write = word_is(text, length, "write");
    if (!fault->write && !word_is(text, length, "read"))
        return "not like 'read FIRST COUNT' or 'write FIRST COUNT'";
    text += length;
    uint64_t first, count;
    const char *problem = word_number(&text, &first);
    if (!problem)
        problem = word_number(&text, &count);
    if (problem)
        return problem;
    if (next_word(&text))
        return "not like 'read FIRST COUNT'";
    if (first == 0 || count == 0 || first > UINT32_MAX || count > UINT32_MAX - first + 1)
        return "FIRST and COUNT are at least 1 and end below 4294967296";
    fault->first = (uint32_t)first;
    fault->count = (uint32_t)count;
    host->disk_fault_count++;
    return NULL;
}

static const char *numeric(const struct config_key *key, const char *text, uint64_t *value)
{
    switch (key->type) {
    case CONFIG_SIZE:
        return size_value(text, value);
    case CONFIG_SECONDS:
        return seconds(text, value);
    case CONFIG_MILLISECONDS:
        return duration(text, value);
    default:
        return number(text, value);
    }
}

static const char *numeric_value(const struct config_key *key, const char *text, void *field)
{
    uint64_t value;
    const char *problem = numeric(key, text, &value);
    if (problem)
        return problem;
    if (value < key->min)
        return value ? "too small" : "must not be 0";
    if (value > key->max)
        return "too large";
    if (key->type == CONFIG_SIZE || key->type == CONFIG_SEED)
        *(uint64_t *)field = value;
    else
        *(uint32_t *)field = (uint32_t)value;
    return NULL;
}

static const char *number_or_off(const struct config_key *key, const char *text, uint32_t *value)
{
    *value = 0;
    return strcmp(text, "off") ? numeric_value(key, text, value) : NULL;
}

const char *config_value_set(const struct config_key *key, const char *text, void *section)
{
    void *field = (char *)section + key->offset;
    if (!*text)
        return "no value";
    switch (key->type) {
    case CONFIG_SEED:
        ((struct config_host *)section)->seeded = true;
        return numeric_value(key, text, field);
    case CONFIG_SIZE:
    case CONFIG_NUMBER:
    case CONFIG_SECONDS:
    case CONFIG_MILLISECONDS:
        return numeric_value(key, text, field);
    case CONFIG_SWITCH:
        return choice(text, "on", "off", "neither on nor off", field);
    case CONFIG_SWAP:
        return choice(text, "auto", "none", "neither auto nor none", field);
    case CONFIG_AUTO:
        return choice(text, "auto", "off", "neither auto nor off", field);
    case CONFIG_OR_OFF:
        return number_or_off(key, text, field);
    case CONFIG_WORD:
    case CONFIG_TEXT:
        return text_value(key, text, field);
    case CONFIG_TIERS:
        return tiers_value(text, field);
    case CONFIG_FAULT:
        return fault_value(text, section);
    }
    return "a type nobody parses";
}
