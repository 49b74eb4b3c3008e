# Proofs. `make test` runs the quick ones and `make proof` all; both install the tools.
# Where those cannot be installed, `make test` skips, with the reason.
PROOF_PACKAGES := frama-c-base why3 z3 spin

.PHONY: proof
proof: packages
	@tools/install-packages $(PROOF_PACKAGES)
	@$(PYTHON) tests/proof/run_proof.py
