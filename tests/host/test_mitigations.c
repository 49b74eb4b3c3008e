/* The decision about mitigations, processor by processor (hv/mitigations.c). */
#include "tests/host/support.h"

#include <stdio.h>

#include "hv/mitigations.c"

/* What the capability bits of some processors say, and what has to follow. */
struct row {
    const char *name;
    struct mitigation_facts facts;
    const char *on;   /* names, in the order of enum mitigation */
    const char *open; /* leaks without means */
};

#define BITS_IBRS ((uint32_t)(D7_IBRS | D7_STIBP))

static const struct row rows[] = {
    { "first generation, no microcode at all",
      { .forwards_faults = true, .threads = 1 },
      "l1d_fill return_stuff",
      "mds mmio_stale_data spectre_v2" },
    { "Haswell with microcode, two threads",
      { .forwards_faults = true,
        .threads = 2,
        .leaf_7_edx = BITS_IBRS | (uint32_t)(D7_MD_CLEAR | D7_L1D_FLUSH),
        .leaf_7_ebx = (uint32_t)B7_RTM },
      "l1d_flush verw ibpb ibrs_switch return_stuff siblings_apart",
      "" },
    { "Cascade Lake",
      { .forwards_faults = true,
        .threads = 2,
        .leaf_7_edx = BITS_IBRS | (uint32_t)(D7_MD_CLEAR | D7_L1D_FLUSH),
        .leaf_7_ebx = (uint32_t)B7_RTM,
        .arch_capabilities =
            ARCH_RDCL_NO | ARCH_IBRS_ALL | ARCH_SKIP_L1D | ARCH_MDS_NO | ARCH_FB_CLEAR },
      "verw ibpb ibrs stibp return_one siblings_apart",
      "" },
    { "Sapphire Rapids, hyper-threading off",
      { .forwards_faults = true,
        .threads = 1,
        .leaf_7_edx = BITS_IBRS | (uint32_t)(D7_MD_CLEAR | D7_L1D_FLUSH),
        .leaf_7_2_edx = (uint32_t)(D72_BHI_CTRL | D72_RRSBA_CTRL),
        .arch_capabilities = ARCH_RDCL_NO | ARCH_IBRS_ALL | ARCH_SKIP_L1D | ARCH_MDS_NO |
                             ARCH_TAA_NO | ARCH_MMIO_NO | ARCH_RRSBA | ARCH_PBRSB_NO },
      "ibpb ibrs bhi_dis_s rrsba_dis_s",
      "" },
    { "Gracemont: registers leak",
      { .forwards_faults = true,
        .threads = 1,
        .leaf_7_edx = BITS_IBRS,
        .arch_capabilities = ARCH_RDCL_NO | ARCH_IBRS_ALL | ARCH_SKIP_L1D | ARCH_MDS_NO |
                             ARCH_TAA_NO | ARCH_MMIO_NO | ARCH_BHI_NO | ARCH_PBRSB_NO |
                             ARCH_RFDS_CLEAR },
      "verw ibpb ibrs",
      "" },
    { "a guest of a hypervisor that flushes L1D itself",
      { .forwards_faults = true,
        .threads = 1,
        .leaf_7_edx = BITS_IBRS | (uint32_t)D7_MD_CLEAR,
        .arch_capabilities = ARCH_SKIP_L1D },
      "verw ibpb ibrs_switch return_stuff",
      "" },
    { "Zen 1 without microcode",
      { .trains_returns = true, .threads = 2 },
      "return_stuff siblings_apart",
      "spectre_v2 btc srso" },
    { "Zen 2",
      { .trains_returns = true,
        .threads = 2,
        .leaf_80000008_ebx = (uint32_t)(B8_IBPB | B8_IBRS | B8_STIBP) },
      "ibpb ibpb_exit ibrs_switch return_stuff siblings_apart",
      "" },
    { "Zen 4",
      { .trains_returns = true,
        .threads = 2,
        .leaf_80000008_ebx = (uint32_t)(B8_IBPB | B8_IBRS | B8_STIBP | B8_IBRS_ALWAYS | B8_BTC_NO),
        .leaf_80000021_eax = (uint32_t)(A21_AUTO_IBRS | A21_IBPB_BRTYPE) },
      "ibpb ibpb_exit auto_ibrs",
      "" },
    { "Zen 5",
      { .trains_returns = true,
        .threads = 1,
        .leaf_80000008_ebx = (uint32_t)(B8_IBPB | B8_IBRS | B8_BTC_NO),
        .leaf_80000021_eax = (uint32_t)(A21_AUTO_IBRS | A21_SRSO_NO) },
      "ibpb auto_ibrs",
      "" },
};

