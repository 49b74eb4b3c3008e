/*
 * The machine below the core for measurements (bench/machine.c).
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include "mm/frame.h"

/* Memory of so many frames, for frame_init() or mm_init(). */
/* So many frames of memory, of which only what is written takes any. */
struct frame_region machine_start_sparse(uint64_t frames);
/* From here on all guests' frames are one and the same page: for hosts far larger
 * than this one, where only books, tables and the pool have memory of their own. */
void machine_share_content(void *page);

struct frame_region machine_start(uint32_t frames);

/* A disk in memory with Ballast's signature; device->poll() moves it along. */
struct block_device *machine_disk(uint64_t bytes);

extern uint64_t machine_flushes;

#endif
