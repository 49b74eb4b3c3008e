/*
 * How many VMREADs and VMWRITEs the way from an exit to the next entry takes, by
 * kind of exit: only in the build of `make bench-exits`, which defines VMX_COUNT
 * (bench/bench.mk); nothing elsewhere. For one CPU.
 */
#ifndef HV_VMX_COUNT_H
#define HV_VMX_COUNT_H

#ifdef VMX_COUNT
extern unsigned long vmx_count_reads, vmx_count_writes;
#define VMX_COUNT_READ()  (vmx_count_reads++)
#define VMX_COUNT_WRITE() (vmx_count_writes++)
/* At an entry: what was counted since the last one belongs to that kind. */
void vmx_count_entry(unsigned kind);
void vmx_count_tell(void);
#else
#define VMX_COUNT_READ()      ((void)0)
#define VMX_COUNT_WRITE()     ((void)0)
#define vmx_count_entry(kind) ((void)0)
#define vmx_count_tell()      ((void)0)
#endif

#endif
