/*
 * Ballast's memory core as a library: the one header a program includes.
 *
 *   make lib
 *   cc -Ibuild/include/ballast program.c -Lbuild -lballast-mm
 *
 * It is the very code the hypervisor runs, with no Linux in it. The program is
 * the machine below the core: it brings the memory, the clock, the randomness
 * and (for swap) the disk, and it plays the guests. bench/example_lib.c does all
 * of that in one file.
 *
 *  1. Define what the core asks for (mm/machine.h): machine_frame_map(),
 *     machine_flush_vm(), machine_time_ns(), machine_entropy(), machine_cpu(),
 *     machine_vcpu_wake(), machine_vm_stop(), machine_dma_alloc(),
 *     machine_event(); and panic() and log_line() (lib/assert.h, lib/log.h).
 *     None of them may call back into the core.
 *  2. mm_config_default(), then mm_init() with the regions of host memory. Frame
 *     numbers are yours to choose; the core reaches content through
 *     machine_frame_map() alone, where frames that are neighbours in one region
 *     must be neighbours in content too.
 *  3. mm_swap_attach() when there is a disk with Ballast's signature.
 *  4. mm_vm_create() for each VM, mm_vcpu_init() for each of its vCPUs.
 *  5. A guest that touches a page walks the nested table at mm_vm_root() (EPT
 *     format, mm/entry.h) and calls mm_fault() where it gets stuck; a simulator
 *     without tables of its own uses mm_pin() and mm_unpin() for every access.
 *     MM_WAIT asks for mm_step() and another try.
 *  6. Call mm_step() again and again for the core's own work and mm_tick() a
 *     hundred times a (simulated) second. Nothing depends on real time.
 *  7. mm_host_counters(), mm_vm_counters() (mm/counters.h) say what happened and
 *     why; mm_audit() checks every book.
 *
 * There is one core per process; mm_init() starts afresh and forgets all of the
 * former. Functions may be called by several threads as mm/mm.h says.
 *
 * Parts of the core stand on their own below: the page codec (mm/codec.h), the
 * frame allocator (mm/frame.h), the compressed pool (mm/pool.h), the keyed hash
 * (mm/hash.h). A program that uses the pool alone calls frame_init(), hash_init()
 * and pool_init() instead of mm_init().
 *
 * Symbols other than those of these headers are not visible. The shared library
 * gives each a version; an incompatible change gives it a new one.
 */
#ifndef MM_BALLAST_MM_H
#define MM_BALLAST_MM_H

#include "lib/assert.h"
#include "lib/log.h"
#include "mm/block.h"
#include "mm/codec.h"
#include "mm/entry.h"
#include "mm/frame.h"
#include "mm/hash.h"
#include "mm/machine.h"
#include "mm/mm.h"
#include "mm/pool.h"
#include "mm/swap_format.h"

#endif
