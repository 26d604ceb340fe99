#!/usr/bin/env bash
# Makes the numbers of docs/guide/transfer.md again:
#   bash docs/transfer/make.sh sdss_gz1.h5 galaxy10_decals
# In the repository's folder, with its environment active. On two CPU cores its parts took some 12 minutes, one by one.
set -euo pipefail
sdss=$(realpath "$1") galaxy10=$(realpath "$2")
flags=(--preset transfer --protocol demo --gpus 0 --seeds 0 1 2 3 4 --replace)
python -m sweep.run --preset demo --inits scratch --fractions 1 --seeds 0 1 2 --name mock --replace
python -m sweep.run "${flags[@]}" --transfer-from ray_results/mock --data "$sdss" \
    --class-map docs/transfer/mock-to-sdss-classes.csv --name mock-to-sdss
python -m sweep.run "${flags[@]}" --transfer-from ray_results/mock-to-sdss --data "$galaxy10" \
    --class-map docs/transfer/sdss-to-galaxy10-classes.csv --fractions 0.05 0.1 0.25 0.5 1 --name sdss-to-galaxy10
for name in mock-to-sdss sdss-to-galaxy10; do
    python -m analysis.report "ray_results/$name"
    made=ray_results/$name/report
    cp "$made/tables/transfer.md" "docs/transfer/$name-accuracies.md"
    cp "$made/tables/transfer_classes.md" "docs/transfer/$name-found.md"
    cp "$made/tables/label_saving.md" "docs/transfer/$name-saving.md"
    cp "$made/figures/transfer.png" "docs/transfer/$name.png"
    cp "$made/trials.csv" "docs/transfer/$name-trials.csv"
done
