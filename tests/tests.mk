# make test: everything, ending with "N passed, N failed, N skipped".
#
#   make test                     tree rules, tools, host tests, boot tests
#   make test SUITES="host boot"  some of them
#   make test-boot CASES="swap"   boot tests whose names contain a word

SUITES ?=
CASES  ?=

.PHONY: test-boot
test: packages
	@$(if $(if $(SUITES),$(filter proof,$(SUITES)),all),tools/install-packages $(PROOF_PACKAGES) || true)
	@echo "building"; $(MAKE) -s --no-print-directory -j$$(nproc) parts exits-parts
	@$(PYTHON) tests/run_all.py $(SUITES)

test-boot: packages
	@echo "building"; $(MAKE) -s --no-print-directory -j$$(nproc) parts exits-parts
	@$(PYTHON) tests/boot/run_tests.py $(CASES)
