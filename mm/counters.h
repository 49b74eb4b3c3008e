/*
 * Every counter of the memory core: name, kind, unit, meaning. One list; the
 * telemetry's schema, its documentation (docs/telemetry.md, between the
 * "counters" markers) and the enums below are made from it.
 *
 * Kind G: gauge, the value now. Kind C: counter, only grows.
 */
#ifndef MM_COUNTERS_H
#define MM_COUNTERS_H

/* X(name, kind, unit, meaning) */
#define MM_HOST_COUNTERS(X)                                                                        \
    X(frames_managed, G, pages, "host memory the core manages")                                    \
    X(frames_free, G, pages, "free frames")                                                        \
    X(frames_private, G, pages, "frames with one guest page")                                      \
    X(frames_shared, G, pages, "frames with a merged page")                                        \
    X(frames_pool, G, pages, "frames of the compressed pool")                                      \
    X(frames_table, G, pages, "frames of nested tables")                                           \
    X(large, G, mappings, "2 MiB mappings of guest memory")                                        \
    X(large_made, C, mappings, "made at the first touch of their 512 pages")                       \
    X(large_split, C, mappings, "cut into pages")                                                  \
    X(large_coalesced, C, mappings, "made again of 512 private pages")                             \
    X(large_blocks, C, blocks, "512 neighbouring frames made free for a range that waited")        \
    X(large_moved, C, pages, "private pages that went to another frame for that")                  \
    X(large_given_up, C, blocks, "not made free: a page in it stayed, or nobody waited any more")  \
    X(min_free, G, pages, "free frames below which the state is clear")                            \
    X(metadata_frames, G, bytes, "frame descriptors")                                              \
    X(metadata_share, G, bytes, "share index")                                                     \
    X(metadata_pool, G, bytes, "pool books outside of pool frames")                                \
    X(metadata_swap, G, bytes, "swap books")                                                       \
    X(metadata_other, G, bytes,                                                                    \
      "in-flight records, counted objects, VM records, fixed buffers of codec and swap")           \
    X(metadata_ppm, G, ppm, "descriptors, share index, pool and swap books of managed memory")     \
    X(table_ppm, G, ppm, "nested tables of the guests' configured memory")                         \
    X(pool_objects, G, objects, "objects in the pool")                                             \
    X(pool_bytes, G, bytes, "their LZ4 blocks, without headers")                                   \
    X(pool_refused, C, pages, "pages that did not compress below the limit")                       \
    X(pool_compacted, C, objects, "objects moved by compaction")                                   \
    X(pool_written_back, C, objects, "objects sent to swap as compressed")                         \
    X(swap_online, G, flag, "1 while there is a swap area")                                        \
    X(swap_sectors, G, sectors, "size of the swap area")                                           \
    X(swap_sectors_used, G, sectors, "sectors in use")                                             \
    X(swap_sectors_bad, G, sectors, "sectors set aside after write errors")                        \
    X(swap_slots, G, slots, "slots in use")                                                        \
    X(swap_reads, C, requests, "read requests to the disk")                                        \
    X(swap_writes, C, requests, "write requests to the disk")                                      \
    X(swap_pages_read, C, pages, "pages read in")                                                  \
    X(swap_pages_written, C, pages, "pages written out")                                           \
    X(swap_read_errors, C, requests, "reads the device failed")                                    \
    X(swap_write_errors, C, requests, "writes the device failed")                                  \
    X(swap_retries, C, requests, "reads tried again")                                              \
    X(swap_tampered, C, pages, "pages whose tag did not fit")                                      \
    X(swap_clean, G, pages, "pages in RAM that keep their slot: unchanged since they were read")   \
    X(swap_unwritten, C, pages, "pages swapped out without a write, into the slot they had kept")  \
    X(ahead_issued, C, pages, "pages read ahead from swap, beside one that was asked for")         \
    X(ahead_hit, C, pages, "of these, pages that were used")                                       \
    X(ahead_wasted, C, pages, "of these, pages that failed, or left again unused")                 \
    X(ahead_reads, C, requests, "of the read requests, those that read ahead")                     \
    X(net_share, G, pages, "freed_share minus taken_share; not below 0")                           \
    X(net_balloon, G, pages, "freed_balloon minus taken_balloon; not below 0")                     \
    X(net_compress, G, pages, "freed_compress minus taken_compress and frames_pool; not below 0")  \
    X(net_swap, G, pages, "freed_swap minus taken_swap; not below 0")                              \
    X(peak_net_share, G, pages, "highest net_share so far")                                        \
    X(peak_net_balloon, G, pages, "highest net_balloon so far")                                    \
    X(peak_net_compress, G, pages, "highest net_compress so far")                                  \
    X(peak_net_swap, G, pages, "highest net_swap so far")                                          \
    X(freed_share, C, pages, "frames freed by sharing, gross")                                     \
    X(freed_zero, C, pages, "frames freed because the page was zero or one word repeated")         \
    X(freed_balloon, C, pages, "frames freed by inflating")                                        \
    X(freed_compress, C, pages, "frames freed by moving pages into the pool")                      \
    X(freed_swap, C, pages, "frames freed by moving pages or pool objects to the disk")            \
    X(taken_share, C, pages, "frames taken again by writes to shared pages")                       \
    X(taken_balloon, C, pages, "pages deflated or touched that had freed a frame when inflated")   \
    X(taken_compress, C, pages, "pages that left the pool: touched, or written back to swap")      \
    X(taken_swap, C, pages, "frames taken again by pages read in")                                 \
    X(share_scanned, C, pages, "private pages the sharing scan looked at")                         \
    X(share_merged, C, pages, "pages merged")                                                      \
    X(share_pairs, C, pages, "of these, pages whose partner was the one looked at")                \
    X(share_uniform, C, pages, "pages the sharing scan found zero or one word repeated")           \
    X(share_first_look, C, pages, "not merged yet: nothing known about the page's content before") \
    X(share_volatile, C, pages, "not merged: content changed since the last look")                 \
    X(share_unmatched, C, pages, "not merged: no page with the same content")                      \
    X(share_collision, C, pages, "not merged: same hash, different content")                       \
    X(share_walk_limit, C, pages, "not merged: bucket too long")                                   \
    X(share_no_frame, C, pages, "not merged: no frame in the share region")                        \
    X(share_large, C, mappings, "not looked at: a 2 MiB mapping while memory is plenty")           \
    X(share_busy, C, pages, "not merged: pinned or protected")                                     \
    X(share_gone, C, pages, "not merged: the equal page had changed or gone meanwhile")            \
    X(share_clean, C, pages, "not merged: no equal page known; keeps its clean slot instead")      \
    X(share_fill_full, C, pages, "not merged: uniform, but its VM's table of words is full")       \
    X(share_exposure, G, pages, "frames needed if every shared page were written now")             \
    X(waits, C, waits, "times a vCPU had to wait for memory")                                      \
    X(policy_corrected, C, answers, "targets a policy gave outside of reservation and limit")      \
    X(tables_collapsed, C, pages, "tables freed because their range became uniform")               \
    X(flushes, C, flushes, "times translations of a VM were flushed")                              \
    X(victims, C, VMs, "VMs stopped because no tier had room")

