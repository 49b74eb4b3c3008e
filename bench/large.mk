# What 2 MiB mappings save: bench/guest/large.c with them and without, on both vendors;
# and table entries that page walks read, in a model (bench/bench_walks.c).

.PHONY: bench-large

LARGE_GUEST_OBJECTS := $(patsubst %,$(BUILD)/guest/%.o,bench/guest/large tests/guest/hostile)

$(BUILD)/bench/large.elf: $(LARGE_GUEST_OBJECTS) $(BUILD)/guest/guest-driver/start.asm.o $(BUILD)/guest/libguest.a \
        guest-driver/guest.ld
	@mkdir -p $(@D)
	$(GUEST_LINK) --gc-sections -o $@ $(BUILD)/guest/guest-driver/start.asm.o $(LARGE_GUEST_OBJECTS) $(BUILD)/guest/libguest.a

bench-large: $(BUILD)/bench/large.elf $(BUILD)/BOOTX64.EFI $(BUILD)/bench/bench_walks
	$(BUILD)/bench/bench_walks
	$(MAKE) BUILD=$(BUILD)/release RELEASE=1 $(BUILD)/release/ballast.elf
	$(PYTHON) bench/large.py
