# build/ballast.elf: the hypervisor, from hv/, mm/, drivers/ and lib/.
HV_SOURCES := $(wildcard hv/*.c mm/*.c drivers/*.c lib/*.c)
HV_ASM     := $(wildcard hv/*.asm)
HV_OBJECTS := $(HV_SOURCES:%.c=$(BUILD)/hv/%.o) $(HV_ASM:%.asm=$(BUILD)/hv/%.asm.o)

$(BUILD)/hv/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(FREESTANDING) $(TRAMPOLINES) -mcmodel=kernel -c $< -o $@

$(BUILD)/hv/%.asm.o: %.asm
	@mkdir -p $(@D)
	$(NASM) -f elf64 -g -F dwarf -I. -I$(BUILD)/ $< -o $@

$(BUILD)/ballast.elf: $(HV_OBJECTS) linker.ld
	$(LD) -nostdlib -static -z max-page-size=4096 -z noexecstack -T linker.ld -o $@ $(HV_OBJECTS)
