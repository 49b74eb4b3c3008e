# Measurements beside real peers.
#
#   make bench [FILES="a b"]   the page codec beside liblz4; pages of FILES too

.PHONY: bench

# As in the hypervisor: without vector registers.
$(BUILD)/bench/mm/%.o: mm/%.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) -mgeneral-regs-only -c $< -o $@

$(BUILD)/bench/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) -c $< -o $@

$(BUILD)/bench/bench_codec: $(BUILD)/bench/bench/bench_codec.o $(BUILD)/bench/mm/codec.o \
        $(BUILD)/bench/mm/codec_decode.o $(BUILD)/bench/mm/codec_decode_fast.o $(BUILD)/bench/tests/host/fake_pages.o
	$(CC) $(COMMON) $^ -llz4 -o $@

bench: $(BUILD)/bench/bench_codec
	$< $(FILES)
