/*
 * What values of CR0 and CR4 a guest may set (hv/control.c, hv/exception.h): the
 * rules of both vendors' manuals, one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/exception.h"

/* The code under test, as it is. */
#include "hv/control.c"

#define CR0_ON (CR0_PG | CR0_PE | CR0_ET | CR0_NE)

static const struct control_state real_mode = { .cr0 = CR0_ET };
static const struct control_state long_mode = {
    .cr0 = CR0_ON, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA, .long_code = true
};

static void cr0_rules(void **state)
{
    (void)state;
    assert_true(control_cr0_is_allowed(&real_mode, CR0_ET | CR0_PE));
    assert_true(control_cr0_is_allowed(&real_mode, CR0_ET | CR0_CD | CR0_NW));
    assert_true(control_cr0_is_allowed(&real_mode, CR0_ET | CR0_CD));
    assert_false(control_cr0_is_allowed(&real_mode, CR0_ET | CR0_NW));
    assert_false(control_cr0_is_allowed(&real_mode, CR0_ET | CR0_PG));
    for (unsigned bit = 32; bit < 64; bit++)
        assert_false(control_cr0_is_allowed(&long_mode, CR0_ON | 1ull << bit));
    assert_true(control_cr0_is_allowed(&long_mode, CR0_ON | CR0_TS | CR0_WP));
    assert_false(control_cr0_is_allowed(&long_mode, CR0_ON & ~CR0_PG));
}

static void long_mode_is_entered_by_its_rules(void **state)
{
    (void)state;
    struct control_state old = { .cr0 = CR0_PE, .efer = EFER_LME, .cr4 = CR4_PAE };
    assert_true(control_cr0_is_allowed(&old, CR0_PE | CR0_PG));
    old.cr4 = 0;
    assert_false(control_cr0_is_allowed(&old, CR0_PE | CR0_PG));
    old.cr4 = CR4_PAE;
    old.long_code = true;
    assert_false(control_cr0_is_allowed(&old, CR0_PE | CR0_PG));
    /* From compatibility mode paging may be switched off, but not with PCIDs. */
    old = long_mode;
    old.long_code = false;
    assert_true(control_cr0_is_allowed(&old, CR0_PE));
    old.cr4 |= CR4_PCIDE;
    assert_false(control_cr0_is_allowed(&old, CR0_PE));
}

static void cr4_rules(void **state)
{
    (void)state;
    uint64_t may_set = CR4_PAE | CR4_PGE | CR4_PCIDE;
    assert_true(control_cr4_is_allowed(&long_mode, CR4_PAE | CR4_PGE, may_set));
    assert_false(control_cr4_is_allowed(&long_mode, CR4_PGE, may_set));
    assert_false(control_cr4_is_allowed(&long_mode, CR4_PAE | CR4_SMEP, may_set));
    assert_true(control_cr4_is_allowed(&real_mode, 0, may_set));
    assert_true(control_cr4_is_allowed(&long_mode, CR4_PAE | CR4_PCIDE, may_set));
    assert_false(control_cr4_is_allowed(&real_mode, CR4_PCIDE, may_set));
    struct control_state tagged = long_mode;
    tagged.cr3 = 0x1001;
    assert_false(control_cr4_is_allowed(&tagged, CR4_PAE | CR4_PCIDE, may_set));
    tagged.cr4 |= CR4_PCIDE;
    assert_true(control_cr4_is_allowed(&tagged, CR4_PAE | CR4_PCIDE, may_set));
}

/* SDM table 6-5, row by row: benign, contributory, page fault, double fault. */
static void exceptions_meet(void **state)
{
    (void)state;
    assert_int_equal(exception_meets(VECTOR_UD, VECTOR_GP), EXCEPTION_ITSELF);
    assert_int_equal(exception_meets(VECTOR_DB, VECTOR_PF), EXCEPTION_ITSELF);
    assert_int_equal(exception_meets(VECTOR_GP, VECTOR_GP), EXCEPTION_DOUBLE_FAULT);
    assert_int_equal(exception_meets(0, VECTOR_TS), EXCEPTION_DOUBLE_FAULT);
    assert_int_equal(exception_meets(VECTOR_GP, VECTOR_PF), EXCEPTION_ITSELF);
    assert_int_equal(exception_meets(VECTOR_PF, VECTOR_GP), EXCEPTION_DOUBLE_FAULT);
    assert_int_equal(exception_meets(VECTOR_PF, VECTOR_PF), EXCEPTION_DOUBLE_FAULT);
    assert_int_equal(exception_meets(VECTOR_PF, VECTOR_UD), EXCEPTION_ITSELF);
    assert_int_equal(exception_meets(VECTOR_DF, VECTOR_PF), EXCEPTION_TRIPLE_FAULT);
    assert_int_equal(exception_meets(VECTOR_DF, VECTOR_GP), EXCEPTION_TRIPLE_FAULT);
    assert_int_equal(exception_meets(VECTOR_DF, VECTOR_UD), EXCEPTION_ITSELF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cr0_rules),
        cmocka_unit_test(long_mode_is_entered_by_its_rules),
        cmocka_unit_test(cr4_rules),
        cmocka_unit_test(exceptions_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
