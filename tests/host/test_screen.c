/*
 * The screen console on a frame buffer in memory: what it draws where, scrolling,
 * and modes that must not be believed.
 */
#include <stdlib.h>
#include <string.h>

#include "drivers/screen.h"
#include "lib/font.h"
#include "tests/host/support.h"

#define INK     0x00ffffffu
#define GUARD   0x5aa5c33cu
#define COLUMNS 30u
#define ROWS    6u
#define WIDTH   (COLUMNS * FONT_WIDTH + 5) /* not a whole number of cells */
#define HEIGHT  (ROWS * FONT_HEIGHT + 3)
#define STRIDE  (WIDTH + 7) /* pixels a line takes */

static uint32_t buffer[HEIGHT * STRIDE + 64];

static struct screen_mode mode_good(void)
{
    return (struct screen_mode){ .address = 0x80000000,
                                 .bytes = (uint64_t)HEIGHT * STRIDE * 4,
                                 .width = WIDTH,
                                 .height = HEIGHT,
                                 .pitch = STRIDE * 4,
                                 .ink = INK };
}

static void start(void)
{
    const struct screen_mode mode = mode_good();
    for (size_t i = 0; i < sizeof(buffer) / sizeof(buffer[0]); i++)
        buffer[i] = GUARD;
    screen_init(buffer, &mode);
}

static void print(const char *text)
{
    screen_write(text, strlen(text));
}

static bool cell_is(unsigned row, unsigned column, char c)
{
    uint8_t glyph[FONT_HEIGHT];
    font_draw(c, glyph);
    for (unsigned y = 0; y < FONT_HEIGHT; y++)
        for (unsigned x = 0; x < FONT_WIDTH; x++) {
            uint32_t wanted = glyph[y] & (0x80u >> x) ? INK : 0;
            if (buffer[(row * FONT_HEIGHT + y) * STRIDE + column * FONT_WIDTH + x] != wanted)
                return false;
        }
    return true;
}

static void assert_row(unsigned row, const char *text)
{
    size_t length = strlen(text);
    for (unsigned i = 0; i < COLUMNS; i++)
        if (!cell_is(row, i, i < length ? text[i] : ' '))
            fail_msg("row %u column %u does not show '%c'", row, i, i < length ? text[i] : ' ');
}

/* Nothing outside of the visible part of the buffer was written. */
static void assert_guards(void)
{
    for (unsigned y = 0; y < HEIGHT; y++)
        for (unsigned x = WIDTH; x < STRIDE; x++)
            assert_int_equal(buffer[y * STRIDE + x], GUARD);
    for (unsigned i = HEIGHT * STRIDE; i < sizeof(buffer) / sizeof(buffer[0]); i++)
        assert_int_equal(buffer[i], GUARD);
}

static void glyphs_differ(void **state)
{
    (void)state;
    uint8_t a[FONT_HEIGHT], b[FONT_HEIGHT];
    for (char c = ' '; c <= '~'; c++) {
        font_draw(c, a);
        for (char d = (char)(c + 1); d <= '~'; d++) {
            font_draw(d, b);
            if (memcmp(a, b, FONT_HEIGHT) == 0)
                fail_msg("'%c' and '%c' look the same", c, d);
        }
        for (unsigned y = 0; y < FONT_HEIGHT; y++)
            assert_int_equal(a[y] & 1, 0); /* a gap between letters */
    }
    font_draw('\x01', a);
    for (int c = 0x7f; c < 0x100; c++) {
        font_draw((char)c, b);
        assert_memory_equal(a, b, FONT_HEIGHT);
    }
}

static void before_start_nothing(void **state)
{
    (void)state;
    assert_false(screen_is_on());
    print("dropped\n");
}

static void draws(void **state)
{
    (void)state;
    start();
    assert_true(screen_is_on());
    print("first line\nand ");
    print("the second\n");
    assert_row(0, "first line");
    assert_row(1, "and the second");
    assert_row(2, "");
    assert_guards();
}

static void wraps(void **state)
{
    (void)state;
    start();
    print("012345678901234567890123456789\nshort\n");
    assert_row(0, "012345678901234567890123456789");
    assert_row(1, "short"); /* a full line and a newline are one line break */
    print("012345678901234567890123456789rest\n");
    assert_row(2, "012345678901234567890123456789");
    assert_row(3, "rest");
    assert_guards();
}

static void scrolls(void **state)
{
    (void)state;
    start();
    print("0\n1\n2\n3\n4\n");
    assert_row(4, "4");
    print("5\n"); /* the last row is taken: half a screen up */
    assert_row(0, "3");
    assert_row(2, "5");
    assert_row(3, "");
    print("6\n7\n8\n9\n");
    assert_row(0, "6");
    assert_row(3, "9");
    assert_guards();
}

/* A model of lines against the screen, for text of every kind. */
static void any_text(void **state)
{
    (void)state;
    start();
    srand(1);
    for (unsigned i = 0; i < 20000; i++) {
        char text[80];
        size_t size = (size_t)rand() % sizeof(text);
        for (size_t at = 0; at < size; at++)
            text[at] = (char)(rand() % 8 ? rand() % 256 : '\n');
        screen_write(text, size);
    }
    assert_guards();
    print("\nlast words\n");
    bool found = false;
    for (unsigned row = 0; row < ROWS; row++)
        found |= cell_is(row, 0, 'l') && cell_is(row, 9, 's');
    assert_true(found);
}

#define refused(...)                                                                               \
    do {                                                                                           \
        struct screen_mode mode = mode_good();                                                     \
        __VA_ARGS__;                                                                               \
        assert_non_null(screen_refuse(&mode));                                                     \
        expect_panic(screen_init(buffer, &mode));                                                  \
    } while (0)

static void odd_modes(void **state)
{
    (void)state;
    struct screen_mode good = mode_good();
    assert_null(screen_refuse(&good));
    assert_int_equal(screen_bytes(&good), HEIGHT * STRIDE * 4);
    good.bytes = 0; /* not known */
    assert_null(screen_refuse(&good));
    refused(mode.address = 0);
    refused(mode.address += 2);
    refused(mode.address = UINT64_MAX - 3);
    refused(mode.address = (1ull << 52) - 4096);
    refused(mode.width = 0);
    refused(mode.width = UINT32_MAX);
    refused(mode.height = 0);
    refused(mode.height = UINT32_MAX);
    refused(mode.pitch = 0);
    refused(mode.pitch = (WIDTH - 1) * 4);
    refused(mode.pitch += 1);
    refused(mode.pitch = UINT32_MAX & ~3u, mode.bytes = 0);
    refused(mode.bytes--);
    refused(mode.bytes = 1);
    refused(mode.ink = 0);
    refused(mode.width = FONT_WIDTH, mode.height = FONT_HEIGHT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_start_nothing),
        cmocka_unit_test(glyphs_differ),
        cmocka_unit_test(draws),
        cmocka_unit_test(wraps),
        cmocka_unit_test(scrolls),
        cmocka_unit_test(any_text),
        cmocka_unit_test(odd_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
