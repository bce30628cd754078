# The commands that README.md and docs/contributing.md explain, for those who have make.

VENV := .venv
DATA ?= examples/data

.PHONY: bench docs test

bench: $(VENV)
	$(VENV)/bin/pip install -q -e '.[plot]'
	$(VENV)/bin/python -m benchmarks.speed --data $(DATA) $(ARGS)

docs: $(VENV)
	$(VENV)/bin/pip install -q -e '.[docs]'
	$(VENV)/bin/zensical build --strict

test: $(VENV)
	$(VENV)/bin/pip install -q -e '.[test]'
	$(VENV)/bin/python -m tests

$(VENV):
	python3 -m venv $(VENV)
