# Everything needed is installed into .venv by the first target that wants it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench growth clean lock

demo: .venv/ready
	$(BIN)/vadose demo --out demo

# The processes that tests start share compiled modules, also where the environment forbids writing them.
test: export PYTHONDONTWRITEBYTECODE :=
test: .venv/ready lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/ready
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy

# docs/speed.md, made on this machine; QUICK=1 for small sizes.
bench: .venv/ready
	$(BIN)/python -m benchmarks.speed $(if $(QUICK),--quick)

# docs/growth.svg and its section of docs/speed.md: time and memory against size.
growth: .venv/ready
	$(BIN)/python -m benchmarks.speed.growth $(if $(QUICK),--quick)

# torch comes first and alone: whichever build of that version is at hand is kept by what follows.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or later is needed; set PYTHON=..."'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch .venv/ready

lock: .venv/ready
	@echo '# Everything the package, its tests and its demonstration need, pinned; made with: make lock' > requirements.lock
	$(BIN)/pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu//' >> requirements.lock

clean:
	rm -rf demo .venv
