#!/usr/bin/env bash
# Measures everything that needs a GPU, on one of them, in less than ten minutes; prints the tables last.
#
#   benchmarks/gpu.sh [--platform=gpu|cpu] [--quick] [--budget=SECONDS] [--results=DIR] [JOB...]
#
# The jobs, in the order of their worth: resnet50 roofline alexnet cifar_resnet20 cifar_resnet110 flags max_autotune
# inference dispatch. Without names all are done until the time is up; a job that does not fit is left out, and a second
# call with its name does it. --quick tries the script itself, on tiny sizes, and keeps no results unless --results is
# given; with --platform=cpu it needs no GPU.
#
# PYTHON is the interpreter (python3). It needs jax with its CUDA extra, flax, optax, numpy, ml_collections, absl-py,
# jaxtyping, rich, filelock, psutil and pillow; torch, torchvision and timm, without which torch is left out. It needs
# neither TensorFlow nor grain nor tensorflow_datasets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

all=(resnet50 roofline alexnet cifar_resnet20 cifar_resnet110 flags max_autotune inference dispatch)
platform=gpu quick='' budget=570 results='' jobs=()
for word in "$@"; do
  case $word in
    --platform=gpu | --platform=cpu) platform=${word#*=} ;;
    --quick) quick=--quick ;;
    --budget=*) budget=${word#*=} ;;
    --results=*) results=${word#*=} ;;
    --help | -h)
      sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *)
      if [[ " ${all[*]} " != *" $word "* ]]; then
        echo "error: $word is neither a flag nor a job (allowed: ${all[*]}; see --help)" >&2
        exit 2
      fi
      jobs+=("$word")
      ;;
  esac
done
[[ ${#jobs[@]} -gt 0 ]] || jobs=("${all[@]}")
python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
# What one job has compiled, the next ones find, for as long as this script runs.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export JAX_COMPILATION_CACHE_DIR=$scratch/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
export XLA_PYTHON_CLIENT_PREALLOCATE=false TORCHINDUCTOR_CACHE_DIR=$scratch/torch
if [[ $platform == gpu ]]; then
  export JAX_PLATFORMS=cuda
  precision=bfloat16
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
else
  export JAX_PLATFORMS=cpu
  precision=float32
fi
[[ -z $quick ]] || results=${results:-$scratch/results}
results=${results:-benchmarks/results}
mkdir -p "$results"
left_out=()

# run MOST NAME COMMAND...: does a job in at most MOST of the seconds that are left, and goes on whatever becomes of it.
run() {
  local most=$1 name=$2 left=$((budget - SECONDS)) code=0
  shift 2
  if ((left < 15)); then
    left_out+=("$name: no time left")
    return
  fi
  ((left < most)) || left=$most
  echo "== $name, at most $left s of $((budget - SECONDS))" >&2
  timeout "$left" "$@" >"$scratch/output" 2>"$scratch/errors" || code=$?
  if ((code == 124)); then
    left_out+=("$name: not done in $left s")
  elif ((code)); then
    left_out+=("$name: $(tail -n 1 "$scratch/errors")")
  fi
}

# tiny MODEL: the network that a trial has instead.
tiny() {
  if [[ -n $quick ]]; then echo cifar_resnet8; else echo "$1"; fi
}

# step MODEL FILE PARTS LINES [FLAG...]: ours beside torch.
step() {
  local model=$1 file=$results/step_$2_$platform.json parts=$3 lines=$4
  shift 4
  [[ -z $quick ]] || set -- "$@" --quick --batch_size=8
  [[ $platform == gpu ]] || lines=''
  run 150 "$model, $parts${lines:+, $lines}" "$python" benchmarks/step.py --model="$(tiny "$model")" \
    --platform="$platform" --precision=$precision --parts="$parts" --lines="$lines" --seconds=1 --output="$file" "$@"
}

# benchmark MODEL: the recipe for CIFAR with its data on the device and several steps in a dispatch.
benchmark() {
  local model=$1 small=()
  [[ -z $quick ]] || small=(--config.model.name=cifar_resnet8 --quick --windows=1 --seconds=0 --config.batch_size=8
    --config.model.bn_group=4 --config.dataset.num_examples=64 --inference=false)
  run 100 "$model, the recipe" "$python" -m resnet_alexnet.benchmark --config=cifar_resnet --config.model.name="$model" \
    --config.precision=$precision --output="$results/benchmark_${model}_$platform.json" "${small[@]}"
}

roofline() {
  local model=$1 small=()
  [[ -z $quick ]] || small=(--quick --batch_size=8)
  run 100 "$model, roofline" "$python" benchmarks/roofline.py --model="$(tiny "$model")" --precision=$precision --seconds=1 \
    --output="$results/roofline_${model}_$platform.json" "${small[@]}"
}

try_flags() {
  local left=$((budget - SECONDS - 15)) fields=precision=$precision,batch_size=256 small=()
  ((left > 10)) || left=10
  if [[ -n $quick ]]; then
    fields=model.name=cifar_resnet8,model.bn_group=4,batch_size=8,preprocess.image_size=32,dataset.num_classes=10
    small=(--quick --windows=1 '--flags=--xla_gpu_autotune_level=0;--xla_no_such_flag=true')
  fi
  run 300 flags "$python" benchmarks/flags.py --set="$fields" --budget=$left \
    --output="$results/flags_resnet50_$platform.json" "${small[@]}"
}

dispatch() {
  local small=()
  [[ -z $quick ]] || small=(--model=cifar_resnet8 --rounds=1 --steps=2)
  run 150 dispatch "$python" benchmarks/dispatch.py --output="$results/dispatch_$platform.json" "${small[@]}"
}

for job in "${jobs[@]}"; do
  case $job in
    resnet50 | alexnet) step "$job" "$job" training 'ours;torch eager;torch compile;torch contiguous' ;;
    roofline) for net in resnet50 alexnet resnet18 resnet152; do roofline $net; done ;;
    cifar_resnet20 | cifar_resnet110)
      benchmark "$job"
      step "$job" "$job" training ''
      ;;
    flags) try_flags ;;
    max_autotune) step resnet50 resnet50_autotune training 'ours;torch max-autotune' ;;
    inference)
      step resnet50 resnet50_inference inference 'ours;torch eager;torch compile'
      step resnet50 resnet50_one inference 'ours;torch eager;torch compile' --batch_size=1
      ;;
    dispatch) dispatch ;;
  esac
done

"$python" benchmarks/report.py --results="$results"
for job in "${left_out[@]}"; do
  echo "left out: $job"
done
