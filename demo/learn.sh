#!/usr/bin/env bash
# Trains the small checkpoint that the demo starts from (demo/learned): the training puppets, more of
# them than the demo renders, and every stage for a number of steps, not of seconds. LEARNED.md says how
# long it took. Nothing here sees a test puppet or the real test clip. A run that was stopped goes on
# where it was; `make clean` forgets it.
set -euo pipefail
cd "$(dirname "$0")/.."

# Small networks gain little from a second thread, and much from a second process.
export OMP_NUM_THREADS=1
out=learn-out
mkdir -p "$out"
. demo/step.sh
corpus() {
    test -f "$out/puppets-train/sources.csv" ||
        aa-datasets puppets --out "$out/puppets-train" --count 1000 --first-seed 0
    aa-curate run curation/recipes/demo.py --sources "$out/puppets-train" --out "$out/corpus"
}
train() { # stage, more
    local stage=$1
    shift
    aa-train "$out"/corpus/shards/train-*.tar --preset small --stage "$stage" --cache-gb 3 \
        --resume --out "$out/training/$stage" "$@"
}
train_on_two_cores() { # stage, more: each process takes half of the preset's batch
    local stage=$1
    shift
    torchrun --standalone --nproc-per-node 2 -m aa_model.cli.train \
        "$out"/corpus/shards/train-*.tar --preset small --stage "$stage" --cache-gb 3 \
        --resume --out "$out/training/$stage" --device cpu "$@"
}
keypoints() {
    test -f "$out/puppet-keypoints.safetensors" ||
        aa-model puppet-keypoints train "$out"/corpus/shards/train-*.tar --steps 1000 \
            --out "$out/puppet-keypoints.safetensors"
}
# What the two stages rest on, or are measured with, is trained side by side, a core each: the keypoint
# network takes nearly as long as the two others together.
frozen_parts() {
    keypoints >"$out/keypoints.log" 2>&1 &
    local keypoints=$!
    train autoencoder --steps 3000
    train image-encoder --steps 400
    finished "$keypoints" "$out/keypoints.log"
}
keep() {
    rm -rf demo/learned
    aa-model export "$out/training/2" --out demo/learned --dtype fp16
    cp "$out/puppet-keypoints.safetensors" demo/learned/
    python demo/loss_curves.py "$out/training" demo/learned
}

step "1. the training puppets" corpus
step "2. autoencoder, image encoder, keypoint network (its log: $out/keypoints.log)" frozen_parts
step "3. stage 1" train_on_two_cores 1 --steps 5000 --batch-size 2 \
    --init "$out/training/autoencoder" "$out/training/image-encoder"
step "4. stage 2" train_on_two_cores 2 --steps 240 --batch-size 1 --init "$out/training/1"
step "5. demo/learned" keep
printf '\nlearn: %d s\n' "$((SECONDS - started))"
