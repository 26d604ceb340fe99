#!/usr/bin/env bash
# Makes the numbers of docs/guide/label-next.md again:
#   bash docs/label-next/make.sh galaxy10_decals sdss_gz1.h5 clip.safetensors
# In the repository's folder, with its environment active; some 20 minutes on two quiet CPU cores.
set -euo pipefail
galaxy10=$(realpath "$1") sdss=$(realpath "$2") clip=$(realpath "$3")
one=(--inits pretrained --trained probe --fractions 1 --seeds 0 --probe-draws 0 --gpus 0 --cpus 1 --replace)
python -m sweep.run --data "$galaxy10" --arch timm:vit_base_patch16_clip_quickgelu_224 --weights "$clip" \
    "${one[@]}" --name galaxy10-clip
python -m sweep.run --data "$sdss" --drop-labels 4 --merge-labels 1+2 --arch vit_demo "${one[@]}" --name sdss-demo
for name in galaxy10-clip sdss-demo; do
    python -m analysis.label_next --from "ray_results/$name" --simulate
    made=ray_results/$name/label_next
    cp "$made/tables/gains.md" "docs/label-next/$name-gains.md"
    cp "$made/tables/random_needs.md" "docs/label-next/$name-needs.md"
    cp "$made/figures/label_next.png" "docs/label-next/$name.png"
    cp "$made/simulation.csv" "docs/label-next/$name.csv"
done
