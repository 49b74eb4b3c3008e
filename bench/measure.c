/*
 * See measure.h.
 */
#include "bench/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t measure_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double measure_median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), by_value);
    return values[count / 2];
}

void measure_figure(const char *figure, const char *set, const char *unit, double ours,
                    const char *peer, double theirs, double goal)
{
    printf("{\"figure\": \"%s\", \"set\": \"%s\", \"unit\": \"%s\", \"ours\": %.6g, "
           "\"peer\": \"%s\", \"theirs\": %.6g, \"goal\": %.6g}\n",
           figure, set, unit, ours, peer, theirs, goal);
    fflush(stdout);
}

void measure_skip(const char *figure, const char *why)
{
    printf("{\"figure\": \"%s\", \"skipped\": \"%s\"}\n", figure, why);
    fflush(stdout);
}

bool measure_load(struct pages *pages, const char *path, uint32_t max)
{
    memset(pages, 0, sizeof(*pages));
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    snprintf(pages->name, sizeof(pages->name), "%.*s", (int)strcspn(name, "."), name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return false;
    }
    fseek(file, 0, SEEK_END);
    uint64_t total = (uint64_t)ftell(file) / 4096;
    pages->page = malloc((size_t)max * 4096);
    for (uint32_t i = 0; i < max && i < total; i++) {
        uint64_t at = total > max ? total * i / max : i;
        fseek(file, (long)(at * 4096), SEEK_SET);
        if (fread(pages->page[pages->count], 4096, 1, file) == 1)
            pages->count +=
                memcmp(pages->page[pages->count], pages->page[pages->count] + 8, 4096 - 8) != 0;
    }
    fclose(file);
    return pages->count > 0;
}

void measure_unload(struct pages *pages)
{
    free(pages->page);
}

bool measure_sysfs_read(const char *path, char *text, unsigned size)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    bool good = fgets(text, (int)size, file) != NULL;
    fclose(file);
    return good;
}

bool measure_sysfs_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    bool good = fputs(text, file) >= 0;
    return fclose(file) == 0 && good;
}
