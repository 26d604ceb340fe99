#!/bin/bash
# A sweep as one SLURM job: a Ray head on the first node, a worker on each other node.
#   sbatch slurm.sh
# Change the six lines below and the three variables. Storage is a folder that all nodes see.
#SBATCH --job-name=vit-label-sweep
#SBATCH --nodes=4
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --ntasks-per-node=1
#SBATCH --no-kill
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
# --no-kill: the job outlives a worker node. --requeue: it comes back after the first node's death
# or pre-emption. --signal: five minutes before the end this script is told.
set -euo pipefail

project=$HOME/vit-label-sweep
shared=/shared
name=galaxy10

cd "$project"
source .venv/bin/activate
SWEEP_CACHE_DIR=${TMPDIR:-/tmp}/vit-label-sweep-$(id -un) # on the node's own disk
export SWEEP_CACHE_DIR
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))') # srun passes it on
export RAY_AUTH_TOKEN
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # srun no longer takes it from sbatch by itself

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_ip=$(hostname -I | awk '{print $1}') # of the private interface; name another one here
port=$((20000 + SLURM_JOB_ID % 10000))    # jobs that share a node keep apart
address=$head_ip:$port

start_ray() { # on the node $1, with further flags for `ray start`
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$1" \
        ray start --block --disable-usage-stats --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
        --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "${@:2}" &
}

start_ray "${nodes[0]}" --head --node-ip-address="$head_ip" --port="$port" \
    --include-dashboard=false
head=$!
until python -c 'import ray, sys; ray.init(sys.argv[1])' "$address" &>/dev/null; do
    kill -0 "$head" # fails, and ends this script, if the head did not start
    sleep 2
done
for node in "${nodes[@]:1}"; do
    start_ray "$node" --address="$address"
done

RAY_ADDRESS=$address bash docs/cluster/start-or-resume.sh "$shared/ray_results" "$name" \
    --data "$shared/Galaxy10_DECals.h5" --weights "$shared/vit_b_16-c867db91.pth" \
    --seeds 0 1 2 3 4 &
driver=$!
out_of_time=
trap 'out_of_time=yes; kill -USR1 "$driver"' USR1 # Tune saves its state and ends, as after Ctrl-C

while :; do
    code=0
    wait "$driver" || code=$?
    kill -0 "$driver" 2>/dev/null || break # else it was the signal that ended the wait
done
if [[ $out_of_time && $code -ne 0 ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code" # SLURM ends what still runs in the job, Ray's workers included
