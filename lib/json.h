/*
 * Writer of JSON (RFC 8259), one object a line, into a buffer that the caller
 * empties through a function. Commas are put where they belong; strings are
 * escaped, bytes that are no ASCII are replaced by '?'.
 *
 * Keys are written as they are: plain names. key NULL: an element of an array.
 */
#ifndef LIB_JSON_H
#define LIB_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_BUFFER 256u

struct json {
    void (*write)(const char *bytes, size_t size);
    char buffer[JSON_BUFFER];
    size_t used;
    bool comma; /* the next member needs a comma before it */
};

void json_begin(struct json *json, void (*write)(const char *bytes, size_t size));
/* Ends the line and hands everything on. */
void json_end(struct json *json);

void json_object(struct json *json, const char *key);
void json_object_end(struct json *json);
void json_array(struct json *json, const char *key);
void json_array_end(struct json *json);

void json_number(struct json *json, const char *key, uint64_t value);
void json_string(struct json *json, const char *key, const char *value);
void json_hex(struct json *json, const char *key, uint64_t value); /* 16 digits, a string */
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);

#endif
