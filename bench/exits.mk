# What an exit costs, under Bochs (VT-x): bench/guest/exits.c on a hypervisor of the
# release build, and on one that counts its VMREADs and VMWRITEs.

.PHONY: bench-exits

# What the guest begins with; its own variable, since this fragment is read before guest-driver/.
EXITS_GUEST_START := $(BUILD)/guest/guest-driver/start.asm.o
EXITS_GUEST_OBJECTS := $(patsubst %,$(BUILD)/guest/%.o,bench/guest/exits tests/guest/hostile \
        mm/codec mm/codec_decode mm/codec_decode_fast)

$(BUILD)/bench/exits.elf: $(EXITS_GUEST_OBJECTS) $(EXITS_GUEST_START) $(BUILD)/guest/libguest.a \
        guest-driver/guest.ld
	@mkdir -p $(@D)
	$(GUEST_LINK) --gc-sections -o $@ $(EXITS_GUEST_START) $(EXITS_GUEST_OBJECTS) $(BUILD)/guest/libguest.a

bench-exits: $(BUILD)/bench/exits.elf $(BUILD)/BOOTX64.EFI
	$(MAKE) BUILD=$(BUILD)/release RELEASE=1 $(BUILD)/release/ballast.elf
	$(MAKE) BUILD=$(BUILD)/count RELEASE=1 COUNT=-DVMX_COUNT $(BUILD)/count/ballast.elf
	$(PYTHON) bench/exits.py
