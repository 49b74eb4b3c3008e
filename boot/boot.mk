# build/BOOTX64.EFI: the loader, a UEFI application made with GNU-EFI.
BOOT_SOURCES := $(wildcard boot/*.c) lib/elf.c lib/fmt.c lib/string.c
BOOT_OBJECTS := $(BOOT_SOURCES:%.c=$(BUILD)/boot/%.o)
BOOT_FLAGS   := $(COMMON) -ffreestanding -fpic -fshort-wchar -fno-stack-protector \
           -fno-asynchronous-unwind-tables -mno-red-zone -mgeneral-regs-only \
           -DGNU_EFI_USE_MS_ABI -isystem /usr/include/efi -isystem /usr/include/efi/x86_64
EFI_LIB      := /usr/lib

$(BUILD)/boot/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BOOT_FLAGS) -c $< -o $@

$(BUILD)/boot/loader.so: $(BOOT_OBJECTS)
	$(LD) -nostdlib -shared -Bsymbolic -znocombreloc -z noexecstack -z max-page-size=4096 \
	    --no-undefined -T $(EFI_LIB)/elf_x86_64_efi.lds -o $@ \
	    $(EFI_LIB)/crt0-efi-x86_64.o $(BOOT_OBJECTS) -L$(EFI_LIB) -lgnuefi

# The time stamp in the PE header is fixed, so that equal sources give equal bytes.
$(BUILD)/BOOTX64.EFI: $(BUILD)/boot/loader.so
	SOURCE_DATE_EPOCH=1 objcopy -j .text -j .sdata -j .data -j .dynamic -j .dynsym \
	    -j '.rel*' -j .rodata -j .reloc --target efi-app-x86_64 --subsystem=10 $< $@

.PHONY: loader
loader: $(BUILD)/BOOTX64.EFI
