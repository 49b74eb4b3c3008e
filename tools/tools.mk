# What a person types: image, run, test. Each installs what is missing first.
#
#   make image [CONFIG=file] [SWAP=auto|SIZE|0]
#   make run   [CONFIG=file] [MACHINE=auto|bochs|kvm|tcg] [OUT=folder] [TIMEOUT=seconds]
#              [MEM=MiB] [BOCHS_CPU=model] [IPS=instructions per emulated second]
#   make doctor              what this computer can do, and what to change

CONFIG    ?= experiments/demo.conf
SWAP      ?= auto
MACHINE   ?= auto
OUT       ?=
TIMEOUT   ?= 900
MEM       ?= 256
BOCHS_CPU ?= corei7_skylake_x
IPS       ?= 25000000

BOOT_FILES := $(BUILD)/BOOTX64.EFI $(BUILD)/ballast.elf

# The loader's parser as a program, to find errors before anything is booted.
CHECKCONF := $(BUILD)/checkconf
CHECKCONF_SOURCES := tools/checkconf.c $(wildcard boot/config*.c) lib/fmt.c
$(CHECKCONF): $(CHECKCONF_SOURCES:%.c=$(BUILD)/host/%.o)
	$(CC) $^ -o $@

$(BUILD)/host/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) -c $< -o $@

# All that goes into an image, without installing anything.
.PHONY: parts
parts: $(BOOT_FILES) $(CHECKCONF) guests

image: packages
	@echo "building"; $(MAKE) -s --no-print-directory -j$$(nproc) parts
	@$(PYTHON) tools/mkimage.py --config "$(CONFIG)" --checker $(CHECKCONF) --swap "$(SWAP)" \
	    --out $(BUILD)/ballast.img

run: image
	@$(PYTHON) tools/run.py --machine "$(MACHINE)" --out "$(OUT)" --timeout $(TIMEOUT) \
	    --memory $(MEM) --cpu $(BOCHS_CPU) --ips $(IPS)

.PHONY: doctor
doctor:
	@$(PYTHON) tools/doctor.py
