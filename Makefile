# Each target starts from a clone, git, make and a Python 3.11, and sets up what it needs.
#   make verify PYTHON=python3.12    another Python; VENV=... another place for the environment
PYTHON ?=
VENV ?= .venv
export PYTHON VENV
LUCIE = $(VENV)/bin/lucie
CHECK = $(VENV)/bin/ruff check --quiet . && $(VENV)/bin/ruff format --quiet --check . \
	&& $(VENV)/bin/mypy --no-error-summary && echo "style and types: fine"

.PHONY: help verify reproduce test lint lab lock clean
help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

verify:  ## judge the committed results again, without running anything (no torch)
	@tools/setup.sh base
	@$(LUCIE) verify

reproduce:  ## rerun every stage on this machine, judge it, and make the report and the book
	@tools/setup.sh corpus train eval
	@tools/tex.sh
	@$(LUCIE) reproduce --report

test:  ## set-up and tests
	@tools/setup.sh corpus train eval dev
	@(tools/tex.sh; tools/testing.sh) & $(CHECK); code=$$?; wait; exit $$code
	@$(VENV)/bin/pytest -n auto

lint:  ## style and types
	@tools/setup.sh corpus train eval dev
	@$(CHECK)

lab:  ## JupyterLab on the notebooks
	@tools/setup.sh corpus train eval
	@$(VENV)/bin/jupyter lab notebooks

lock:  ## resolve all dependencies anew: requirements.lock and environment.yml
	@$(or $(PYTHON),python3.11) tools/lock.py

clean:  ## remove what was built here; results/ stays
	rm -rf build
