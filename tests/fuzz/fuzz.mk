# Fuzzing with clang's libFuzzer. Not part of `make test`: it has no natural end.
#
#   make fuzz [SECONDS=n]   the codec, on two workers

FUZZ_FLAGS := -std=gnu11 -O2 -g -I. -Wall -Wextra -fsanitize=address,undefined \
              -fno-sanitize-recover=all
SECONDS    ?= 60
FUZZ       := $(BUILD)/fuzz

.PHONY: fuzz

$(FUZZ)/fuzz_codec: tests/fuzz/fuzz_codec.c tests/host/fake_guard.c mm/codec.c mm/codec_decode.c mm/codec_decode_fast.c
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -llz4 -o $@

$(FUZZ)/make_seeds: tests/fuzz/make_seeds.c tests/host/fake_pages.c mm/codec.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) -O1 $^ -o $@

fuzz: $(FUZZ)/fuzz_codec $(FUZZ)/make_seeds
	@mkdir -p $(FUZZ)/corpus $(FUZZ)/seeds
	$(FUZZ)/make_seeds $(FUZZ)/seeds
	cd $(FUZZ) && ./fuzz_codec -max_len=8192 -max_total_time=$(SECONDS) -fork=2 -timeout=10 \
	    -print_final_stats=1 corpus seeds
