/*
 * Exits of AMD-V in neutral words (hv/svm_exit.c), from a control block made of
 * memory: what no emulator at hand has, decode assists above all.
 */
#include "tests/host/support.h"

#include <string.h>

/* The code under test, as it is. */
#include "hv/fetch.c"
#include "hv/svm_exit.c"

static struct vmcb vmcb;
static struct svm svm = { .vmcb = &vmcb };
static struct vcpu vcpu;
static unsigned walks, finds, exceptions, skips;
static uint8_t exception_vector;

struct svm_config svm_config;

/* ---- what it asks of others ----------------------------------------------------- */

enum walk_answer walk_peek(struct vcpu *of, uint64_t linear, void *buffer, size_t size,
                           unsigned access, struct walk_fault *fault)
{
    (void)of;
    (void)linear;
    (void)access;
    (void)fault;
    walks++;
    memset(buffer, 0x90, size);
    return WALK_DONE;
}

bool walk_settle(struct vcpu *of, enum walk_answer answer, const struct walk_fault *fault)
{
    (void)of;
    (void)fault;
    return answer == WALK_DONE;
}

bool svm_instruction_find(struct vcpu *of, uint32_t opcode, uint32_t or_opcode,
                          struct decoded_system *d)
{
    (void)of;
    (void)or_opcode;
    finds++;
    *d = (struct decoded_system){ .opcode = opcode, .length = 3, .reg = REG_RBX, .cr = 4 };
    return true;
}

void svm_length_find(struct vcpu *of, uint32_t opcode, uint32_t or_opcode)
{
    struct decoded_system d;
    svm_instruction_find(of, opcode, or_opcode, &d);
    of->exit.length = d.length;
}

void svm_length_from(struct vcpu *of, uint64_t next_rip)
{
    of->exit.length = (uint8_t)(next_rip - vmcb.rip);
}

bool svm_cr_operand(struct vcpu *of, const struct decoded_system *d, uint64_t *value)
{
    *value = of->regs[d->reg];
    return true;
}

bool svm_cr_access(struct vcpu *of, const struct decoded_system *d, uint64_t value)
{
    (void)of;
    (void)d;
    return value != UINT64_MAX;
}

const char *svm_check_entry(const struct vcpu *of)
{
    (void)of;
    return NULL;
}

void svm_nmi_iret(struct vcpu *of)
{
    (void)of;
}

void svm_skip(struct vcpu *of)
{
    (void)of;
    skips++;
}

void seam_exception(struct vcpu *of, uint8_t vector, bool has_error, uint32_t error)
{
    (void)of;
    (void)has_error;
    (void)error;
    exceptions++;
    exception_vector = vector;
}

void fpu_xcr0_look(struct vcpu *of)
{
    (void)of;
}

static uint64_t get(struct vcpu *of, enum vcpu_state what)
{
    (void)of;
    return what == STATE_RIP ? vmcb.rip : what == STATE_EFER ? EFER_LMA : CS_ATTR_LONG;
}

static const struct vcpu_ops ops = { .get = get };
const struct vcpu_ops *vcpu_ops = &ops;

/* ---- exits ------------------------------------------------------------------------ */

static void exit_with(uint64_t code, uint64_t info1, uint64_t info2)
{
    vmcb.exit_code = code;
    vmcb.exit_info1 = info1;
    vmcb.exit_info2 = info2;
    vmcb.rip = 0x1000;
    vcpu = (struct vcpu){ .vendor = &svm };
    walks = finds = exceptions = skips = 0;
    svm_exit_decode(&vcpu);
}

/* The bytes that the processor fetched are taken for the instruction, when they are
 * as many as an instruction can have; else it is read from the guest's memory. */
