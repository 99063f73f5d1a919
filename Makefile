# Each target sets itself up: the first one creates .venv and installs this checkout into it.
PYTHON ?= python3
# Further requirements, which replace their lines of constraints.txt in a new .venv: make test WITH="nnunetv2==2.8.0"
WITH ?=
REPLACED := $(foreach requirement,$(WITH),-e '^$(firstword $(subst =, ,$(subst @, ,$(requirement))))==')
FAST := $(addprefix tests/,cli comparison cpu dicom images losses metrics networks preprocessing storage trust \
	test_architecture.py test_modalities.py test_public_interface.py test_requirements.py)
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY := $(VENV)/.ready
READY_DOCS := $(VENV)/.ready-docs

.DELETE_ON_ERROR:
.PHONY: demo test test-fast test-all faults lint types docs bench clean

demo: $(READY)  ## train on a small phantom and predict from subsets of its modalities (about 4 minutes on 2 cores)
	$(BIN)/magms_demo -o magms_demo

test: $(READY)  ## what must pass before every commit
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-fast: $(READY)  ## for the loop of a developer: functions on small arrays and files, without training and commands
	$(BIN)/python -m pytest -m "not slow and not process" $(FAST)

test-all: $(READY)  ## also what takes long
	$(BIN)/python -m pytest

faults: $(READY)  ## inject every fault of docs/reliability.md, also what takes long, and say what became of it
	$(BIN)/python -m pytest tests/faults

lint: $(READY) types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## the type checker, on what is installed
	$(BIN)/ty check

docs: $(READY_DOCS)  ## the documentation site, build/site/index.html; a warning or a broken internal link is an error
	$(BIN)/python -m sphinx -W --keep-going -q -E -d build/doctrees -b html -c docs . build/site

bench: $(READY)  ## cost as ratios to nnU-Net in the same run, on the CPU and on a GPU if there is one
	set -e; for what in step memory sweep growth predict; do $(BIN)/python benchmarks/$$what.py --device cpu; done
	if $(BIN)/python -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then set -e; \
		for what in step memory growth; do $(BIN)/python benchmarks/$$what.py --device cuda --compile both; done; \
		for what in sweep predict; do $(BIN)/python benchmarks/$$what.py --device cuda; done; fi

$(READY): setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	grep -v $(REPLACED) -e '^$$' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable ".[dev]" $(WITH)
	touch $(READY)

$(READY_DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable ".[docs]"
	touch $(READY_DOCS)

clean:
	rm -rf $(VENV) magms_demo build *.egg-info
