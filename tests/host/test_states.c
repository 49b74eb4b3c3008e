/*
 * Every home of a page and every verb on it: moves that the table of the design
 * allows succeed, others are refused with a reason and change nothing.
 */
#include <stdio.h>
#include <string.h>

#include "tests/host/homes.h"

/* The transition table, written down a second time from docs/life-of-a-page.md;
 * one letter a home, in the order of enum home:
 *   none zero Fill Private Shared Pool sWap Counted Balloon busy-Out busy-In */
static const char *const table[HOME_COUNT] = {
    [HOME_NONE] = "",
    [HOME_ZERO] = "P.B.n",
    [HOME_FILL] = "P.B.n",
    [HOME_PRIVATE] = "S.z.F.O.B.P.n",
    [HOME_SHARED] = "P.O.C.B.n",
    [HOME_POOL] = "P.L.O.B.n",
    [HOME_SWAP] = "I.B.n",
    [HOME_COUNTED] = "P.S.I.B.n",
    [HOME_BALLOON] = "z.P.n",
    [HOME_BUSY_OUT] = "L.W.C.z.F.P.S",
    [HOME_BUSY_IN] = "P.W.C",
};
static const char letters[HOME_COUNT + 1] = "nzFPSLWCBOI";

static void legal_moves(void **state)
{
    (void)state;
    for (int from = 0; from < HOME_COUNT; from++)
        for (int to = 0; to < HOME_COUNT; to++) {
            bool expected = strchr(table[from], letters[to]) != NULL;
            if (home_may_change((enum home)from, (enum home)to) != expected)
                fail_msg("%s to %s: %s", home_name((enum home)from), home_name((enum home)to),
                         expected ? "must be legal" : "must be refused");
        }
    assert_false(home_may_change(HOME_COUNT, HOME_ZERO));
    assert_false(home_may_change(HOME_ZERO, HOME_COUNT));
}

enum verb {
    READ,
    WRITE,
    WRITE_WORD,
    EXECUTE,
    PIN_READ,
    PIN_WRITE,
    INFLATE,
    DEFLATE,
    DESTROY,
    VERB_COUNT
};
static const char *const verb_names[VERB_COUNT] = { "read",    "write",    "write word",
                                                    "execute", "pin read", "pin write",
                                                    "inflate", "deflate",  "destroy" };

/* The home after a verb, when all waiting is over: a letter of `letters`, '='
 * unchanged, '?' any that holds the content. One column a verb. */
static const char *const after[HOME_COUNT] = {
    /*                 rwWxpPid */
    [HOME_ZERO] = "PPPPPPB=",    [HOME_FILL] = "PPPPPPB=",    [HOME_PRIVATE] = "PPPPPPB=",
    [HOME_SHARED] = "SPPSSPB=",  [HOME_POOL] = "PPPPPPB=",    [HOME_SWAP] = "PPPPPPB=",
    [HOME_COUNTED] = "?PP??PB=", [HOME_BALLOON] = "PPPPPP=z", [HOME_BUSY_OUT] = "?PP??PB?",
    [HOME_BUSY_IN] = "PPPPPPBP",
};

struct outcome {
    bool waited;
    enum mm_balloon_result balloon;
};

static void pin_once(struct sim_vm *vm, uint32_t number, bool write, struct outcome *out)
{
    int pin;
    for (unsigned i = 0; (pin = sim_pin(vm, &vm->vcpus[0], number, write)) < 0; i++) {
        out->waited = true;
        sim_check(i < 20000, "a pin waits for ever");
        while (vm->vcpus[0].asleep && i++ < 20000)
            sim_pump();
    }
    sim_unpin(vm, pin);
}

static void balloon_once(struct sim_vm *vm, uint32_t number, enum verb verb, struct outcome *out)
{
    for (unsigned i = 0; i < 20000; i++) {
        out->balloon = verb == INFLATE ? sim_inflate(vm, number) : sim_deflate(vm, number);
        if (out->balloon != MM_BALLOON_WAIT)
            return;
        out->waited = true;
        while (vm->vcpus[0].asleep && i++ < 20000)
            sim_pump();
    }
    sim_fail("%s waits for ever", verb_names[verb]);
}

static void apply(struct sim_vm *vm, uint32_t number, enum verb verb, struct outcome *out)
{
    uint64_t waits = sim.waits;
    out->waited = vm->vcpus[0].asleep;
    vm->vcpus[0].op.kind = SIM_NO_OP;
    switch (verb) {
    case READ:
        sim_read(vm, number);
        break;
    case WRITE:
        sim_write(vm, number, SIM_NOISE, 77);
        break;
    case WRITE_WORD:
        sim_write_word(vm, number, 512, 77);
        break;
    case EXECUTE:
        sim_do(&vm->vcpus[0], (struct sim_op){ .kind = SIM_EXEC, .gfn = number });
        break;
    case PIN_READ:
    case PIN_WRITE:
        pin_once(vm, number, verb == PIN_WRITE, out);
        break;
    case INFLATE:
    case DEFLATE:
        balloon_once(vm, number, verb, out);
        break;
    default:
        sim_vm_remove(vm);
        break;
    }
    out->waited |= sim.waits != waits;
}

