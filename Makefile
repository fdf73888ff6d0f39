# What a newcomer and CI call. Everything is set up in pyproject.toml and constraints.txt; this only runs it.
PYTHON ?= python3
# Where PyTorch's own wheels for machines without a GPU lie, asked only when pip finds none elsewhere.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH = torch==2.13.0+cpu
BIN = .venv/bin
EXTRAS = agent,trainer,engine,dashboard,kafka,postgres,s3,dev

.PHONY: demo learn test soak check lint format bench model
.DELETE_ON_ERROR:

demo: model            ## one whole turn of the loop with real parts, in at most 15 minutes
	$(BIN)/nightshift demo

learn: model           ## several nights in a row, an hour or two; LEARN="--help" says what can be chosen
	$(BIN)/python -m infra.learn $(LEARN)

# One thread for each: two that wait for each other busily take four times as long beside another test's.
test: model            ## the whole suite, the real engine included, two tests at a time
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder

soak: model            ## the faults that must be survived, by their full counts: an hour or two
	$(BIN)/pytest tests/faults --soak

check: lint            ## what CI asks before the tests
	$(BIN)/mypy
	$(BIN)/lint-imports

lint: .venv/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: .venv/.installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/.installed   ## measurements as ratios; KAFKA_BOOTSTRAP=host:9092 adds Kafka
	$(BIN)/python -m infra.bench

model: models/.assembled   ## the base model and the static vectors, once

models/.assembled: trainer/base_model.py | .venv/.installed
	$(BIN)/python -m trainer.base_model
	@touch $@

.venv: .venv/.installed

# torch first, so that nothing brings another build of it. The engine's package asks for torchvision,
# torchaudio and torchcodec, which neither it nor we need here, and which cannot be imported beside this
# torch and then break imports of others.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install "$(TORCH)" || $(BIN)/pip install "$(TORCH)" --extra-index-url $(TORCH_INDEX)
	$(BIN)/pip install -c constraints.txt -e ".[$(EXTRAS)]"
	$(BIN)/pip uninstall -y torchvision torchaudio torchcodec
	@touch $@
