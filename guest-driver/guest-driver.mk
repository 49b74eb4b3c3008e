# build/guest.elf: the minimal guest. Everything but main.c, the workloads and
# the balloon is a library that the hostile guests (tests/guest) link too.
GUEST_FLAGS := $(FREESTANDING) -fno-omit-frame-pointer
GUEST_SOURCES := $(wildcard guest-driver/*.c)
GUEST_OBJECTS := $(GUEST_SOURCES:%.c=$(BUILD)/guest/%.o)
GUEST_LIB_OBJECTS := $(patsubst %,$(BUILD)/guest/guest-driver/%.o,\
        vectors.asm fpu_registers.asm smp_start.asm smp start console interrupts lapic ioapic page_alloc content fpu) \
        $(BUILD)/guest/lib/fmt.o $(BUILD)/guest/lib/string.o
GUEST_START := $(BUILD)/guest/guest-driver/start.asm.o
GUEST_LINK := $(LD) -nostdlib -static -z max-page-size=4096 -z noexecstack -T guest-driver/guest.ld

$(BUILD)/guest/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_FLAGS) -c $< -o $@

$(BUILD)/guest/%.asm.o: %.asm
	@mkdir -p $(@D)
	$(NASM) -f elf64 -g -F dwarf -I. $< -o $@

$(BUILD)/guest/libguest.a: $(GUEST_LIB_OBJECTS)
	rm -f $@
	ar rcsD $@ $^

$(BUILD)/guest.elf: $(GUEST_START) $(GUEST_OBJECTS) $(BUILD)/guest/libguest.a guest-driver/guest.ld
	$(GUEST_LINK) -o $@ $(GUEST_START) $(GUEST_OBJECTS) $(BUILD)/guest/libguest.a

.PHONY: guests
guests: $(BUILD)/guest.elf
