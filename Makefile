# The commands that README.md and docs/contributing.md explain, for those who have make.

VENV := .venv
DATA ?= examples/data

.PHONY: bench test

bench: $(VENV)
	$(VENV)/bin/pip install -q -e '.[plot]'
	$(VENV)/bin/python -m benchmarks.speed --data $(DATA) $(ARGS)

test: $(VENV)
	$(VENV)/bin/pip install -q -e '.[test]'
	$(VENV)/bin/python -m tests

$(VENV):
	python3 -m venv $(VENV)
