#!/usr/bin/env bash
# Makes the numbers of this folder again: bash docs/real-galaxies/make.sh sdss_gz1.h5
# In the repository's folder, with its environment active; some 20 minutes on two quiet CPU cores.
set -euo pipefail
data=$(realpath "$1")
python -m sweep.run --preset demo --protocol demo --data "$data" --drop-labels 4 --merge-labels 1+2 --seeds 0 1 2 3 4 \
    --fractions 0.05 0.25 1 --trained probe head all --probe-draws 40 --name galaxies --replace
python -m analysis.report ray_results/galaxies
cp ray_results/galaxies/report/trials.csv docs/real-galaxies
