# Set-up is part of every target: .venv is made from the PYTHON below and pyproject.toml, in the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# pytest workers, of one thread each.
WORKERS ?= 2
# A worker that a test ends by mistake ends the run: pytest-xdist may wait forever for one that it started again.
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --max-worker-restart=0
BY_FILE := --dist=loadfile --no-loadscope-reorder
# The tests start hundreds of processes. Without bytecode, each compiles the package anew.
COMPILE = $(BIN)/python -m compileall -q resnet_alexnet configs
# The rules of the code, the recipes and the models: what tells most comes first.
CONTRACT := tests/test_layering.py tests/test_docstrings.py tests/test_files.py tests/test_paths.py tests/test_configs.py \
	tests/models/test_contract.py
# The files that take longest come first of the rest, so that no worker waits for another at the end.
LONGEST := tests/test_readme.py tests/launch/test_slurm.py tests/train/test_hosts.py tests/train/test_loop.py \
	tests/train/test_loop_streamed.py tests/test_imagenet_recipes.py tests/pretrained/test_parity.py \
	tests/models/test_torch.py tests/train/test_loop_inside.py tests/train/test_steps.py tests/test_speed_benchmarks.py
OTHERS := $(filter-out $(CONTRACT) $(LONGEST),$(wildcard tests/test_*.py tests/*/test_*.py tests/*/*/test_*.py))

.PHONY: quickstart degradation test slow nightly lint

quickstart: .venv/base.stamp
	$(BIN)/python -m resnet_alexnet.main --config=configs/quickstart.py --workdir=runs/quickstart

degradation: .venv/study.stamp
	$(BIN)/python -m resnet_alexnet.study.run --config=first_look --scale=cpu --workdir=runs/degradation
	@echo "the picture: runs/degradation/report/pictures/first_look_training_curves.png"

test: .venv/all.stamp
	$(COMPILE)
	$(PYTEST) -m "not slow and not nightly" -q -x --dist=worksteal $(CONTRACT)
	$(PYTEST) -m "not slow and not nightly" $(BY_FILE) $(LONGEST) $(OTHERS)

slow: .venv/all.stamp
	$(COMPILE)
	$(PYTEST) -m "slow and not nightly" $(BY_FILE) $(LONGEST) $(OTHERS) $(CONTRACT)

nightly: .venv/all.stamp
	$(COMPILE)
	$(PYTEST) -m nightly $(BY_FILE) $(LONGEST) $(OTHERS) $(CONTRACT)

lint: .venv/all.stamp
	$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/pyright

.venv/base.stamp .venv/study.stamp .venv/all.stamp: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make ... PYTHON=python3.12")'
	@echo "Installing into .venv: about $(if $(findstring all,$@),680 MB (with the CPU build of torch),$(if $(findstring study,$@),350 MB,310 MB)) to download, a minute or more"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.$(if $(findstring all,$@),[all])$(if $(findstring study,$@),[study])' --constraint constraints.txt
	$(if $(findstring all,$@),$(BIN)/python -m pip install --quiet --no-deps torchvision timm --constraint constraints.txt)
	touch $@
