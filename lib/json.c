#include "lib/json.h"
#include "lib/fmt.h"
#include "lib/string.h"

static void flush(struct json *json)
{
    json->write(json->buffer, json->used);
    json->used = 0;
}

static void put(struct json *json, const char *bytes, size_t size)
{
    while (size) {
        size_t room = JSON_BUFFER - json->used, part = size < room ? size : room;
        memcpy(json->buffer + json->used, bytes, part);
        json->used += part;
        bytes += part;
        size -= part;
        if (json->used == JSON_BUFFER)
            flush(json);
    }
}

static void put_char(struct json *json, char c)
{
    put(json, &c, 1);
}

static void put_string(struct json *json, const char *text)
{
    put_char(json, '"');
    for (; *text; text++) {
        char c = *text;
        if (c == '"' || c == '\\')
            put_char(json, '\\');
        put_char(json, c >= ' ' && c < 0x7f ? c : '?');
    }
    put_char(json, '"');
}

static void member(struct json *json, const char *key)
{
    if (json->comma)
        put_char(json, ',');
    json->comma = true;
    if (!key)
        return;
    put_string(json, key);
    put_char(json, ':');
}

static void open(struct json *json, const char *key, char bracket)
{
    member(json, key);
    put_char(json, bracket);
    json->comma = false;
}

static void close(struct json *json, char bracket)
{
    put_char(json, bracket);
    json->comma = true;
}

void json_begin(struct json *json, void (*write)(const char *bytes, size_t size))
{
    json->write = write;
    json->used = 0;
    json->comma = false;
    open(json, NULL, '{');
}

void json_end(struct json *json)
{
    put(json, "}\n", 2);
    if (json->used)
        flush(json);
}

void json_object(struct json *json, const char *key)
{
    open(json, key, '{');
}

void json_object_end(struct json *json)
{
    close(json, '}');
}

void json_array(struct json *json, const char *key)
{
    open(json, key, '[');
}

void json_array_end(struct json *json)
{
    close(json, ']');
}

void json_number(struct json *json, const char *key, uint64_t value)
{
    char text[24];
    int length = fmt_print(text, sizeof(text), "%llu", (unsigned long long)value);
    member(json, key);
    put(json, text, (size_t)length);
}

void json_hex(struct json *json, const char *key, uint64_t value)
{
    char text[24];
    fmt_print(text, sizeof(text), "%016llx", (unsigned long long)value);
    json_string(json, key, text);
}

void json_string(struct json *json, const char *key, const char *value)
{
    member(json, key);
    put_string(json, value);
}

void json_bool(struct json *json, const char *key, bool value)
{
    member(json, key);
    put(json, value ? "true" : "false", value ? 4 : 5);
}

void json_null(struct json *json, const char *key)
{
    member(json, key);
    put(json, "null", 4);
}
