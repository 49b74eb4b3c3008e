# Tests of the portable code on the development machine.
#
# Every tests/host/test_NAME.c is one cmocka program, build/tests/test_NAME. It
# links with an archive of all portable code as it is (the same bytes of code
# as in the hypervisor; nothing is defined that would change it), of
# tests/host/support.c and of the simulated machine (tests/host/sim_*.c,
# fake_*.c). A test that wants its own machine_*() just defines it: those of the
# simulated machine are weak.
#
#   make test-host              all of them, with a summary
#   make build/tests/test_swap  one
#   make soak STEPS=n [SEED=n]  random operations for long; REPLAY=n: one life again
#   make fail-nth               every allocation and every transfer fails, one run each
#   make memcheck               MemorySanitizer: frames hold nothing until written
#   make coverage               branches and MC/DC of mm/
#   make mutants                do the tests notice when the core is broken?

HOST_SOURCES := $(wildcard mm/*.c lib/fmt.c lib/elf.c lib/crc32.c lib/json.c lib/lock.c boot/config*.c \
                drivers/gpt.c drivers/screen.c lib/font.c drivers/acpi.c drivers/ata.c \
                drivers/disk_queue.c drivers/ide.c drivers/disk_fault.c \
                guest-driver/balloon_core.c guest-driver/content.c guest-driver/options.c \
                tests/host/support.c tests/host/sim*.c \
                tests/host/fake_*.c)
# Drivers that touch ports and registers, with those of tests/host/fake_pci.c.
FAKED_SOURCES := $(wildcard drivers/pci*.c drivers/ide_*.c drivers/ahci*.c drivers/nvme*.c \
                 drivers/virtio_blk*.c)
FAKED_OBJECTS := $(FAKED_SOURCES:%.c=$(BUILD)/tests/faked/%.o)
HOST_OBJECTS = $(HOST_SOURCES:%.c=$(BUILD)/tests/obj/%.o) $(FAKED_OBJECTS)
HOST_LIBRARY := $(BUILD)/tests/libballast-host.a
HOST_TESTS   := $(patsubst tests/host/%.c,$(BUILD)/tests/%,$(wildcard tests/host/test_*.c))
# Those whose machine forgets what a free frame held (memcheck.c).
MEMCHECKED   := random faults states share pin balloon large reclaim swapping clean edges \
                collisions audit swap swap_damage pool entry frame hash admission
# Whatever walks nested tables, once more in the other format.
HOST_NPT     := $(patsubst %,npt:$(BUILD)/tests/test_%,random faults states share pin balloon large large_room)
# test_threads has a machine of its own with real threads, test_cpus CPUs of its own;
# they are built with clang's ThreadSanitizer.
TSAN_TESTS   := $(BUILD)/tests/test_threads $(BUILD)/tests/test_cpus
TSAN_SOURCES := $(wildcard mm/*.c) lib/fmt.c lib/crc32.c lib/lock.c tests/host/support.c \
                tests/host/test_threads.c
TSAN_OBJECTS := $(TSAN_SOURCES:%.c=$(BUILD)/tsan/%.o)
TSAN_FLAGS   := $(COMMON) -O1 -fsanitize=thread
TSAN_CC      := clang
HOST_FLAGS   := $(COMMON) -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_LIBS    := -lcmocka -llz4 -lm

# With MemorySanitizer, in a folder of their own. It knows neither liblz4 nor liblz4's
# output; test_fail_nth is left to wrap what it wraps.
MSAN       := $(BUILD)/msan
MSAN_FLAGS := -std=gnu11 -O1 -g -I. -MMD -MP -w -fno-strict-aliasing -fno-omit-frame-pointer \
              -fsanitize=memory
MSAN_TESTS := $(MEMCHECKED:%=$(MSAN)/tests/test_%)
ifdef MEMCHECK
HOST_SOURCES += tests/host/memcheck.c
HOST_LIBS    += -Wl,--wrap=frame_free,--wrap=sim_memory_start
endif

.PHONY: test-host soak memcheck memcheck-parts memcheck-quick mutants coverage

$(BUILD)/tests/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(HOST_FLAGS) -c $< -o $@

$(BUILD)/tests/faked/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(HOST_FLAGS) -include tests/host/fake_port.h -c $< -o $@

$(HOST_LIBRARY): $(HOST_OBJECTS)
	@rm -f $@
	ar rcs $@ $(HOST_OBJECTS)

# What is sealed under which nonce.
$(BUILD)/tests/test_nonces: HOST_LIBS += -Wl,--wrap=aead_seal

# What another CPU does just before.
$(BUILD)/tests/test_races: HOST_LIBS += -Wl,--wrap=nested_lock_pair,--wrap=balloon_can_help \
    -Wl,--wrap=counted_forget_frame
$(BUILD)/tests/test_large_edges: HOST_LIBS += -Wl,--wrap=nested_table_make,--wrap=large_room_step \
    -Wl,--wrap=frame_alloc

$(BUILD)/tests/test_read_ahead: HOST_LIBS += -Wl,--wrap=clean_keep,--wrap=pagein_unpack \
    -Wl,--wrap=swap_ahead_start,--wrap=inflight_take,--wrap=frame_alloc,--wrap=reclaim_room \
    -Wl,--wrap=wait_for_frames

# Frames are refused between the callers and the allocator.
$(BUILD)/tests/test_fail_nth: HOST_LIBS += -Wl,--wrap=frame_alloc,--wrap=frame_alloc_shared

$(BUILD)/tsan/%.o: %.c
	@mkdir -p $(@D)
	$(TSAN_CC) $(TSAN_FLAGS) -c $< -o $@

$(BUILD)/tests/test_cpus: $(BUILD)/tsan/tests/host/test_cpus.o $(BUILD)/tsan/lib/lock.o
	$(TSAN_CC) $(TSAN_FLAGS) $^ -lcmocka -lpthread -o $@

$(BUILD)/tests/test_threads: $(TSAN_OBJECTS)
	$(TSAN_CC) $(TSAN_FLAGS) $^ -lcmocka -lpthread -o $@

$(filter-out $(TSAN_TESTS),$(HOST_TESTS)): $(BUILD)/tests/%: $(BUILD)/tests/obj/tests/host/%.o $(HOST_LIBRARY)
	$(CC) $(HOST_FLAGS) $< $(HOST_LIBRARY) $(HOST_LIBS) -o $@

.PRECIOUS: $(BUILD)/tests/obj/tests/host/%.o

# Leaves PASSED FAILED SKIPPED in build/tests/host.result.
test-host: $(HOST_TESTS)
	@$(PYTHON) tests/host/run.py --result $(BUILD)/tests/host.result $(HOST_TESTS) \
	    $(HOST_NPT)

# At length: optimised and without sanitizers, in build/long. A failure prints the
# seed of its life; REPLAY=thatseed runs it again.
STEPS  ?= 1000000
SEED   ?= 1
REPLAY ?= 0
LONG   := $(BUILD)/long
LONG_FLAGS := -std=gnu11 -O2 -g -I. -MMD -MP $(WARN) -fno-strict-aliasing
$(LONG)/tests/%: FORCE
	@$(MAKE) -s --no-print-directory BUILD=$(LONG) HOST_FLAGS="$(LONG_FLAGS)" $@
.PHONY: FORCE fail-nth
FORCE:

memcheck-parts:
	@$(MAKE) -s --no-print-directory BUILD=$(MSAN) CC=clang MEMCHECK=1 \
	    HOST_FLAGS="$(MSAN_FLAGS)" $(MSAN_TESTS)

memcheck: packages
	@$(MAKE) --no-print-directory -j$$(nproc) memcheck-parts
	@$(PYTHON) tests/host/run.py $(MSAN_TESTS)

# What `make test` has of it.
memcheck-quick: memcheck-parts
	@BALLAST_STEPS=3000 $(PYTHON) tests/host/run.py --result $(BUILD)/tests/memcheck.result \
	    $(MSAN_TESTS)

soak: packages
	@$(MAKE) -s --no-print-directory $(LONG)/tests/test_random
	BALLAST_STEPS=$(STEPS) BALLAST_SEED=$(SEED) BALLAST_REPLAY=$(REPLAY) $(LONG)/tests/test_random

fail-nth: packages
	@$(MAKE) -s --no-print-directory $(LONG)/tests/test_fail_nth
	BALLAST_RUNS=0 $(LONG)/tests/test_fail_nth

coverage: packages
	@tools/install-packages clang-19 llvm-19 libclang-rt-19-dev
	@$(PYTHON) tests/coverage.py

mutants: packages
	@$(PYTHON) tests/mutants.py

# It runs the example against both libraries (mm/mm.mk).
$(BUILD)/tests/test_library: | $(BUILD)/example_lib $(BUILD)/example_lib_shared
