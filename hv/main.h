/* Called by hv/entry.asm; info lies in the direct map. */
#ifndef HV_MAIN_H
#define HV_MAIN_H

struct boot_info;

_Noreturn void main(struct boot_info *info);

#endif
