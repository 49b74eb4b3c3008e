/*
 * The configuration parser: lines, sections, keys, and the checks between keys.
 * Portable: the loader runs it, and so do the tests on a development machine.
 *
 * The text is hostile. Lines are copied into a buffer of fixed size before
 * anything looks at them, only printable ASCII leaves that buffer, and the work
 * is linear in the size of the file, which is bounded.
 */
#include "boot/config_keys.h"
#include "boot/config_value.h"
#include "lib/fmt.h"
#include "lib/string.h"

#define LINE_MAX 512
#define FILE_MAX (64 * KIB)

struct parser {
    struct config *config;
    const char *file;
    char *message;
    size_t message_size;
    unsigned line; /* current, from 1 */
    enum config_section section;
    unsigned section_line;        /* where the current section began */
    unsigned host_line;           /* where [host] began, 0: not seen */
    unsigned key_line[KEY_COUNT]; /* where each key of this section was set, 0: not */
};

/* Writes the message and returns false, so that callers can return it. */
__attribute__((format(printf, 3, 4))) static bool fail(struct parser *parser, unsigned line,
                                                       const char *format, ...)
{
    char reason[200];
    va_list args;
    va_start(args, format);
    fmt_vprint(reason, sizeof(reason), format, args);
    va_end(args);
    fmt_print(parser->message, parser->message_size, "%s:%u: %s", parser->file, line, reason);
    return false;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* Cuts spaces at both ends, in place. */
static char *trim(char *text)
{
    while (is_space(*text))
        text++;
    size_t length = strlen(text);
    while (length && is_space(text[length - 1]))
        text[--length] = 0;
    return text;
}

/* A comment starts at '#' or ';' in the first column that is not a space, or at
 * a '#' after a space. */
static size_t comment_start(const char *line, size_t length)
{
    size_t first = 0;
    while (first < length && is_space(line[first]))
        first++;
    if (first < length && (line[first] == '#' || line[first] == ';'))
        return first;
    for (size_t i = first + 1; i < length; i++)
        if (line[i] == '#' && is_space(line[i - 1]))
            return i;
    return length;
}

/* Copies a line without its comment into buffer; refuses what is no text. */
static bool clean_line(struct parser *parser, const char *line, size_t length,
                       char buffer[LINE_MAX])
{
    if (length && line[length - 1] == '\r')
        length--;
    if (length >= LINE_MAX)
        return fail(parser, parser->line, "line longer than %u bytes", LINE_MAX - 1);
    size_t end = comment_start(line, length);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c == 0)
            return fail(parser, parser->line, "NUL byte: this is not a text file");
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return fail(parser, parser->line, "control character 0x%x", c);
        if (i < end && c > 0x7e)
            return fail(parser, parser->line, "byte 0x%x is not ASCII", c);
    }
    memcpy(buffer, line, end);
    buffer[end] = 0;
    return true;
}

/* ---- checks at the end of a section ---------------------------------------- */

static bool finish_host(struct parser *parser)
{
    const struct config_host *host = &parser->config->host;
    unsigned line = parser->key_line[KEY_LOW]    ? parser->key_line[KEY_LOW]
                    : parser->key_line[KEY_HARD] ? parser->key_line[KEY_HARD]
                                                 : parser->key_line[KEY_SOFT];
    if (host->soft_percent <= host->hard_percent || host->hard_percent <= host->low_percent)
        return fail(parser, line, "soft_percent, hard_percent, low_percent must fall (%u, %u, %u)",
                    host->soft_percent, host->hard_percent, host->low_percent);
    return true;
}

static bool finish_vm(struct parser *parser)
{
    struct config_vm *vm = &parser->config->vms[parser->config->vm_count - 1];
    const unsigned *lines = parser->key_line;
    if (!lines[KEY_VM_MEMORY])
        return fail(parser, vm->line, "[vm %s] has no memory", vm->name);
    if (!lines[KEY_IMAGE])
        return fail(parser, vm->line, "[vm %s] has no image", vm->name);
    if (!lines[KEY_LIMIT])
        vm->limit = vm->memory;
    vm->image_line = lines[KEY_IMAGE];
    if (vm->limit > vm->memory)
        return fail(parser, lines[KEY_LIMIT], "limit is above memory");
    if (vm->reserve > vm->limit)
        return fail(parser, lines[KEY_RESERVE], "reserve is above %s",
                    lines[KEY_LIMIT] ? "limit" : "memory");
    return true;
}

static bool finish_section(struct parser *parser)
{
    switch (parser->section) {
    case CONFIG_SECTION_HOST:
        return finish_host(parser);
    case CONFIG_SECTION_VM:
        return finish_vm(parser);
    case CONFIG_SECTION_NONE:
        break;
    }
    return true;
}

/* ---- sections and keys -------------------------------------------------------- */

static bool begin_host(struct parser *parser)
{
    if (parser->host_line)
        return fail(parser, parser->line, "second [host] section (the first is in line %u)",
                    parser->host_line);
    parser->host_line = parser->line;
    parser->section = CONFIG_SECTION_HOST;
    return true;
}

