/*
 * checkconf NAME < FILE: says whether a configuration is good, with the parser
 * that the loader has. NAME is what messages call the file. Exit status 1, and
 * one line "NAME:LINE: reason", when it is not.
 */
#include <stdio.h>
#include <stdlib.h>

#include "hv/config.h"

#define TEXT_MAX (1u << 20)

static struct config config;
static char text[TEXT_MAX];

int main(int argc, char **argv)
{
    char message[512];
    if (argc != 2) {
        fprintf(stderr, "usage: checkconf NAME < FILE\n");
        return 2;
    }
    size_t size = fread(text, 1, sizeof(text), stdin);
    if (config_parse(&config, argv[1], text, size, message, sizeof(message)))
        return EXIT_SUCCESS;
    fprintf(stderr, "%s\n", message);
    return EXIT_FAILURE;
}
