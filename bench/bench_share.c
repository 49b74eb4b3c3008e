/*
 * Page sharing beside KSM of the running kernel: memory of which a half is there
 * twice, scanned to the fixed point, and then once more with nothing to find.
 *
 *   bench_share FILE ...
 *
 * Ours is the scan of the core over one VM, without dirty bits, so that it needs
 * two looks as KSM does; each flush is charged at FLUSH_NS beside the processor
 * time. KSM's time is that of its thread. KSM's settings are restored.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/machine.h"
#include "bench/measure.h"
#include "mm/share.h"
#include "mm/mm.h"

#define PAGES     16384u /* at most; a half of them twice */
#define FLUSH_NS  1000.0
#define KSM_LOOKS 3  /* rounds of KSM until it has merged */
#define LOOKS     4u /* rounds of the scan until nothing more is found */

static uint8_t (*pages)[PAGE_SIZE];
static uint32_t distinct, count;

/* Pages of all files; the second half repeats the first in another order. */
static void load(int files, char **paths)
{
    pages = mmap(NULL, (size_t)PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < files; i++) {
        struct pages set;
        if (!measure_load(&set, paths[i], PAGES / 2 / (uint32_t)files))
            exit(1);
        memcpy(pages[distinct], set.page, (size_t)set.count * PAGE_SIZE);
        distinct += set.count;
        measure_unload(&set);
    }
    /* What the files repeat among themselves is made different. */
    for (uint32_t i = 0; i < distinct; i++)
        memcpy(pages[i] + 2048, &i, sizeof(i));
    count = distinct * 2;
    for (uint32_t i = 0; i < distinct; i++)
        memcpy(pages[distinct + i], pages[distinct - 1 - i], PAGE_SIZE);
}

/* Frames that merging can free: every page is there twice. */
static uint32_t expected(void)
{
    return distinct;
}

struct result {
    double merge_ns, steady_ns, found; /* a page; a page; part of the duplicates */
};

static struct mm_vm *make_vm(void)
{
    struct frame_region region = machine_start(PAGES * 2);
    struct mm_config config;
    mm_config_default(&config);
    config.accessed_dirty = false;
    memset(config.tiers, 0, sizeof(config.tiers));
    config.tiers[MM_TIER_SHARE] = true;
    struct mm_vm_config vm_config = { .name = "one",
                                      .pages = count,
                                      .limit_pages = count,
                                      .shares = 1000,
                                      .salt = 1,
                                      .vcpu_count = 1 };
    struct mm_admission_sum sum;
    struct mm_vm *vm;
    if (!mm_init(&config, &region, 1) || mm_vm_create(&vm_config, &vm, &sum) != MM_ADMIT_OK)
        exit(1);
    for (uint32_t i = 0; i < count; i++) {
        void *page;
        if (mm_pin(vm, NULL, gfn(i), MM_WRITE, &page) != MM_DONE)
            exit(1);
        memcpy(page, pages[i], PAGE_SIZE);
        mm_unpin(vm, gfn(i));
    }
    return vm;
}

static struct result run_ours(void)
{
    struct result result;
    make_vm();
    uint64_t flushes = machine_flushes, start = measure_now_ns();
    uint32_t freed = 0;
    for (uint32_t look = 0; look < LOOKS; look++)
        for (uint32_t done = 0; done < count; done += 256)
            freed += share_step(256);
    double spent = (double)(measure_now_ns() - start);
    double flushed = (double)(machine_flushes - flushes) * FLUSH_NS;
    start = measure_now_ns();
    for (uint32_t done = 0; done < count; done += 256)
        share_step(256);
    result.steady_ns = (double)(measure_now_ns() - start) / count;
    /* LOOKS - 2 of the looks found nothing: they are not part of the merge. */
    result.merge_ns = (spent - result.steady_ns * count * (LOOKS - 2)) / count;
    result.found = (double)freed / expected();
    measure_figure("flushes of the merge at 1000 ns, a page", "", "ns", flushed / count, "", 0, 0);
    return result;
}

