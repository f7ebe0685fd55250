#!/usr/bin/env bash
# Trains on all hosts of a TPU slice, one process on each:
#
#   launch/tpu_pod.sh TPU ZONE --config=NAME --workdir=gs://BUCKET/DIR [--config.FIELD=VALUE ...]
#
# The arguments after TPU and ZONE are those of `resnet-alexnet train`. Each host needs this project with its .venv in
# the folder that FOLDER names, by default resnet_alexnet in the home folder. Set it up once, in the same way:
#
#   gcloud compute tpus tpu-vm ssh TPU --zone=ZONE --worker=all --command='cd resnet_alexnet && make quickstart'
#
# Ctrl-C here ends the connection, not the run. To stop the run, which saves:
#
#   gcloud compute tpus tpu-vm ssh TPU --zone=ZONE --worker=all --command='pkill -TERM -f resnet_alexnet.main'
set -euo pipefail

if [[ ${1-} == -h || ${1-} == --help ]]; then
  sed -n '2,/^set/{/^set/!{s/^# \{0,1\}//;p;};}' "${BASH_SOURCE[0]}"
  exit 0
fi
if [[ $# -lt 3 || $1 == -* || $2 == -* ]]; then
  echo "error: ${*:-no arguments} (needed: TPU ZONE --config=NAME --workdir=DIR; see launch/tpu_pod.sh --help)" >&2
  exit 2
fi
tpu=$1
zone=$2
shift 2

printf -v command '%q ' .venv/bin/python -m resnet_alexnet.main "$@"
printf -v folder '%q' "${FOLDER:-resnet_alexnet}"
exec gcloud compute tpus tpu-vm ssh "$tpu" --zone="$zone" --worker=all --command="cd $folder && exec $command"
