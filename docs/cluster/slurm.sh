#!/bin/bash
# One run on all nodes of a Slurm job; submit it again to go on with one that was broken off:
#   sbatch docs/cluster/slurm.sh --policy expert --suite ms-hab-mini --out results/runs/mine
#SBATCH --job-name=vla-bench
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --exclusive
#SBATCH --no-kill
#SBATCH --time=04:00:00
set -euo pipefail

source .venv/bin/activate # on a file system that every node sees

# Whoever knows the token may use the cluster, which ends with the job.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
head=$(getent ahostsv4 "$first" | awk 'NR == 1 {print $1}')
others=$((SLURM_JOB_NUM_NODES - 1))
node="ray start --block --num-cpus $SLURM_CPUS_PER_TASK"

# This script runs on the first node, which is the head; the others may come late, or leave.
srun --output ray-%j-%N.log --nodes 1 --ntasks 1 --nodelist "$first" \
  $node --head --node-ip-address "$head" --port 6379 --include-dashboard false &
timeout 120 bash -c 'until ray status &> /dev/null; do sleep 1; done'
if [ "$others" -gt 0 ]; then
  srun --output ray-%j-%N.log --no-kill --nodes "$others" --ntasks "$others" --exclude "$first" \
    $node --address "$head:6379" &
fi

vla-bench run --workers $((SLURM_JOB_NUM_NODES * SLURM_CPUS_PER_TASK)) --ray-address auto "$@"
