#include "lib/fmt.h"
#include "lib/string.h"

#include <stdbool.h>
#include <stdint.h>

struct out {
    char *buffer;
    size_t size;
    size_t length;
};

struct spec {
    bool left, zero;
    int width;
    int precision; /* -1: none given */
    int longs;     /* 0: int, 1 and more: 64 bits */
};

static void out_char(struct out *o, char c)
{
    if (o->length + 1 < o->size)
        o->buffer[o->length] = c;
    o->length++;
}

static void out_padded(struct out *o, const struct spec *s, const char *text, size_t length)
{
    bool zero = s->zero && !s->left;
    int pad = s->width > (int)length ? s->width - (int)length : 0;
    if (zero && length && text[0] == '-') {
        out_char(o, *text++);
        length--;
    }
    for (int i = 0; !s->left && i < pad; i++)
        out_char(o, zero ? '0' : ' ');
    for (size_t i = 0; i < length; i++)
        out_char(o, text[i]);
    for (int i = 0; s->left && i < pad; i++)
        out_char(o, ' ');
}

static void out_number(struct out *o, const struct spec *s, uint64_t value, unsigned base,
                       bool upper, bool negative)
{
    char digits[24];
    size_t at = sizeof(digits);
    const char *alphabet = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    do {
        digits[--at] = alphabet[value % base];
        value /= base;
    } while (value);
    if (negative)
        digits[--at] = '-';
    out_padded(o, s, digits + at, sizeof(digits) - at);
}

static const char *parse_spec(const char *p, struct spec *s, va_list *args)
{
    *s = (struct spec){ .precision = -1 };
    for (; *p == '-' || *p == '0'; p++) {
        s->left |= *p == '-';
        s->zero |= *p == '0';
    }
    if (*p == '*') {
        s->width = va_arg(*args, int);
        p++;
    }
    for (; *p >= '0' && *p <= '9'; p++)
        s->width = s->width * 10 + (*p - '0');
    if (*p == '.') {
        s->precision = 0;
        if (*++p == '*') {
            s->precision = va_arg(*args, int);
            p++;
        }
        for (; *p >= '0' && *p <= '9'; p++)
            s->precision = s->precision * 10 + (*p - '0');
    }
    for (; *p == 'l' || *p == 'z'; p++)
        s->longs++;
    return p;
}

static void out_string(struct out *o, const struct spec *s, const char *text)
{
    size_t length = 0;
    if (!text)
        text = "(null)";
    while ((s->precision < 0 || length < (size_t)s->precision) && text[length])
        length++;
    out_padded(o, s, text, length);
}

static void out_directive(struct out *o, char kind, const struct spec *s, va_list *args)
{
    int64_t value;
    char c;
    switch (kind) {
    case 'd':
    case 'i':
        value = s->longs ? va_arg(*args, int64_t) : va_arg(*args, int);
        out_number(o, s, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, false, value < 0);
        break;
    case 'u':
    case 'x':
    case 'X':
        out_number(o, s, s->longs ? va_arg(*args, uint64_t) : va_arg(*args, unsigned),
                   kind == 'u' ? 10 : 16, kind == 'X', false);
        break;
    case 'p':
        out_number(o, s, (uintptr_t)va_arg(*args, void *), 16, false, false);
        break;
    case 's':
        out_string(o, s, va_arg(*args, const char *));
        break;
    case 'c':
        c = (char)va_arg(*args, int);
        out_padded(o, s, &c, 1);
        break;
    default:
        out_char(o, '%');
        if (kind != '%')
            out_char(o, kind);
    }
}

int fmt_vprint(char *buffer, size_t size, const char *format, va_list args)
{
    struct out o = { buffer, size, 0 };
    va_list copy;
    va_copy(copy, args);
    for (const char *p = format; *p; p++) {
        struct spec s;
        if (*p != '%') {
            out_char(&o, *p);
            continue;
        }
        p = parse_spec(p + 1, &s, &copy);
        if (!*p)
            break;
        out_directive(&o, *p, &s, &copy);
    }
    va_end(copy);
    if (size)
        buffer[o.length < size ? o.length : size - 1] = '\0';
    return (int)o.length;
}

int fmt_print(char *buffer, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = fmt_vprint(buffer, size, format, args);
    va_end(args);
    return length;
}