/* ---- KSM ------------------------------------------------------------------------- */

#define KSM "/sys/kernel/mm/ksm/"
static const char *const settings[] = { KSM "run", KSM "pages_to_scan", KSM "sleep_millisecs",
                                        KSM "smart_scan" };
static char kept[4][32];

static double number(const char *path)
{
    char text[64] = "";
    measure_sysfs_read(path, text, sizeof(text));
    return atof(text);
}

/* Processor time of the kernel's thread, ns; negative: not found. */
static double ksm_time(void)
{
    DIR *proc = opendir("/proc");
    double time = -1;
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
        char path[300], text[128] = "";
        snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
        if (!measure_sysfs_read(path, text, sizeof(text)) || strcmp(text, "ksmd\n") != 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%s/schedstat", entry->d_name);
        if (measure_sysfs_read(path, text, sizeof(text)))
            time = atof(text);
    }
    if (proc)
        closedir(proc);
    return time;
}

static void wait_scans(double scans)
{
    double end = number(KSM "full_scans") + scans;
    for (int i = 0; i < 6000 && number(KSM "full_scans") < end; i++)
        usleep(10000);
}

static const char *run_ksm(struct result *result)
{
    if (ksm_time() < 0 || !measure_sysfs_write(KSM "run", "0\n"))
        return "no KSM here, or not root";
    if (number(KSM "pages_sharing") > 0)
        return "KSM is in use here";
    for (unsigned i = 1; i < 4; i++)
        measure_sysfs_read(settings[i], kept[i], sizeof(kept[i]));
    measure_sysfs_write(KSM "pages_to_scan", "2000\n");
    measure_sysfs_write(KSM "sleep_millisecs", "1\n");
    measure_sysfs_write(KSM "smart_scan", "0\n");
    if (madvise(pages, (size_t)count * PAGE_SIZE, MADV_MERGEABLE) != 0)
        return "madvise refused";
    /* Memory of other programs may be mergeable too: time is taken a page scanned,
     * and what was merged from this process's own count, both copies of each. */
    double scanned[3] = { number(KSM "pages_scanned") }, time[3] = { ksm_time() };
    measure_sysfs_write(KSM "run", "1\n");
    for (int i = 1; i < 3; i++) {
        wait_scans(KSM_LOOKS);
        scanned[i] = number(KSM "pages_scanned");
        time[i] = ksm_time();
    }
    result->steady_ns = (time[2] - time[1]) / (scanned[2] - scanned[1]);
    result->merge_ns = (time[1] - time[0]) / (scanned[1] - scanned[0]) * KSM_LOOKS;
    result->found = number("/proc/self/ksm_merging_pages") / 2 / expected();
    measure_sysfs_write(KSM "run", "2\n"); /* unmerge all */
    for (unsigned i = 0; i < 4; i++)
        measure_sysfs_write(settings[i], kept[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "bench_share FILE ...\n");
        return 2;
    }
    load(argc - 1, argv + 1);
    measure_sysfs_read(settings[0], kept[0], sizeof(kept[0]));
    struct result ours = run_ours(), ksm = { 0 };
    const char *why = run_ksm(&ksm);
    if (why)
        measure_skip("KSM", why);
    const char *peer = why ? "" : "KSM";
    measure_figure("merge to the fixed point, a page", "half twice", "ns", ours.merge_ns, peer,
                   ksm.merge_ns, 0.2);
    measure_figure("scan with nothing to find, a page", "half twice", "ns", ours.steady_ns, peer,
                   ksm.steady_ns, 0.2);
    measure_figure("duplicates found", "half twice", "", ours.found, peer, ksm.found, 0);
    measure_figure("metadata of frames and index, a frame", "half twice", "B",
                   (double)(frame_metadata_bytes() + share_metadata_bytes()) / frame_total_count(),
                   peer, 64, 0);
    return 0;
}
