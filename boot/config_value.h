/*
 * Values of a configuration file: one function for each way a value is written.
 * All take text that config.c has already reduced to printable ASCII without
 * spaces at its ends.
 */
#ifndef BOOT_CONFIG_VALUE_H
#define BOOT_CONFIG_VALUE_H

#include "boot/config_keys.h"

/* Stores the value of key in its field of section (a struct config_host or a
 * struct config_vm). NULL, or what is wrong with it in a few words. */
const char *config_value_set(const struct config_key *key, const char *text, void *section);

#endif
