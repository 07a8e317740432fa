# Everything is installed into .venv, from $(PYTHON) and what pip finds. cmake and ninja come with the build where they are missing.
PYTHON ?= python3
CLIP ?=
ANSWER ?= out/answer.wav
CHECKPOINT ?= demo/checkpoint
MODEL ?= $(CHECKPOINT)
ARGS ?=
WORKERS ?= 2

VENV := .venv
VENV_PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/installed-at
SOURCES := pyproject.toml constraints.txt scheduler/CMakeLists.txt $(wildcard scheduler/*.cpp scheduler/*.hpp)

# The stamp is written last and says where the repository stood. Without it (an interrupted install), moved elsewhere, or with
# its Python gone, the venv is made anew.
ifneq ($(shell $(VENV_PYTHON) -c "" 2>/dev/null && cat $(INSTALLED) 2>/dev/null),$(CURDIR))
UNUSABLE := yes
.PHONY: $(INSTALLED)
endif

.DELETE_ON_ERROR:
.PHONY: help talk quality test lint stubs checkpoint clean

help:
	@echo "make talk    ask $(MODEL) by voice, three questions or CLIP=…, -> $(ANSWER)"
	@echo "make quality whether $(CHECKPOINT) is still understood: the committed questions against the written bar"
	@echo "make test    run the tests, in WORKERS processes; ARGS is given to pytest"
	@echo "make lint    ruff, mypy and buf"
	@echo "make stubs   write the Python stubs of proto/ again, after an edit of a .proto file"
	@echo "make checkpoint   train the demo's model from nothing, in hours: -> $(CHECKPOINT); work in checkpoints/recipe"
	@echo "make clean   remove .venv, the build, the caches and out/; checkpoints stay"
	@echo "PYTHON=python3.12 picks the interpreter that .venv is made from; make clean first to change it."

talk: $(INSTALLED) $(MODEL)
	@mkdir -p $(dir $(ANSWER))
ifeq ($(MODEL),$(CHECKPOINT))
	$(VENV_PYTHON) -m demo.talk $(CLIP) --model $(MODEL) --out $(ANSWER)
else
	$(VENV_PYTHON) -m antiphon talk $(or $(CLIP),demo/clips/tt-weasels.wav) --model $(MODEL) --out $(ANSWER)
endif

quality: $(INSTALLED)
	$(VENV_PYTHON) -m benchmarks.bench_quality --gate --model $(CHECKPOINT)

test: $(INSTALLED)
	$(VENV_PYTHON) -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

lint: $(INSTALLED)
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	$(VENV)/bin/buf lint
	$(VENV)/bin/buf format --diff --exit-code proto

stubs: $(INSTALLED)
	$(VENV_PYTHON) proto/generate_stubs.py

# Hours on two cores. Stopped and started again it goes on; `python -m demo.recipe --help` for single stages.
checkpoint: $(INSTALLED)
	@command -v espeak-ng >/dev/null || { echo "There is no espeak-ng. Debian: apt install espeak-ng"; exit 1; }
	$(VENV_PYTHON) -m demo.recipe --checkpoint $(CHECKPOINT) --judge demo/judge/weights $(ARGS)

clean:
	rm -rf $(VENV) build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Written under another name and moved when whole: an interrupted run leaves no half model that looks like one.
checkpoints/tiny: | $(INSTALLED)
	rm -rf $@.part
	$(VENV_PYTHON) -m antiphon new-checkpoint $@.part --size tiny --seed 0
	mv $@.part $@

$(INSTALLED): $(SOURCES)
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no $(PYTHON). Install Python 3.11 or later (Debian: python3), or name one: make PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is `"$(PYTHON)" --version`; Python 3.11 or later is needed. Name one: make PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments. Debian: apt install python3-venv"; exit 1; }
	@"$(PYTHON)" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || { \
	  echo "$(PYTHON) has no C headers (Python.h). Debian: apt install python3-dev"; exit 1; }
	@for compiler in "$$CXX" c++ g++ clang++; do command -v "$$compiler" >/dev/null && exit; done; \
	  echo "There is no C++ compiler. Debian: apt install g++"; exit 1
	@if [ -n "$(UNUSABLE)" ]; then \
	  echo "Making $(VENV) with $(PYTHON)"; rm -rf $(VENV) && "$(PYTHON)" -m venv $(VENV); fi
	@rm -f $@
	@echo "Installing what pyproject.toml asks for, at the versions of constraints.txt."
	@echo "torch is a large download: about 2.7 GB in all where pip picks its CUDA build. The first time takes minutes."
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(VENV_PYTHON) -m pip install \
	  --disable-pip-version-check -e ".[dev]"
	@echo "$(CURDIR)" > $@