static void add(char *text, size_t size, const char *word)
{
    size_t length = strlen(text);
    snprintf(text + length, size - length, "%s%s", length ? " " : "", word);
}

static void every_processor_gets_what_its_bits_ask_for(void **state)
{
    (void)state;
    for (unsigned r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        struct mitigations m;
        char on[512] = "", open[512] = "";
        mitigations_decide(&m, &rows[r].facts, false);
        for (unsigned i = 0; i < MITIGATION_COUNT; i++)
            if (m.on[i])
                add(on, sizeof(on), mitigation_name((enum mitigation)i));
        for (unsigned i = 0; i < LEAK_COUNT; i++)
            if (m.leaks[i] == LEAK_OPEN)
                add(open, sizeof(open), mitigation_leak_name((enum leak)i));
        if (strcmp(on, rows[r].on) || strcmp(open, rows[r].open))
            print_message("%s: on `%s`, open `%s`\n", rows[r].name, on, open);
        assert_string_equal(on, rows[r].on);
        assert_string_equal(open, rows[r].open);
    }
}

/* Whatever the bits are. */
static bool is_sound(const struct mitigations *m, const struct mitigation_facts *f)
{
    bool spec_ctrl = (f->leaf_7_edx & D7_IBRS) || (f->leaf_80000008_ebx & B8_IBRS);
    if ((m->spec_ctrl != 0) > spec_ctrl)
        return false; /* the MSR does not exist: #GP */
    if (m->on[MITIGATION_L1D_FLUSH] > !!(f->leaf_7_edx & D7_L1D_FLUSH))
        return false;
    if ((m->on[MITIGATION_IBPB] || m->on[MITIGATION_IBPB_EXIT]) > has_ibpb(f))
        return false;
    if (m->on[MITIGATION_RETURN_ONE] && m->on[MITIGATION_RETURN_STUFF])
        return false;
    return m->on[MITIGATION_IBRS] + m->on[MITIGATION_IBRS_SWITCH] + m->on[MITIGATION_AUTO_IBRS] <=
           1;
}

static void no_bits_lead_to_what_the_cpu_lacks(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252ull;
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t words[6];
        for (unsigned w = 0; w < 6; w++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            words[w] = x;
        }
        struct mitigation_facts f = { (uint32_t)words[0],
                                      (uint32_t)words[1],
                                      (uint32_t)words[2],
                                      (uint32_t)words[3],
                                      (uint32_t)words[4],
                                      words[5],
                                      1 + (i & 1),
                                      i & 2,
                                      i & 4 };
        struct mitigations m;
        mitigations_decide(&m, &f, false);
        assert_true(is_sound(&m, &f));
    }
}

static void off_is_off(void **state)
{
    (void)state;
    for (unsigned r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        struct mitigations m;
        mitigations_decide(&m, &rows[r].facts, true);
        assert_false(m.automatic);
        assert_int_equal(m.spec_ctrl, 0);
        for (unsigned i = 0; i < MITIGATION_COUNT; i++)
            assert_false(m.on[i]);
        assert_int_equal(m.leaks[LEAK_SPECTRE_V2], LEAK_SWITCHED_OFF);
    }
}

static void everything_has_a_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MITIGATION_COUNT; i++)
        assert_non_null(mitigation_name((enum mitigation)i));
    for (unsigned i = 0; i < LEAK_COUNT; i++)
        assert_non_null(mitigation_leak_name((enum leak)i));
    for (unsigned i = 0; i <= LEAK_SWITCHED_OFF; i++)
        assert_non_null(mitigation_state_name((enum leak_state)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_processor_gets_what_its_bits_ask_for),
        cmocka_unit_test(no_bits_lead_to_what_the_cpu_lacks),
        cmocka_unit_test(off_is_off),
        cmocka_unit_test(everything_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
