#!/usr/bin/env bash
# Makes the numbers of this folder again: bash docs/galaxy10/make.sh galaxy10_decals clip.safetensors lite0.pth
# In the repository's folder, with its environment active. On two quiet CPU cores the first three sweeps take 12, 13 and 8
# minutes, ViT-B/16 from scratch four to seven minutes an epoch; the last two blocks were
# timed beside other work alone (16 minutes a trial with all labels).
# What was interrupted continues: python -m sweep.run --resume NAME
set -euo pipefail
data=$(realpath "$1") clip=$(realpath "$2") lite0=$(realpath "$3")
vit=timm:vit_base_patch16_clip_quickgelu_224 cnn=timm:tf_efficientnet_lite0
common=(--data "$data" --gpus 0)
python -m sweep.run "${common[@]}" --name galaxy10 --arch $vit vit_demo $cnn --scratch-arch vit_demo \
    --weights $vit="$clip" $cnn="$lite0" --trained probe head --controls statistics \
    --budgets 30 60 120 240 579 --seeds 0 1 2 3 4 5 6 7 8 9
python -m sweep.run "${common[@]}" --name vit-b16-untrained --arch $vit --weights "$clip" --inits pretrained \
    --trained probe --probe-draws 3 --controls untrained --budgets 30 60 120 240 579 --seeds 0 1 2
python -m sweep.run "${common[@]}" --name galaxy10-modern --arch vit_demo --protocol modern --budgets 120 240 579 \
    --seeds 0 1 2 --controls
python -m sweep.run "${common[@]}" --name vit-b16-scratch --arch $vit --inits scratch --fractions 1 --seeds 0 1 \
    --precision bf16 --controls --checkpoint-seconds 60
python -m sweep.run "${common[@]}" --name vit-b16-last-2 --arch $vit --weights "$clip" --inits pretrained \
    --trained last_2 --budgets 120 579 --seeds 0 1 2 --precision bf16 --controls
cd ray_results
python -m analysis.report galaxy10 vit-b16-untrained vit-b16-last-2 vit-b16-scratch galaxy10-modern --out galaxy10-all
cd ..
cp ray_results/galaxy10-all/trials.csv ray_results/galaxy10-all/figures/backbones.png docs/galaxy10
cp ray_results/galaxy10-all/tables/backbones.md docs/galaxy10/labels-needed.md
cp ray_results/galaxy10-all/tables/architectures.md docs/galaxy10
