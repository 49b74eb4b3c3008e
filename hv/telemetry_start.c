/*
 * The start record: what a run was made of. Whoever has the record and the image can
 * run it again.
 */
#include "drivers/clock.h"
#include "hv/boot_info.h"
#include "hv/cpu.h"
#include "hv/mitigations.h"
#include "hv/telemetry_record.h"
#include "hv/version.h"
#include "hv/vm.h"
#include "hv/x86.h"
#include "lib/string.h"

#define SCHEMA 1u

static void put_text_of_cpu(const char *key, const uint32_t *words, unsigned count)
{
    char text[49];
    memcpy(text, words, count * sizeof(words[0]));
    text[count * sizeof(words[0])] = 0;
    const char *from = text;
    while (*from == ' ')
        from++;
    json_string(&record_json, key, from);
}

static void put_cpu_names(void)
{
    uint32_t words[12];
    struct x86_cpuid c = x86_cpuid(0, 0);
    words[0] = c.ebx, words[1] = c.edx, words[2] = c.ecx;
    put_text_of_cpu("vendor", words, 3);
    for (unsigned i = 0; i < 3; i++) {
        c = x86_cpuid(0x80000002u + i, 0);
        memcpy(words + 4 * i, &c, sizeof(c));
    }
    put_text_of_cpu("cpu", words, 12);
}

static void put_mitigations(void)
{
    const struct mitigation_facts *f = &mitigation_facts;
    json_object(&record_json, "mitigations");
    json_string(&record_json, "mode", mitigations.automatic ? "auto" : "off");
    json_array(&record_json, "on");
    for (unsigned i = 0; i < MITIGATION_COUNT; i++)
        if (mitigations.on[i])
            json_string(&record_json, NULL, mitigation_name((enum mitigation)i));
    json_array_end(&record_json);
    for (unsigned i = 0; i < LEAK_COUNT; i++)
        json_string(&record_json, mitigation_leak_name((enum leak)i),
                    mitigation_state_name((enum leak_state)mitigations.leaks[i]));
    json_number(&record_json, "features_7_edx", f->leaf_7_edx);
    json_number(&record_json, "arch_capabilities", f->arch_capabilities);
    json_number(&record_json, "features_80000008_ebx", f->leaf_80000008_ebx);
    json_number(&record_json, "features_80000021_eax", f->leaf_80000021_eax);
    json_number(&record_json, "threads", f->threads);
    json_object_end(&record_json);
}

static void put_machine(uint64_t memory)
{
    json_object(&record_json, "machine");
    put_cpu_names();
    json_string(&record_json, "virtualization", vcpu_ops->name);
    json_array(&record_json, "features");
    for (unsigned i = 0; i < vcpu_features.count; i++)
        json_string(&record_json, NULL, vcpu_features.names[i]);
    json_array_end(&record_json);
    struct x86_cpuid c = x86_cpuid(1, 0);
    json_number(&record_json, "signature", c.eax);
    json_number(&record_json, "features_1_ecx", c.ecx);
    json_number(&record_json, "features_1_edx", c.edx);
    json_number(&record_json, "features_7_ebx", x86_cpuid(0, 0).eax >= 7 ? x86_cpuid(7, 0).ebx : 0);
    json_number(&record_json, "physical_bits", x86_cpuid(0x80000008u, 0).eax & 0xff);
    json_number(&record_json, "tsc_hz", clock_tsc_hz());
    json_number(&record_json, "lapic_hz", clock_lapic_hz());
    json_number(&record_json, "memory", memory);
    json_number(&record_json, "cpus", cpu_count());
    json_object_end(&record_json);
}

static void put_vm_start(const struct vm *vm)
{
    const struct config_vm *c = vm->config;
    json_object(&record_json, NULL);
    json_number(&record_json, "id", vm->index);
    json_string(&record_json, "name", c->name);
    json_number(&record_json, "memory", c->memory >> PAGE_SHIFT);
    json_number(&record_json, "reserve", c->reserve >> PAGE_SHIFT);
    json_number(&record_json, "limit", c->limit >> PAGE_SHIFT);
    json_number(&record_json, "vcpus", c->vcpus);
    json_number(&record_json, "shares", c->shares);
    json_number(&record_json, "cpu_shares", c->cpu_shares);
    json_string(&record_json, "group", c->share_group);
    json_bool(&record_json, "balloon", c->balloon);
    json_bool(&record_json, "started", vm_has_started(vm));
    json_string(&record_json, "reason", vm_has_started(vm) ? "" : vm->reason);
    json_object_end(&record_json);
}

static void put_host_config(const struct config_host *host)
{
    json_bool(&record_json, "keys_secret", !host->seeded);
    if (host->seeded)
        json_number(&record_json, "seed", host->seed);
    else
        json_null(&record_json, "seed");
    json_string(&record_json, "policy", host->policy);
    json_array(&record_json, "tiers");
    for (unsigned i = 0; i < MM_TIER_COUNT; i++)
        if (host->tiers[i])
            json_string(&record_json, NULL, mm_tier_name((enum mm_tier)i));
    json_array_end(&record_json);
    json_bool(&record_json, "large_pages", host->large_pages);
    json_number(&record_json, "swap_read_ahead", host->swap_read_ahead);
    json_number(&record_json, "sample_ms", host->sample_ms);
}

void record_put_start(const struct boot_info *boot, uint64_t memory)
{
    record_begin("start");
    json_number(&record_json, "schema", SCHEMA);
    json_string(&record_json, "version", BALLAST_VERSION);
    json_hex(&record_json, "config_hash", boot->config.hash);
    put_host_config(&boot->config.host);
    put_machine(memory);
    put_mitigations();
    json_array(&record_json, "vms");
    for (unsigned i = 0; i < vm_table_count; i++)
        put_vm_start(&vm_table[i]);
    json_array_end(&record_json);
    record_end();
}
