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
MODELS := evaluator classifier ddpm unet clip text_unet
COURSE ?= build/course
PRIVATE ?= notebooks/course/private
WORKERS ?= 2

.PHONY: help setup lessons test test-all other-machines lab assignments handout grade formgrade book playground
.PHONY: test-crosscheck train bench store clean

help: # this list
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

test-%: $(INSTRUCTOR) $(DOCS) # one part: style, tests, plain, mutants, grading, extras, machines or book
	$(PY) tests/suite.py --workers $(WORKERS) $*

test-crosscheck: setup # metrics against torchmetrics and prdc, schedulers against diffusers
	$(PY) -m pip install --quiet -c constraints.txt -e ".[crosscheck,bench]"
	$(PY) -m pytest tests/evaluation/test_cross_check.py tests/teaching/test_article.py

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

train: $(MODELS:%=train-%) ## retrain every pretrained weight, measure it, describe it
	$(PY) -m minidiff.experiments.model_cards

train-%: setup
	$(PY) -m minidiff train $* --out data/weights/$*.safetensors

# A file of data/results from its experiment. What is there counts as made: delete it, or make -B, which goes on where it stopped
data/results/%.csv: | $(READY)
	$(PY) -m minidiff.experiments.$* $@

data/results/digits_by_scale.png: | $(READY) # the picture at the top of README
	$(PY) -m minidiff.teaching.overview $@

bench: setup ## speed in every precision, beside other networks
	$(PY) -m pip install --quiet -c constraints.txt -e ".[bench]"
	$(PY) -m minidiff.experiments.bench

store: export TQDM_DISABLE = 1
store: export MINIDIFF_SECONDS = inf
store: setup # run the lessons in place and store their outputs (for authors)
	$(PY) -m jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.store_widget_state=False $(LESSONS)

clean: ## remove what make made, but not build/course: there may be grades in it
	$(PYTHON) -c "import shutil, pathlib; [shutil.rmtree(d, ignore_errors=True) for d in [*set(pathlib.Path('build').glob('*')) - {pathlib.Path('build/course')}, '$(VENV)']]"