static bool begin_vm(struct parser *parser, const char *name)
{
    static const struct config_key key = { .name = "name",
                                           .type = CONFIG_WORD,
                                           .max = CONFIG_NAME_MAX };
    struct config *config = parser->config;
    if (config->vm_count == CONFIG_VM_MAX)
        return fail(parser, parser->line, "more than %u VMs", CONFIG_VM_MAX);
    struct config_vm *vm = &config->vms[config->vm_count];
    config_vm_default(vm);
    const char *problem = config_value_set(&key, name, vm->name);
    if (problem)
        return fail(parser, parser->line, "name of a VM: %s", problem);
    for (unsigned i = 0; i < config->vm_count; i++)
        if (!strcmp(config->vms[i].name, name))
            return fail(parser, parser->line, "second VM named %s (the first is in line %u)", name,
                        config->vms[i].line);
    vm->line = parser->line;
    config->vm_count++;
    parser->section = CONFIG_SECTION_VM;
    return true;
}

static bool parse_section(struct parser *parser, char *text)
{
    size_t length = strlen(text);
    if (text[length - 1] != ']')
        return fail(parser, parser->line, "section without a closing ']'");
    if (!finish_section(parser))
        return false;
    memset(parser->key_line, 0, sizeof(parser->key_line));
    parser->section_line = parser->line;
    text[length - 1] = 0;
    text = trim(text + 1);
    if (!strcmp(text, "host"))
        return begin_host(parser);
    if (!strncmp(text, "vm", 2) && (is_space(text[2]) || !text[2]))
        return begin_vm(parser, trim(text + 2));
    return fail(parser, parser->line, "unknown section [%.40s]", text);
}

static const struct config_key *find_key(enum config_section section, const char *name)
{
    for (unsigned i = 0; i < KEY_COUNT; i++)
        if (config_keys[i].section == section && !strcmp(config_keys[i].name, name))
            return &config_keys[i];
    return NULL;
}

static bool parse_key(struct parser *parser, char *text)
{
    char *equals = strchr(text, '=');
    if (!equals)
        return fail(parser, parser->line, "neither '[section]' nor 'key = value'");
    if (parser->section == CONFIG_SECTION_NONE)
        return fail(parser, parser->line, "key before the first section");
    *equals = 0;
    char *name = trim(text), *value = trim(equals + 1);
    bool in_host = parser->section == CONFIG_SECTION_HOST;
    const struct config_key *key = find_key(parser->section, name);
    if (!key)
        return fail(parser, parser->line, "unknown key '%.40s' in a %s section", name,
                    in_host ? "[host]" : "[vm]");
    unsigned *line = &parser->key_line[key - config_keys];
    if (*line && key->type != CONFIG_FAULT)
        return fail(parser, parser->line, "second '%s' (the first is in line %u)", name, *line);
    *line = parser->line;
    struct config *config = parser->config;
    const char *problem = in_host
                              ? config_value_set(key, value, &config->host)
                              : config_value_set(key, value, &config->vms[config->vm_count - 1]);
    return problem ? fail(parser, parser->line, "%s: %s", name, problem) : true;
}

static bool parse_line(struct parser *parser, const char *line, size_t length)
{
    char buffer[LINE_MAX];
    if (!clean_line(parser, line, length, buffer))
        return false;
    char *text = trim(buffer);
    if (!*text)
        return true;
    return *text == '[' ? parse_section(parser, text) : parse_key(parser, text);
}

/* ---- the file ------------------------------------------------------------------ */

/* FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv). */
static uint64_t fnv(const char *text, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3ull;
    return hash;
}

static bool check_encoding(struct parser *parser, const char *text, size_t size)
{
    if (size > FILE_MAX)
        return fail(parser, 1, "file is larger than %u bytes", (unsigned)FILE_MAX);
    if (size >= 2 && (!memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2)))
        return fail(parser, 1, "file is UTF-16; save it as plain ASCII or UTF-8");
    return true;
}

static bool parse_lines(struct parser *parser, const char *text, size_t size)
{
    if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        text += 3;
        size -= 3;
    }
    for (size_t at = 0, end; at < size; at = end + 1) {
        for (end = at; end < size && text[end] != '\n'; end++)
            ;
        parser->line++;
        if (!parse_line(parser, text + at, end - at))
            return false;
    }
    return true;
}

bool config_parse(struct config *config, const char *file, const char *text, size_t size,
                  char *message, size_t message_size)
{
    struct parser parser = {
        .config = config, .file = file, .message = message, .message_size = message_size
    };
    memset(config, 0, sizeof(*config));
    config_host_default(&config->host);
    if (!check_encoding(&parser, text, size) || !parse_lines(&parser, text, size) ||
        !finish_section(&parser))
        return false;
    if (config->vm_count == 0)
        return fail(&parser, parser.line ? parser.line : 1, "no VM: nothing to run");
    config->hash = fnv(text, size);
    return true;
}