static void bytes_of_the_processor(void **state)
{
    (void)state;
    static const uint8_t store[DECODE_BYTES_MAX] = { 0x89, 0x07, 0xc3, 1, 2, 3, 4, 5, 6 };
    uint8_t bytes[DECODE_BYTES_MAX];
    unsigned size;
    struct walk_fault fault;
    memcpy(vmcb.bytes, store, sizeof store);
    svm_config.features = SVM_FEATURE_DECODE;
    for (unsigned count = 0; count <= DECODE_BYTES_MAX; count++) {
        vmcb.byte_count = (uint8_t)count;
        exit_with(SVM_EXIT_NPF, NPF_WRITE, 0xfee00080u);
        assert_int_equal(vcpu.exit.kind, EXIT_NESTED_FAULT);
        assert_int_equal(fetch_bytes(&vcpu, bytes, &size, &fault), WALK_DONE);
        assert_int_equal(size, DECODE_BYTES_MAX);
        assert_int_equal(walks, count < DECODE_BYTES_MAX);
        assert_int_equal(bytes[0], walks ? 0x90 : 0x89);
    }
    /* Of the field, four bits are the count (15.8.4). */
    vmcb.byte_count = 0xff;
    exit_with(SVM_EXIT_NPF, NPF_WRITE, 0xfee00080u);
    assert_int_equal(vcpu.exit.byte_count, DECODE_BYTES_MAX);
    assert_memory_equal(vcpu.exit.bytes, store, sizeof store);
    /* Without the feature they are whatever they are. */
    svm_config.features = 0;
    exit_with(SVM_EXIT_NPF, NPF_WRITE, 0xfee00080u);
    assert_int_equal(vcpu.exit.byte_count, 0);
    assert_int_equal(fetch_bytes(&vcpu, bytes, &size, &fault), WALK_DONE);
    assert_int_equal(walks, 1);
}

static void nested_faults(void **state)
{
    (void)state;
    exit_with(SVM_EXIT_NPF, NPF_WRITE, 0x5123);
    assert_int_equal(vcpu.exit.access, MM_WRITE);
    assert_int_equal(vcpu.exit.gpa.v, 0x5123);
    assert_false(vcpu.exit.during_walk);
    exit_with(SVM_EXIT_NPF, NPF_FETCH | NPF_WALK, 0x7000);
    assert_int_equal(vcpu.exit.access, MM_EXEC);
    assert_true(vcpu.exit.during_walk);
    exit_with(SVM_EXIT_NPF, 0, 0x7000);
    assert_int_equal(vcpu.exit.access, MM_READ);
    exit_with(SVM_EXIT_NPF, NPF_RESERVED, 0x7000);
    assert_int_equal(vcpu.exit.kind, EXIT_NESTED_BAD);
}

static void ports_and_registers(void **state)
{
    (void)state;
    exit_with(SVM_EXIT_IOIO, 0x3f8u << 16 | 1u << 4 | IOIO_IN, 0x1002);
    assert_true(vcpu.exit.kind == EXIT_IO && !vcpu.exit.write && vcpu.exit.port == 0x3f8);
    assert_true(vcpu.exit.size == 1 && vcpu.exit.length == 2 && !vcpu.exit.string);
    exit_with(SVM_EXIT_MSR, MSR_IS_WRITE, 0);
    assert_true(vcpu.exit.kind == EXIT_MSR_WRITE && vcpu.exit.length == 3);
    exit_with(SVM_EXIT_MSR, 0, 0);
    assert_int_equal(vcpu.exit.kind, EXIT_MSR_READ);
    exit_with(SVM_EXIT_CR8_WRITE, 0, 0);
    assert_true(vcpu.exit.kind == EXIT_CR_ACCESS && vcpu.exit.cr == 8 && vcpu.exit.write);
    assert_int_equal(vcpu.exit.reg, REG_RBX);
    exit_with(SVM_EXIT_CR4_WRITE, 0, 0);
    assert_true(skips == 1 && !exceptions);
    exit_with(0x3ff, 0, 0);
    assert_int_equal(vcpu.exit.kind, EXIT_UNKNOWN);
}

/* An event whose delivery was cut short is queued again, but not what an instruction
 * asked for: that is executed again (15.7.2). */
static void events_cut_short(void **state)
{
    (void)state;
    vmcb.exit_event = EVENT_VALID | EVENT_TYPE_INTERRUPT << 8 | 0x40;
    exit_with(SVM_EXIT_NPF, 0, 0x7000);
    assert_int_equal(svm.event, vmcb.exit_event);
    vmcb.exit_event = EVENT_VALID | EVENT_TYPE_SOFT_INT << 8 | 0x80;
    exit_with(SVM_EXIT_NPF, 0, 0x7000);
    assert_int_equal(svm.event, 0);
    vmcb.exit_event = EVENT_VALID | EVENT_TYPE_EXCEPTION << 8 | VECTOR_BP;
    exit_with(SVM_EXIT_NPF, 0, 0x7000);
    assert_int_equal(svm.event, 0);
    vmcb.exit_event = EVENT_VALID | EVENT_TYPE_EXCEPTION << 8 | VECTOR_PF;
    exit_with(SVM_EXIT_NPF, 0, 0x7000);
    assert_int_equal(svm.event, vmcb.exit_event);
    vmcb.exit_event = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_the_processor),
        cmocka_unit_test(nested_faults),
        cmocka_unit_test(ports_and_registers),
        cmocka_unit_test(events_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
