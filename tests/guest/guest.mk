# build/guests/NAME.elf: one small guest for every behaviour in tests/guest/NAME.c.
# What they share is in hostile.c and raw_virtio.c, and in the minimal guest's library.
HOSTILE_SHARED  := hostile raw_virtio
HOSTILE_NAMES   := $(filter-out $(HOSTILE_SHARED),$(patsubst tests/guest/%.c,%,$(wildcard tests/guest/*.c)))
HOSTILE_GUESTS  := $(HOSTILE_NAMES:%=$(BUILD)/guests/%.elf)
HOSTILE_OBJECTS := $(HOSTILE_SHARED:%=$(BUILD)/guest/tests/guest/%.o)

$(BUILD)/guests/%.elf: $(BUILD)/guest/tests/guest/%.o $(HOSTILE_OBJECTS) $(GUEST_START) \
        $(BUILD)/guest/libguest.a guest-driver/guest.ld
	@mkdir -p $(@D)
	$(GUEST_LINK) --gc-sections -o $@ $(GUEST_START) $< $(HOSTILE_OBJECTS) $(BUILD)/guest/libguest.a

.PRECIOUS: $(BUILD)/guest/tests/guest/%.o
guests: $(HOSTILE_GUESTS)

# The balloon driver against a device that is not ours, and the guests that need
# no Ballast: under QEMU, without virtualization.
.PHONY: test-guest
test-guest: guests
	@$(PYTHON) tests/guest/run_qemu.py
