# What an exit costs, under Bochs (VT-x) and QEMU (AMD-V): bench/guest/exits.c on a
# hypervisor of the release build, and on one that counts its VMREADs and VMWRITEs.

#
#   make bench-exits        three tables
#   make bench-exits-kvm    the same guest under KVM; a bench-exits after it shows both

.PHONY: bench-exits bench-exits-kvm exits-parts

# What the guest begins with; its own variable, since this fragment is read before guest-driver/.
EXITS_GUEST_START := $(BUILD)/guest/guest-driver/start.asm.o
EXITS_GUEST_OBJECTS := $(patsubst %,$(BUILD)/guest/%.o,bench/guest/exits tests/guest/hostile \
        mm/codec mm/codec_decode mm/codec_decode_fast)

$(BUILD)/bench/exits.elf: $(EXITS_GUEST_OBJECTS) $(EXITS_GUEST_START) $(BUILD)/guest/libguest.a \
        guest-driver/guest.ld
	@mkdir -p $(@D)
	$(GUEST_LINK) --gc-sections -o $@ $(EXITS_GUEST_START) $(EXITS_GUEST_OBJECTS) $(BUILD)/guest/libguest.a

# What the boot test of the figures needs (tests/boot/cases_exits.py).
exits-parts: $(BUILD)/bench/exits.elf
	$(MAKE) BUILD=$(BUILD)/release RELEASE=1 $(BUILD)/release/ballast.elf

bench-exits: exits-parts $(BUILD)/BOOTX64.EFI
	$(MAKE) BUILD=$(BUILD)/count RELEASE=1 COUNT=-DVMX_COUNT $(BUILD)/count/ballast.elf
	$(PYTHON) bench/exits.py --machine bochs
	$(PYTHON) bench/exits.py --machine bochs --cpu corei7_icelake_u
	$(PYTHON) bench/exits.py --machine tcg

bench-exits-kvm: packages
	@tools/install-packages $$(sed 's/#.*//' tests/nested/packages.txt)
	$(MAKE) -s --no-print-directory $(BUILD)/bench/exits.elf
	$(PYTHON) bench/exits_kvm.py
