#!/usr/bin/env bash
# Trains the small checkpoint that the demo starts from (demo/learned): the training puppets, more of
# them than the demo renders, and every stage for a number of steps, not of seconds. Hours: LEARNED.md says
# how many were measured. Nothing here sees a test puppet or the real test clip. A run that was stopped
# goes on where it was; `make clean` forgets it.
set -euo pipefail
cd "$(dirname "$0")/.."

out=learn-out
mkdir -p "$out"
. demo/step.sh
corpus() {
    test -f "$out/puppets-train/sources.csv" ||
        aa-datasets puppets --out "$out/puppets-train" --count 1000 --first-seed 0
    aa-curate run curation/recipes/demo.py --sources "$out/puppets-train" --out "$out/corpus"
}
train() { # stage, steps, run, more
    local stage=$1 steps=$2 run=$3
    shift 3
    aa-train "$out"/corpus/shards/train-*.tar --preset small --stage "$stage" --steps "$steps" \
        --cache-gb 3 --resume --out "$out/training/$run" "$@"
}
keypoints() {
    test -f "$out/puppet-keypoints.safetensors" ||
        aa-model puppet-keypoints train "$out"/corpus/shards/train-*.tar --steps 1500 \
            --out "$out/puppet-keypoints.safetensors"
}
keep() {
    rm -rf demo/learned
    aa-model export "$out/training/2-fourth" --out demo/learned --dtype fp16
    cp "$out/puppet-keypoints.safetensors" demo/learned/
    python demo/loss_curves.py "$out/training" demo/learned
}

step "1. the training puppets" corpus
step "2. autoencoder" train autoencoder 3000 autoencoder
step "2. image encoder" train image-encoder 400 image-encoder
step "2. stage 1" train 1 3000 1 --init "$out/training/autoencoder" "$out/training/image-encoder"
step "2. stage 2" train 2 120 2 --init "$out/training/1"
# Again, from a learning rate that is not yet low: the loss was still falling.
step "2. stage 1, second run" train 1 700 1-again --lr 6e-4 --warmup-steps 50 \
    --init "$out/training/1"
step "2. stage 2, second run" train 2 40 2-again --init "$out/training/2" "$out/training/1-again"
step "2. stage 1, third run" train 1 2000 1-third --lr 8e-4 --warmup-steps 50 \
    --init "$out/training/1-again"
step "2. stage 2, third run" train 2 80 2-third \
    --init "$out/training/2-again" "$out/training/1-third"
step "2. stage 1, fourth run" train 1 2000 1-fourth --lr 8e-4 --warmup-steps 50 \
    --init "$out/training/1-third"
step "2. stage 2, fourth run" train 2 80 2-fourth \
    --init "$out/training/2-third" "$out/training/1-fourth"
step "3. keypoint network" keypoints
step "4. demo/learned" keep
