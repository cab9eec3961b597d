# Everything needed is installed into .venv by the first target that wants it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench growth docs docs-links clean lock release

demo: .venv/ready
	$(BIN)/vadose demo --out demo

# The processes that tests start share compiled modules, also where the environment forbids writing them.
test: export PYTHONDONTWRITEBYTECODE :=
test: .venv/ready lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/ready
	$(BIN)/ruff check src tests benchmarks docs/conf.py docs/making
	$(BIN)/ruff format --check src tests benchmarks docs/conf.py docs/making
	$(BIN)/mypy

# docs/speed.md, made on this machine; QUICK=1 for small sizes.
bench: .venv/ready
	$(BIN)/python -m benchmarks.speed $(if $(QUICK),--quick)

# docs/growth.svg and its section of docs/speed.md: time and memory against size.
growth: .venv/ready
	$(BIN)/python -m benchmarks.speed.growth $(if $(QUICK),--quick)

# The site, in docs/_build/html; code of pages runs, a warning is an error, and nothing is downloaded.
docs: .venv-docs/ready
	.venv-docs/bin/python -m sphinx -E -W --keep-going -n -q docs docs/_build/html
	@echo docs/_build/html/index.html

# Links out of the site, which needs a network.
docs-links: .venv-docs/ready
	NO_RUN=1 .venv-docs/bin/python -m sphinx -b linkcheck -q docs docs/_build/links

# Its own environment sees the package and what it needs by a path file.
.venv-docs/ready: docs/requirements.lock .venv/ready
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --disable-pip-version-check -r docs/requirements.lock
	$(BIN)/python -c 'import sysconfig; print("$(CURDIR)/src"); print(sysconfig.get_paths()["purelib"])' > "$$(echo .venv-docs/lib/*/site-packages)/vadose.pth"
	touch .venv-docs/ready

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

# A dry run: what a release would hold, built and tried in a bare environment; nothing is tagged or sent anywhere.
release: .venv/ready
	@test -z "$$(git status --porcelain)" || { echo 'commit first: a release is of a commit'; exit 1; }
	rm -rf dist .release
	$(BIN)/python -m build --no-isolation --outdir dist
	if $(BIN)/python -c 'import twine' 2>/dev/null; then $(BIN)/python -m twine check --strict dist/*; fi
	$(PYTHON) -m venv --without-pip .release
	$(BIN)/python -m pip --python .release/bin/python install --quiet --no-deps --no-index dist/*.whl
	echo "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')" > "$$(echo .release/lib/*/site-packages)/beside.pth"
	.release/bin/vadose --version
	.release/bin/vadose demo --help > /dev/null
	rm -rf .release
	@grep -q "^## $$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" CHANGELOG.md || echo 'CHANGELOG.md has no section of this version yet'
	@ls -l dist

clean:
	rm -rf demo .venv .venv-docs docs/_build
