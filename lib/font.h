/*
 * A small monospaced font, 8 by 16 pixels, for printable ASCII.
 *
 * A glyph is drawn from strokes when it is asked for, so the font is a table that
 * can be read and changed by hand. No state, no locks.
 */
#ifndef LIB_FONT_H
#define LIB_FONT_H

#include <stdint.h>

#define FONT_WIDTH  8u
#define FONT_HEIGHT 16u

/* One byte a row, top first; bit 7 is the leftmost pixel. Whatever is not
 * printable ASCII (0x20 to 0x7e) becomes a box. */
void font_draw(char c, uint8_t rows[FONT_HEIGHT]);

#endif
