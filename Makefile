# Every recipe is a plain command: without make, paste the lines (README, "Without make").
PYTHON ?= python3
VENV ?= .venv
ifeq ($(OS),Windows_NT)
PY := $(VENV)/Scripts/python
else
PY := $(VENV)/bin/python
endif
READY := $(VENV)/ready
LESSONS := $(sort $(wildcard notebooks/*.ipynb))
MODELS := judge classifier ddpm unet text words

.PHONY: help setup lessons test unit mutants lint lab train quality trials bench crosscheck evaluate variants sentences picture store clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

setup: $(READY) ## install everything into .venv

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt -e ".[dev]"
	$(PY) -c "open('$(READY)', 'w').close()"

lessons: export TQDM_DISABLE = 1
lessons: setup ## run every lesson top to bottom, training included; notebooks and HTML pages in build/lessons
	$(PY) -m jupyter nbconvert --to notebook --execute --output-dir build/lessons $(LESSONS)
	$(PY) -m jupyter nbconvert --to html --output-dir build/lessons $(LESSONS:notebooks/%=build/lessons/%)

test: unit mutants lint ## unit tests, the tests of these tests, style, then nbval over every notebook
	$(PY) -m pytest --nbval notebooks

unit: setup ## unit tests alone
	$(PY) -m pytest tests

mutants: setup ## break every formula on purpose: the unit tests must turn red each time
	$(PY) -m pytest tests/mutation -m mutation

lint: setup ## ruff over .py and .ipynb
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

lab: setup ## open the lessons in JupyterLab, on this machine only, token on
	$(PY) -m jupyter lab --ip=127.0.0.1 notebooks

train: $(MODELS:%=train-%) quality ## retrain every shipped weight, measure it, describe it

train-%: setup
	$(PY) -m minidiff train $* --out data/weights/$*.safetensors

quality: setup ## measure the shipped weights; writes their metadata and data/weights/README.md
	$(PY) -m minidiff.measure.quality

trials: setup ## train the live U-Net with one number changed at a time; writes data/results/trials.csv
	$(PY) -m minidiff.measure.trials data/results/trials.csv

bench: setup ## speed in every precision, beside diffusers' U-Net; seconds to 90, 95 and 99 % as asked
	$(PY) -m pip install --quiet -c constraints.txt -e ".[bench]"
	$(PY) -m minidiff.measure.bench

crosscheck: setup ## metrics against torchmetrics and prdc, schedulers against diffusers
	$(PY) -m pip install --quiet -c constraints.txt -e ".[crosscheck,bench]"
	$(PY) -m pytest tests/measure/test_cross_check.py tests/test_article.py

evaluate: setup ## measure every method over w; writes data/results/guidance.csv
	$(PY) -m minidiff evaluate --out data/results/guidance.csv

variants: setup ## measure the later ideas of lesson 12, each over as many settings; writes data/results/variants.csv
	$(PY) -m minidiff evaluate --variants --n 50 --seeds 3 --steps 20 --out data/results/variants.csv

sentences: setup ## measure digits drawn from sentences, over w; writes data/results/sentences.csv
	$(PY) -m minidiff.measure.sentences data/results/sentences.csv

picture: setup ## the picture at the top of README
	$(PY) -m minidiff.teaching.overview data/results/digits_by_scale.png

store: export TQDM_DISABLE = 1
store: setup ## run the lessons in place and store their outputs (for authors)
	$(PY) -m jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.store_widget_state=False $(LESSONS)

clean: ## remove what make made
	$(PYTHON) -c "import shutil; [shutil.rmtree(d, ignore_errors=True) for d in ('build', '$(VENV)')]"
