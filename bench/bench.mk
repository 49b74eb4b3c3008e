# Measurements beside real peers.
#
#   make bench                             all of them, with the corpus it makes once
#   make bench CORPUS="a.raw b.raw"        on the pages of these files
#   make bench ROUNDS=n                    rounds of which the median counts (15)
#   make corpus                            only the corpus, build/bench/corpus/*.raw
#   make bench-hosts                       steps of reclaim up to 10000 VMs and 1 TiB
#   make bench-scale                       faults a second on one thread and on two
#
# Table on the terminal, one JSON line a figure in build/bench/figures.jsonl.
# docs/performance.md says what each figure is.

CORPUS ?=
ROUNDS ?= 15
BENCH_PACKAGES := qemu-system-x86 busybox-static e2fsprogs cpio sqlite3 liblz4-dev libjemalloc2 \
                  libmimalloc2.0
BENCH_CORE := $(patsubst %.c,$(BUILD)/bench/%.o,$(wildcard mm/*.c) lib/fmt.c lib/crc32.c)
BENCH_REST := $(BUILD)/bench/bench/measure.o $(BUILD)/bench/bench/machine.o
BENCHES    := $(addprefix $(BUILD)/bench/,bench_codec bench_pool bench_frames bench_share bench_steps)
BENCH_WALKS := $(BUILD)/bench/bench_walks

.PHONY: bench corpus bench-scale

# As in the hypervisor's release build: without vector registers.
$(BUILD)/bench/mm/%.o: mm/%.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) -DRELEASE -mgeneral-regs-only -c $< -o $@

$(BUILD)/bench/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) -c $< -o $@

# A core for more VMs than the hypervisor's.
$(BUILD)/bench/many/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) -DRELEASE -DMM_VM_MAX=10000 -mgeneral-regs-only -c $< -o $@

BENCH_STEPS := $(patsubst $(BUILD)/bench/%,$(BUILD)/bench/many/%,$(BENCH_CORE))
$(BUILD)/bench/bench/bench_steps.o: COMMON += -DMM_VM_MAX=10000
$(BUILD)/bench/bench_steps: $(BUILD)/bench/bench/bench_steps.o $(BENCH_REST) $(BENCH_STEPS)
	$(CC) $(COMMON) $^ -Wl,--wrap=nested_lock -Wl,--wrap=vm_resident -o $@

$(filter-out %/bench_steps,$(BENCHES)) $(BENCH_WALKS): $(BUILD)/bench/%: $(BUILD)/bench/bench/%.o $(BENCH_REST) $(BENCH_CORE)
	$(CC) $(COMMON) $^ -l:liblz4.a -ldl -o $@

corpus:
	@tools/install-packages $(BENCH_PACKAGES)
	@bench/make_corpus.py $(BUILD)/bench/corpus

bench: $(if $(CORPUS),,corpus) $(BENCHES)
	@$(PYTHON) bench/run.py --rounds $(ROUNDS) --programs $(BUILD)/bench \
	    --out $(BUILD)/bench/figures.jsonl $(if $(CORPUS),$(CORPUS),$(BUILD)/bench/corpus/*.raw)

# The core of a release build: without assertions and the check of the lock order.
SCALE_SOURCES := $(wildcard mm/*.c) lib/fmt.c lib/lock.c bench/bench_scale.c
SCALE_OBJECTS := $(SCALE_SOURCES:%.c=$(BUILD)/bench/release/%.o)

$(BUILD)/bench/release/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) -DRELEASE -c $< -o $@

$(BUILD)/bench/bench_scale: $(SCALE_OBJECTS)
	$(CC) $(COMMON) $^ -lpthread -o $@

.PHONY: bench-hosts
bench-hosts: $(BUILD)/bench/bench_steps
	$< hosts

bench-scale: $(BUILD)/bench/bench_scale
	$<
