# Every recipe is a plain command: without make, paste the lines (README, "Without make").
PYTHON ?= python3
VENV ?= .venv
ifeq ($(OS),Windows_NT)
PY := $(VENV)/Scripts/python
else
PY := $(VENV)/bin/python
endif
READY := $(VENV)/ready
DOCS := $(VENV)/docs
INSTRUCTOR := $(VENV)/instructor
LESSONS := $(sort $(wildcard notebooks/*.ipynb))
MODELS := judge classifier ddpm unet text words
COURSE ?= build/course
PRIVATE ?= notebooks/course/private
WORKERS ?= 2

.PHONY: help setup lessons test test-all other-machines lab assignments handout grade formgrade book playground
.PHONY: train quality trials bench crosscheck evaluate exact fresh-noise interval two-networks unconditional variants sentences picture store clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

setup: $(READY) ## install everything into .venv

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt -e ".[dev]"
	$(PY) -c "open('$(READY)', 'w').close()"

lessons: export TQDM_DISABLE = 1
lessons: setup ## run every lesson top to bottom, training included; notebooks and HTML pages in build/lessons
	$(PY) -m jupyter nbconvert --to notebook --execute --output-dir build/lessons $(LESSONS)
	$(PY) -m jupyter nbconvert --to html --output-dir build/lessons $(LESSONS:notebooks/%=build/lessons/%)

test: setup ## what a user runs: style, unit tests, every lesson under strict nbval, the plainest CPU imitated
	$(PY) tests/suite.py --workers $(WORKERS)

test-all: $(INSTRUCTOR) $(DOCS) ## everything: mutants, real grading runs, other machines and the browser too
	$(PY) tests/suite.py --workers $(WORKERS) --all

test-%: $(INSTRUCTOR) $(DOCS) # one part: style, tests, plain, mutants, grading, machines or book
	$(PY) tests/suite.py --workers $(WORKERS) $*

other-machines: setup ## other CPUs, thread counts and one ulp of noise, imitated; then the lowest and newest versions promised
	$(PY) tests/other_machines/run.py --workers $(WORKERS)
	$(PY) tests/other_machines/versions.py

lab: setup ## open the lessons in JupyterLab, on this machine only, token on
	$(PY) -m jupyter lab --ip=127.0.0.1 notebooks

assignments: $(INSTRUCTOR) ## for instructors: the graded assignments as students get them, in COURSE (build/course); PRIVATE=folder of own tests
	$(PY) -m minidiff.teaching.course assign --course "$(COURSE)" --private "$(PRIVATE)"

handout: ## for instructors: the repository without solved assignments and their tests, build/minidiff-student.zip
	$(PYTHON) -c "import os; os.makedirs('build', exist_ok=True)"
	git archive --format=zip --prefix=minidiff/ --output=build/minidiff-student.zip HEAD -- . ":(exclude)notebooks/course" ":(exclude)tests/course"

grade: $(INSTRUCTOR) ## for instructors: grade COURSE/submitted; feedback and grades.csv
	$(PY) -m minidiff.teaching.grading --course "$(COURSE)"

formgrade: $(INSTRUCTOR) ## for instructors: JupyterLab in COURSE, where the written answers are read (menu Nbgrader, Formgrader)
	cd "$(COURSE)" && "$(CURDIR)/$(PY)" -m jupyter lab --ip=127.0.0.1

book: $(DOCS) ## the lessons as a website and the playground, into build/book (needs npm)
	$(PY) book/build.py build/book

$(INSTRUCTOR): $(READY)
	$(PY) -m pip install --quiet -c constraints.txt -e ".[instructor]"
	$(PY) -c "open('$(INSTRUCTOR)', 'w').close()"

$(DOCS): $(READY)
	$(PY) -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(PY) -c "open('$(DOCS)', 'w').close()"

playground: book ## build it and serve it, on this machine only: http://127.0.0.1:8000/playground/
	$(PY) -m http.server --bind 127.0.0.1 --directory build/book 8000

train: $(MODELS:%=train-%) quality ## retrain every shipped weight, measure it, describe it

train-%: setup
	$(PY) -m minidiff train $* --out data/weights/$*.safetensors

quality: setup ## measure the shipped weights; writes their metadata and data/weights/README.md
	$(PY) -m minidiff.experiments.model_cards

trials: setup ## train the live U-Net with one number changed at a time; writes data/results/trials.csv
	$(PY) -m minidiff.experiments.ablations data/results/ablations.csv

bench: setup ## speed in every precision, beside diffusers' U-Net; seconds to 90, 95 and 99 % as asked
	$(PY) -m pip install --quiet -c constraints.txt -e ".[bench]"
	$(PY) -m minidiff.experiments.bench

crosscheck: setup ## metrics against torchmetrics and prdc, schedulers against diffusers
	$(PY) -m pip install --quiet -c constraints.txt -e ".[crosscheck,bench]"
	$(PY) -m pytest tests/evaluation/test_cross_check.py tests/teaching/test_article.py

evaluate: setup ## measure every method over w; writes data/results/guidance.csv
	$(PY) -m minidiff evaluate --out data/results/guidance.csv

exact: setup ## measure guidance with the exact denoiser of the training images, no network; writes data/results/exact.csv
	$(PY) -m minidiff evaluate --methods exact --scales 1 1.25 1.5 2 3 4 6 10 --seeds 3 --out data/results/exact.csv

fresh-noise: setup ## measure CFG and CG with fresh noise in every DDIM step; writes data/results/fresh_noise.csv
	$(PY) -m minidiff evaluate --methods "cfg eta 1" "cg eta 1" --scales 1 1.25 2 3 4 --seeds 2 --out data/results/fresh_noise.csv

interval: setup ## measure CFG at w = 1, only in an interval of t; writes data/results/interval.csv
	$(PY) -m minidiff evaluate --methods "interval 200-800" "two networks 200-900" --scales 2 --out data/results/interval.csv

two-networks: setup ## measure CFG with ddpm as the network that is told nothing; writes data/results/two_networks.csv
	$(PY) -m minidiff evaluate --methods "two networks" --scales 1.25 2 4 10 --seeds 2 --out data/results/two_networks.csv

unconditional: setup ## measure what helps where nobody asks for a digit; writes data/results/unconditional.csv
	$(PY) -m minidiff.experiments.unconditional data/results/unconditional.csv

variants: setup ## measure the later ideas of lesson 12, each over as many settings; writes data/results/variants.csv
	$(PY) -m minidiff evaluate --variants --n 50 --seeds 3 --steps 20 --out data/results/variants.csv

sentences: setup ## measure digits drawn from sentences, over w; writes data/results/sentences.csv
	$(PY) -m minidiff.experiments.text_guidance data/results/text_guidance.csv

picture: setup ## the picture at the top of README
	$(PY) -m minidiff.teaching.overview data/results/digits_by_scale.png

store: export TQDM_DISABLE = 1
store: export MINIDIFF_SECONDS = inf
store: setup ## run the lessons in place and store their outputs (for authors)
	$(PY) -m jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.store_widget_state=False $(LESSONS)

clean: ## remove what make made, but not build/course: there may be grades in it
	$(PYTHON) -c "import shutil, pathlib; [shutil.rmtree(d, ignore_errors=True) for d in [*set(pathlib.Path('build').glob('*')) - {pathlib.Path('build/course')}, '$(VENV)']]"