#define MM_VM_COUNTERS(X)                                                                          \
    X(configured, G, pages, "guest memory")                                                        \
    X(reserve, G, pages, "reservation")                                                            \
    X(limit, G, pages, "limit")                                                                    \
    X(target, G, pages, "what the policy wants it to have in RAM")                                 \
    X(resident, G, pages, "charged to it: private, its part of shared, pool frames")               \
    X(private, G, pages, "home PRIVATE")                                                           \
    X(shared, G, pages, "home SHARED")                                                             \
    X(zero, G, pages, "home ZERO")                                                                 \
    X(fill, G, pages, "home FILL")                                                                 \
    X(pool, G, pages, "home POOL")                                                                 \
    X(pool_bytes, G, bytes, "LZ4 blocks of its own in the pool")                                   \
    X(swap, G, pages, "home SWAP")                                                                 \
    X(counted, G, pages, "home COUNTED: merged content, paged out once for all its sharers")       \
    X(busy, G, pages, "homes BUSY_OUT and BUSY_IN")                                                \
    X(balloon, G, pages, "home BALLOON")                                                           \
    X(balloon_target, G, pages, "what the balloon should hold")                                    \
    X(balloon_actual, G, pages, "what the driver says it holds")                                   \
    X(balloon_state, G, state, "driver: 0 absent 1 idle 2 working 3 stuck 4 failed")               \
    X(tables, G, pages, "frames of its nested table")                                              \
    X(large, G, mappings, "2 MiB mappings of its memory")                                          \
    X(large_made, C, mappings, "made at the first touch of their 512 pages")                       \
    X(large_split, C, mappings, "cut into pages")                                                  \
    X(large_coalesced, C, mappings, "made again of 512 private pages")                             \
    X(active, G, pages, "estimated working set: pages with the accessed bit set in the last scan") \
    X(faults_zero, C, faults, "first touch of a zero page")                                        \
    X(faults_fill, C, faults, "touch of a fill page")                                              \
    X(faults_cow, C, faults, "write to a shared page: copied")                                     \
    X(faults_takeback, C, faults, "write to a shared page as its last sharer")                     \
    X(faults_pool, C, faults, "page brought back from the pool")                                   \
    X(faults_swap, C, faults, "page brought back from swap")                                       \
    X(faults_counted, C, faults, "page brought back from merged content that was paged out")       \
    X(faults_balloon, C, faults, "touch of a page it had given up")                                \
    X(faults_table, C, faults, "spurious: the mapping was there already")                          \
    X(out_pool, C, pages, "pages moved into the pool")                                             \
    X(out_swap, C, pages, "pages swapped out")                                                     \
    X(out_counted, C, pages, "shared pages paged out")                                             \
    X(out_shared, C, pages, "pages merged")                                                        \
    X(out_uniform, C, pages, "pages found zero or uniform")                                        \
    X(inflated, C, pages, "pages given up to the balloon")                                         \
    X(deflated, C, pages, "pages taken back from the balloon")                                     \
    X(balloon_done_already, C, entries, "balloon entries without effect")                          \
    X(balloon_out_of_range, C, entries, "balloon entries beyond the guest's memory")               \
    X(balloon_pinned, C, entries, "balloon entries naming pages the device uses")                  \
    X(ahead_window, G, pages, "how many pages are read ahead for it at once")                      \
    X(ahead_issued, C, pages, "pages read ahead from swap")                                        \
    X(ahead_hit, C, pages, "of these, pages it used")                                              \
    X(ahead_wasted, C, pages, "of these, pages that failed, or left again unused")                 \
    X(stall_page_in, C, us, "time its vCPUs waited for swap reads")                                \
    X(stall_page_out, C, us, "time its vCPUs waited for pages on their way out")                   \
    X(stall_frame, C, us, "time its vCPUs waited for a free frame")                                \
    X(stall_held, C, us, "time it was held for being above its target in state low")

#define MM_COUNTER_ENUM_HOST(name, kind, unit, meaning) MM_HOST_##name,
#define MM_COUNTER_ENUM_VM(name, kind, unit, meaning)   MM_VM_##name,
enum mm_host_counter { MM_HOST_COUNTERS(MM_COUNTER_ENUM_HOST) MM_HOST_COUNTER_COUNT };
enum mm_vm_counter { MM_VM_COUNTERS(MM_COUNTER_ENUM_VM) MM_VM_COUNTER_COUNT };

#endif
