# make debug [MACHINE=tcg|bochs]: the hypervisor in a debugger, stopped at its
# first instruction (tools/debug.py).

.PHONY: debug
debug: image
	@$(PYTHON) tools/debug.py --machine "$(MACHINE)" --memory $(MEM)
