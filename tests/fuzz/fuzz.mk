# Fuzzing with clang's libFuzzer.
#
#   make fuzz [SECONDS=n] [FUZZERS="codec elf"]   open-ended: each for n seconds
#   tests/fuzz/run_fuzz.py                        bounded, as in make test
#
# tests/fuzz/fuzz_NAME.c is one target. What it finds interesting is kept in
# build/fuzz/corpus/NAME; an input that fails, in build/fuzz.
FUZZ       := $(BUILD)/fuzz
FUZZ_FLAGS := -std=gnu11 -O1 -g -I. -MMD -MP -Wall -Wextra -Wno-unused-function \
              -fno-strict-aliasing -fsanitize=address,undefined -fno-sanitize-recover=all
SECONDS    ?= 60
FUZZERS    ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
.PHONY: fuzz fuzzers

$(FUZZ)/obj/%.o: %.c
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c $< -o $@

# The portable code and the simulated machine, as the host tests have them.
FUZZ_LIBRARY := $(FUZZ)/tests/libballast-host.a
$(FUZZ_LIBRARY): FORCE
	@$(MAKE) -s --no-print-directory BUILD=$(FUZZ) CC=clang \
	    HOST_FLAGS="$(FUZZ_FLAGS) -fsanitize=fuzzer-no-link" $@

$(FUZZ)/fuzz_%: $(FUZZ)/obj/tests/fuzz/fuzz_%.o $(FUZZ_LIBRARY)
	clang $(FUZZ_FLAGS) -fsanitize=fuzzer $< $(FUZZ_LIBRARY) $(HOST_LIBS) -o $@
.PRECIOUS: $(FUZZ)/obj/tests/fuzz/fuzz_%.o

$(FUZZ)/make_seeds: tests/fuzz/make_seeds.c tests/host/fake_pages.c mm/codec.c lib/crc32.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) -O1 $^ -o $@

fuzzers: $(FUZZERS:%=$(FUZZ)/fuzz_%) $(FUZZ)/make_seeds

fuzz: packages
	@tools/install-packages clang
	@$(MAKE) -s --no-print-directory -j2 fuzzers
	@$(PYTHON) tests/fuzz/run_fuzz.py --seconds $(SECONDS) $(FUZZERS)
