/*
 * What the measurements share: time, medians, one JSON line a figure.
 *
 * Times are processor time of the calling thread: what other programs take of
 * the machine does not count, though it still disturbs caches. Everything is
 * measured in rounds that take turns, and the median of the rounds counts.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#define MEASURE_ROUNDS_MAX 101u

uint64_t measure_now_ns(void);
double measure_median(double *values, unsigned count);

/* One figure: ours beside a peer's. goal: the ratio ours / theirs (or the value
 * itself where theirs is 0) that it should not exceed; 0: none; below 0: it should
 * not fall short of -goal. */
void measure_figure(const char *figure, const char *set, const char *unit, double ours,
                    const char *peer, double theirs, double goal);
/* A figure that is not there, and why. */
void measure_skip(const char *figure, const char *why);

/* Pages of a file, at most max, evenly spread. Returns how many. */
struct pages {
    char name[64];
    uint32_t count;
    uint8_t (*page)[4096];
};
bool measure_load(struct pages *pages, const char *path, uint32_t max);
void measure_unload(struct pages *pages);

/* Small files of sysfs: one number or line. False: not there or not allowed. */
bool measure_sysfs_read(const char *path, char *text, unsigned size);
bool measure_sysfs_write(const char *path, const char *text);

#endif
