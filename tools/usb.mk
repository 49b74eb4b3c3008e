# make usb [DEVICE=file] [CONFIG=file] [SWAP=auto|SIZE|0] [FORCE=1]: a disk that a
# PC boots (tools/usb.py). Without CONFIG guests that need no swap area.

DEVICE ?= $(BUILD)/usb.img
FORCE  ?= 0

.PHONY: usb
usb: packages
	@echo "building"; $(MAKE) -s --no-print-directory -j$$(nproc) parts
	@$(PYTHON) tools/usb.py --device "$(DEVICE)" $(if $(or $(filter 1,$(FORCE)),$(filter file,$(origin DEVICE))),--force) --swap "$(SWAP)" \
	    --config "$(if $(filter file,$(origin CONFIG)),experiments/usb.conf,$(CONFIG))"
