# Two commands: `make drive` and `make test`. Each line below is a plain command; the README shows them too.
SHELL := /bin/bash
BIN := .venv/bin
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
LIBRARIES := libGL.so.1 libEGL.so.1 libgthread-2.0.so.0 libusb-1.0.so.0 libgomp.so.1
PACKAGES := libgl1 libegl1 libglib2.0-0 libusb-1.0-0 libgomp1

.PHONY: drive test check docs bench-sim bench-model bench-validator bench-guard notebooks clean

drive: .venv/installed
	$(BIN)/alpamayo drive cut-in --driver tiny --seed 10009 --out runs/first

test: check
	$(BIN)/pytest -n 2

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Speed beside the peers, on a quiet machine; figures go to the benchmarks' results.csv.
# PEERS is a Python that has the other simulators (pip install envpool highway-env), PUFFERLIB a folder with the sources of
# PufferLib 3.0.0 (benchmarks/gpudrive_peer.py says how to get them); without them those lines are left out.
bench-sim: .venv/installed
	for script in sim/benchmarks/scaling benchmarks/replay sim/benchmarks/sensors; do \
		OMP_NUM_THREADS=1 $(BIN)/python $$script.py || exit; done
	for worlds in 1 4; do OMP_NUM_THREADS=1 $(BIN)/python benchmarks/controlled.py --copies $$worlds \
		$(if $(PUFFERLIB),--pufferlib $(PUFFERLIB)) || exit; done
	OMP_NUM_THREADS=1 $(BIN)/python sim/benchmarks/traffic.py $(if $(PEERS),--peers $(PEERS))

bench-model: .venv/installed
	for script in peer streaming latent_moe; do OMP_NUM_THREADS=1 $(BIN)/python vla_model/benchmarks/$$script.py || exit; done
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/structured.py
	OMP_NUM_THREADS=1 $(BIN)/python kernels/benchmarks/operators.py

bench-validator: .venv/installed
	for script in validator validation; do OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$script.py || exit; done

bench-guard: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/guard.py

# The documentation site, in site/index.html.
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

notebooks: .venv/installed
	$(BIN)/pip install --quiet --editable '.[dev,notebooks]'
	$(BIN)/pytest --nbmake --override-ini testpaths=notebooks notebooks

# The environment: system libraries where they are missing, then the project with its development tools.
.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "alpamayo needs Python 3.11 or 3.12; none was found" >&2; exit 2; }
	@missing=""; for library in $(LIBRARIES); do \
		ldconfig -p 2>/dev/null | grep -q "$$library" || missing="$$missing $$library"; done; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
		install="apt-get install -y --no-install-recommends $(PACKAGES) python3-venv"; \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
			apt-get update -qq && $$install; \
		elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
			sudo apt-get update -qq && sudo $$install; \
		else \
			echo "missing on this system:$$missing" >&2; echo "install them with: sudo $$install" >&2; exit 2; \
		fi; \
	fi
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv runs site .mypy_cache .ruff_cache .pytest_cache .hypothesis