static void expect_balloon(enum home home, enum verb verb, const struct outcome *out)
{
    enum mm_balloon_result expected = MM_BALLOON_OK;
    if ((home == HOME_BALLOON) == (verb == INFLATE))
        expected = MM_BALLOON_DONE_ALREADY;
    sim_check(out->balloon == expected, "%s of %s: result %d", verb_names[verb], home_name(home),
              (int)out->balloon);
}

static void one(enum home home, enum verb verb)
{
    const uint32_t number = 40;
    struct mm_vm_config config;
    homes_start(home, 1 + home);
    sim_vm_config_default(&config, 256);
    config.salt = 1;
    config.vcpu_count = home == HOME_BUSY_IN ? 2 : 1;
    struct sim_vm *vm = sim_vm_add(&config);
    sim_check(homes_reach(vm, number, home), "a page never gets to %s", home_name(home));
    sim_oracle(true);

    unsigned level;
    uint64_t before = sim_peek(vm, number, &level);
    struct outcome out = { false, MM_BALLOON_OK };
    bool busy = home == HOME_BUSY_IN || home == HOME_BUSY_OUT;
    apply(vm, number, verb, &out);
    if (verb != DESTROY) {
        char expected = after[home][verb];
        enum home now = homes_of(vm, number);
        if (expected == '=')
            sim_check(sim_peek(vm, number, &level) == before, "%s of %s changed the entry",
                      verb_names[verb], home_name(home));
        else if (expected != '?' && !(busy && verb == DEFLATE))
            sim_check(letters[now] == expected, "%s of %s leads to %s, not %c", verb_names[verb],
                      home_name(home), home_name(now), expected);
        if (busy && verb != DEFLATE)
            sim_check(out.waited, "%s of %s did not wait", verb_names[verb], home_name(home));
        if (verb == INFLATE || verb == DEFLATE)
            expect_balloon(home, verb, &out);
        sim_oracle(true);
        vm->vcpus[0].op.kind = vm->vcpus[1].op.kind = SIM_NO_OP;
        sim_verify(vm);
    }
    sim_oracle(true);
    sim_stop();
}

static void every_verb(void **state)
{
    enum home home = (enum home)(uintptr_t)*state;
    for (int verb = 0; verb < VERB_COUNT; verb++)
        one(home, (enum verb)verb);
}

/* Out of the guest's memory no verb does anything. */
static void beyond_the_end(void **state)
{
    static const uint32_t numbers[] = { 64, 65, 511, 512, 0x40000, 0xd0000, 0xfee00, UINT32_MAX };
    (void)state;
    homes_start(HOME_PRIVATE, 3);
    struct sim_vm *vm = sim_vm_simple(64);
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        void *page;
        for (unsigned access = 1; access < 8; access <<= 1)
            assert_int_equal(mm_fault(&vm->vcpus[0].core, gfn_to_gpa(gfn(numbers[i])), access),
                             MM_NO_PAGE);
        assert_int_equal(mm_pin(vm->core, &vm->vcpus[0].core, gfn(numbers[i]), MM_WRITE, &page),
                         MM_NO_PAGE);
        assert_int_equal(mm_balloon_inflate(&vm->vcpus[0].core, gfn(numbers[i])),
                         MM_BALLOON_OUT_OF_RANGE);
        assert_int_equal(mm_balloon_deflate(&vm->vcpus[0].core, gfn(numbers[i])),
                         MM_BALLOON_OUT_OF_RANGE);
    }
    /* Addresses that no frame number can hold. */
    assert_int_equal(mm_fault(&vm->vcpus[0].core, gpa(1ull << 44), MM_READ), MM_NO_PAGE);
    assert_int_equal(mm_fault(&vm->vcpus[0].core, gpa(UINT64_MAX), MM_READ), MM_NO_PAGE);
    sim_oracle(true);
    sim_stop();
}

int main(void)
{
    static const enum home homes[] = { HOME_ZERO,     HOME_FILL,   HOME_PRIVATE, HOME_SHARED,
                                       HOME_POOL,     HOME_SWAP,   HOME_COUNTED, HOME_BALLOON,
                                       HOME_BUSY_OUT, HOME_BUSY_IN };
    struct CMUnitTest tests[2 + sizeof homes / sizeof homes[0]] = {
        cmocka_unit_test(legal_moves),
        cmocka_unit_test(beyond_the_end),
    };
    for (size_t i = 0; i < sizeof homes / sizeof homes[0]; i++)
        tests[2 + i] = (struct CMUnitTest){ home_name(homes[i]), every_verb, NULL, NULL,
                                            (void *)(uintptr_t)homes[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
