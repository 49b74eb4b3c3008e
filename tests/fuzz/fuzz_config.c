/*
 * libFuzzer: a configuration of any bytes is understood or refused with one line
 * that names the place (P16).
 */
#include "boot/config_keys.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    char message[256] = "";
    char *text = malloc(size + 1); /* no byte past the end is looked at */
    memcpy(text, data, size);
    char *exact = realloc(text, size ? size : 1);
    bool good = config_parse(&config, "f", exact, size, message, sizeof(message));
    fuzz_require(good || (message[0] != 0 && !strchr(message, '\n')));
    free(exact);
    return 0;
}
