/*
 * Screen console, see screen.h.
 *
 * `wanted` is the text there should be, `shown` what was drawn last. A redraw
 * touches only the cells that differ, and the frame buffer is never read: it is
 * uncached, and reading it is slow on every machine. At the bottom the text moves
 * up by half a screen at once, so a line costs on average its own cells and those
 * of one or two more, not a whole screen.
 */
#include "drivers/screen.h"

#include "lib/assert.h"
#include "lib/font.h"
#include "lib/string.h"

#define SIDE_MAX    16384u /* pixels */
#define COLUMNS_MAX 160u
#define ROWS_MAX    64u
#define COLUMNS_MIN 20u
#define ROWS_MIN    4u
/* The last address a page table entry can hold. */
#define ADDRESS_END (1ull << 52)

static struct {
    volatile uint8_t *pixels; /* NULL: off */
    uint32_t pitch, ink;
    unsigned columns, rows;
    unsigned column, row;                /* where the next character goes */
    unsigned changed_first, changed_end; /* rows where wanted and shown may differ */
    char wanted[ROWS_MAX][COLUMNS_MAX];
    char shown[ROWS_MAX][COLUMNS_MAX];
} screen;

uint64_t screen_bytes(const struct screen_mode *mode)
{
    return (uint64_t)mode->pitch * mode->height;
}

const char *screen_refuse(const struct screen_mode *mode)
{
    if (mode->address == 0)
        return "there is none";
    if (mode->width > SIDE_MAX || mode->height > SIDE_MAX)
        return "it is too large";
    if (mode->width < COLUMNS_MIN * FONT_WIDTH || mode->height < ROWS_MIN * FONT_HEIGHT)
        return "it is too small";
    if (mode->pitch / 4 < mode->width || mode->pitch > SIDE_MAX * 4)
        return "its lines overlap or are too long";
    if (mode->address % 4 != 0 || mode->pitch % 4 != 0)
        return "its pixels are not aligned";
    if (mode->bytes != 0 && screen_bytes(mode) > mode->bytes)
        return "its lines do not fit into it";
    if (mode->address >= ADDRESS_END || screen_bytes(mode) > ADDRESS_END - mode->address)
        return "it lies beyond all addresses";
    if (mode->ink == 0)
        return "it has no colours";
    return NULL;
}

static void cell_draw(unsigned row, unsigned column, char c)
{
    uint8_t glyph[FONT_HEIGHT];
    font_draw(c, glyph);
    volatile uint8_t *line = screen.pixels + (uint64_t)row * FONT_HEIGHT * screen.pitch +
                             (uint64_t)column * FONT_WIDTH * 4;
    for (unsigned y = 0; y < FONT_HEIGHT; y++, line += screen.pitch) {
        volatile uint32_t *pixel = (volatile uint32_t *)line;
        for (unsigned x = 0; x < FONT_WIDTH; x++)
            pixel[x] = glyph[y] & (0x80u >> x) ? screen.ink : 0;
    }
}

static void redraw(void)
{
    for (unsigned row = screen.changed_first; row < screen.changed_end; row++) {
        for (unsigned column = 0; column < screen.columns; column++) {
            char c = screen.wanted[row][column];
            if (c == screen.shown[row][column])
                continue;
            cell_draw(row, column, c);
            screen.shown[row][column] = c;
        }
    }
    screen.changed_first = screen.rows;
    screen.changed_end = 0;
}

static void put(char c)
{
    screen.wanted[screen.row][screen.column++] = c;
    if (screen.row < screen.changed_first)
        screen.changed_first = screen.row;
    if (screen.row >= screen.changed_end)
        screen.changed_end = screen.row + 1;
}

static void scroll(void)
{
    unsigned up = screen.rows / 2;
    memmove(screen.wanted[0], screen.wanted[up], (screen.rows - up) * sizeof(screen.wanted[0]));
    memset(screen.wanted[screen.rows - up], ' ', up * sizeof(screen.wanted[0]));
    screen.row -= up;
    screen.changed_first = 0;
    screen.changed_end = screen.rows;
}

static void line_break(void)
{
    screen.column = 0;
    if (++screen.row == screen.rows)
        scroll();
}

void screen_write(const char *text, size_t size)
{
    if (!screen.pixels)
        return;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n') {
            line_break();
            continue;
        }
        if (screen.column == screen.columns)
            line_break();
        put(text[i]);
    }
    redraw();
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

void screen_init(volatile void *pixels, const struct screen_mode *mode)
{
    ensure(!screen_refuse(mode));
    screen.pixels = pixels;
    screen.pitch = mode->pitch;
    screen.ink = mode->ink;
    screen.columns = smaller(mode->width / FONT_WIDTH, COLUMNS_MAX);
    screen.rows = smaller(mode->height / FONT_HEIGHT, ROWS_MAX);
    screen.column = screen.row = 0;
    screen.changed_first = screen.rows;
    screen.changed_end = 0;
    memset(screen.wanted, ' ', sizeof(screen.wanted));
    memset(screen.shown, ' ', sizeof(screen.shown));
    for (uint32_t y = 0; y < mode->height; y++)
        for (uint32_t x = 0; x < mode->width; x++)
            ((volatile uint32_t *)(screen.pixels + (uint64_t)y * screen.pitch))[x] = 0;
}

bool screen_is_on(void)
{
    return screen.pixels != NULL;
}
