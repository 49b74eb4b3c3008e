# build/ballast.elf: the hypervisor, from hv/, mm/, drivers/ and lib/.
HV_SOURCES := $(wildcard hv/*.c mm/*.c drivers/*.c lib/*.c)
HV_ASM     := $(wildcard hv/*.asm)
HV_OBJECTS := $(HV_SOURCES:%.c=$(BUILD)/hv/%.o) $(HV_ASM:%.asm=$(BUILD)/hv/%.asm.o)
HV_FLAGS   := $(FREESTANDING) $(TRAMPOLINES) -mcmodel=kernel
HV_LINK    := -nostdlib -static -z max-page-size=4096 -z noexecstack -T linker.ld

# A release is optimised as one program, since the way from an exit to the next entry
# leads through many small functions of many files; they become part of their callers
# more readily than is usual. What the compiler itself calls (memcpy ...) stays as it is.
ifdef RELEASE
HV_LTO := -flto -finline-functions --param=max-inline-insns-auto=80 \
          --param=inline-unit-growth=200 --param=large-function-growth=1000
$(BUILD)/hv/lib/string.o: HV_LTO :=
# Its loops are best as they are when it is compiled by itself.
$(BUILD)/hv/mm/codec.o $(BUILD)/hv/mm/codec_decode_fast.o: HV_LTO :=
endif

$(BUILD)/hv/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(HV_FLAGS) $(HV_LTO) -c $< -o $@

$(BUILD)/hv/%.asm.o: %.asm
	@mkdir -p $(@D)
	$(NASM) -f elf64 -g -F dwarf -I. -I$(BUILD)/ $< -o $@

ifdef RELEASE
$(BUILD)/ballast.elf: $(HV_OBJECTS) linker.ld
	$(CC) $(filter-out -MMD -MP,$(HV_FLAGS)) $(HV_LTO) -flto-partition=one -no-pie \
	    -w -Wl,--build-id=none $(HV_LINK) -o $@ $(HV_OBJECTS)
else
$(BUILD)/ballast.elf: $(HV_OBJECTS) linker.ld
	$(LD) $(HV_LINK) -o $@ $(HV_OBJECTS)
endif
