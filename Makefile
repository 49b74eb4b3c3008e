# Ballast: everything is built under build/.
#
#   make run    builds the image, boots it, leaves a report   (tools/run.py)
#   make test   runs every test
#   make image  build/ballast.img
#
# Each folder has its own fragment (NAME/NAME.mk) that adds its objects and
# targets; feature and vendor choices live here and in tables, not in functions.

BUILD   := build
CC      := gcc
LD      := ld
NASM    := nasm
PYTHON  := /usr/bin/python3

WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Werror
COMMON  := -std=gnu11 -O2 -g -I. -MMD -MP $(WARN) -fno-strict-aliasing \
           -ffile-prefix-map=$(CURDIR)=. -fno-omit-frame-pointer
ifdef RELEASE
COMMON  += -DRELEASE
endif
# Code of the hypervisor: no vector registers, they belong to the guests.
FREESTANDING := $(COMMON) $(COUNT) -ffreestanding -fno-pic -fno-pie -fno-stack-protector \
           -fno-asynchronous-unwind-tables -mno-red-zone -mgeneral-regs-only -fcf-protection=none
# The hypervisor's indirect branches never go where a guest has trained a predictor
# to (docs/security.md).
TRAMPOLINES := -mindirect-branch=thunk -mindirect-branch-register -fno-jump-tables

.DEFAULT_GOAL := image
.PHONY: all image run test clean packages

packages:
	@tools/install-packages

include $(sort $(wildcard lib/*.mk mm/*.mk drivers/*.mk hv/*.mk boot/*.mk guest-driver/*.mk \
        bench/*.mk tests/fuzz/*.mk tests/proof/*.mk tests/host/*.mk tests/guest/*.mk tests/boot/*.mk tests/nested/*.mk tools/*.mk tests/*.mk))

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
