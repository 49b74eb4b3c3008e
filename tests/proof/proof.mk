# Proofs. `make test` runs the quick ones when the tools are there and skips them,
# with the reason, when they are not; `make proof` installs the tools and runs all.
PROOF_PACKAGES := frama-c-base why3 z3 spin

.PHONY: proof
proof: packages
	@tools/install-packages $(PROOF_PACKAGES)
	@$(PYTHON) tests/proof/run_proof.py
