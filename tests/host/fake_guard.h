/*
 * Memory between two pages that fault: an access one byte outside ends the test.
 */
#ifndef TESTS_HOST_FAKE_GUARD_H
#define TESTS_HOST_FAKE_GUARD_H

#include <stddef.h>

/* size bytes that end exactly before an inaccessible page. */
void *fake_guard_end(size_t size);
/* size bytes that begin exactly after an inaccessible page. */
void *fake_guard_start(size_t size);

#endif
