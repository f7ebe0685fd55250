#!/usr/bin/env bash
# Trains with N processes on this machine:
#
#   launch/local.sh N --config=NAME --workdir=DIR [--config.FIELD=VALUE ...]
#
# The arguments after N, a whole number from 1 to 256, are those of `resnet-alexnet train`. What process 0 prints is
# shown as it is; lines of process K start with [K], or with its name. On GPUs, each process gets an equal share of them.
#
# If a process fails, the others are ended too. Ctrl-C and SIGTERM are passed on as SIGTERM: all processes save the
# same step and exit with code 75. A second signal kills them. The exit code is that of the first process that failed;
# if none failed, 75 if the run was stopped, else 0. PYTHON=FILE chooses the interpreter.
set -uo pipefail

GRACE_SECONDS=2          # in which the others may say why they end too
COLLECTIVE_SECONDS=300   # as long as a process may wait for another that still compiles

fail() {
  echo "error: $1" >&2
  exit 2
}

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 403)) || fail "bash $BASH_VERSION (needed: 4.3 or newer)"
if [[ ${1-} == -h || ${1-} == --help ]]; then
  sed -n '2,/^set/{/^set/!{s/^# \{0,1\}//;p;};}' "${BASH_SOURCE[0]}"
  exit 0
fi
[[ ${1-} =~ ^[1-9][0-9]{0,2}$ && $1 -le 256 ]] ||
  fail "${1-no N}: the number of processes (allowed: a whole number from 1 to 256), as in launch/local.sh 2 --config=quickstart --workdir=runs/two"
count=$1
shift
for word in "$@"; do
  case $word in
    --coordinator_address* | --num_processes* | --process_id*) fail "$word: local.sh sets this flag itself (leave it out)" ;;
  esac
done

python=${PYTHON-$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv/bin/python}
[[ -x $python ]] || python=python3

gpus=0 # that this process may use
if [[ ${JAX_PLATFORMS-} != cpu ]] && command -v nvidia-smi >/dev/null; then
  if [[ ${CUDA_VISIBLE_DEVICES-} ]]; then
    IFS=, read -ra visible <<<"$CUDA_VISIBLE_DEVICES"
    gpus=${#visible[@]}
  else
    gpus=$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU')
  fi
fi
((gpus % count == 0)) || fail "$count: the number of processes (allowed here: one that divides the $gpus GPUs)"
if ((gpus == 0)); then
  # A collective on CPUs would wait half an hour for a process that is stuck.
  export XLA_FLAGS="--xla_cpu_collective_timeout_seconds=$COLLECTIVE_SECONDS ${XLA_FLAGS-}"
fi
# For jax's coordinator; the census of the processes takes the next one.
port=$("$python" -c '
import socket
while True:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        try:
            second.bind(("127.0.0.1", port + 1))
        except (OSError, OverflowError):
            continue
        print(port)
        break
') || fail "$python does not run: create .venv with make, or set PYTHON"

processes=() # the ids of those that still run, by K
signals=0
code=0

kill_all() {
  ((${#processes[@]} == 0)) || kill -KILL "${processes[@]}" 2>/dev/null
}

# shellcheck disable=SC2317  # called by a trap
stop() {
  ((signals += 1))
  if ((signals > 1)); then
    kill_all
  elif ((${#processes[@]})); then
    kill -TERM "${processes[@]}" 2>/dev/null
  fi
}

# Starts each line with [$1], but for those that already name the process. A signal does not end it: what the process
# says when it stops is still to come.
prefixed() {
  trap '' INT TERM HUP
  exec sed -u "/^process $1 of /! s/^/[$1] /"
}

start() {
  local command=("$python" -m resnet_alexnet.main)
  command+=("--coordinator_address=127.0.0.1:$port" "--num_processes=$count" "--process_id=$1")
  if ((gpus)); then
    local share=$((gpus / count))
    command+=("--local_device_ids=$(seq -s, $(($1 * share)) $((($1 + 1) * share - 1)))")
  fi
  if (($1 == 0)); then
    "${command[@]}" "${@:2}" </dev/null &
  else
    "${command[@]}" "${@:2}" </dev/null > >(prefixed "$1") 2> >(prefixed "$1" >&2) &
  fi
  processes[$1]=$!
}

# Notes the exit codes of the processes that have ended.
reap() {
  local k ended
  for k in "${!processes[@]}"; do
    kill -0 "${processes[k]}" 2>/dev/null && continue
    wait "${processes[k]}" 2>/dev/null
    ended=$?
    unset "processes[k]"
    if ((ended != 0 && ended != 75 && (code == 0 || code == 75))); then
      echo "launch/local.sh: process $k failed with exit code $ended" >&2
    fi
    ((code == 0 || code == 75 && ended != 0)) && code=$ended
  done
}

trap stop INT TERM HUP
trap kill_all EXIT
set -m # each in a process group of its own: Ctrl-C reaches this shell alone
for ((k = 0; k < count; k++)); do
  start "$k" "$@"
done
set +m
while ((${#processes[@]})); do
  wait -n "${processes[@]}" 2>/dev/null # until a process ends or a signal comes
  reap
  if ((code != 0 && code != 75 && ${#processes[@]})); then
    sleep "$GRACE_SECONDS"
    kill_all
    wait "${processes[@]}" 2>/dev/null
    break
  fi
done
exit "$code"
