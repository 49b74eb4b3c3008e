# Ballast under nested QEMU/KVM of both kinds, in emulators (tests/nested/run.py).
# Not part of make test: it takes long, and downloads a kernel.
#
#   make test-nested [NESTED="intel amd"] [CONFIG=file] [TIMEOUT=seconds]

NESTED ?= intel amd

.PHONY: test-nested
test-nested: packages
	@tools/install-packages $$(sed 's/#.*//' tests/nested/packages.txt)
	@echo "building"; $(MAKE) -s --no-print-directory -j$$(nproc) parts
	@$(PYTHON) tests/nested/run.py $(if $(filter file,$(origin CONFIG)),,--config $(CONFIG)) \
	    $(if $(filter file,$(origin TIMEOUT)),,--limit $(TIMEOUT)) $(NESTED)
