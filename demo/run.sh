#!/usr/bin/env bash
# The whole thread on real input, with the installed commands only: curate, train, animate,
# evaluate, report. `full` is budgeted for 15 minutes on 2 cores without a GPU; `short` is the same
# thread with less of everything, for CI.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-full}" in
full)
    train_puppets=120 test_puppets=12 frames=24 ddim=20 keypoint_steps=500
    vae_s=120 encoder_s=15 stage1_s=170 stage2_s=45 probe_videos=4
    ;;
short)
    train_puppets=12 test_puppets=3 frames=16 ddim=4 keypoint_steps=30
    vae_s=15 encoder_s=5 stage1_s=15 stage2_s=10 probe_videos=2
    ;;
*)
    echo "usage: demo/run.sh full|short" >&2
    exit 2
    ;;
esac

out=demo-out
rm -rf "$out"
mkdir -p "$out"
started=$SECONDS
step() {
    local from=$SECONDS
    printf '\n== %s\n' "$1"
    shift
    "$@"
    printf -- '-- %d s (%d s in all)\n' "$((SECONDS - from))" "$((SECONDS - started))"
}

# Seeds of training and test puppets never meet: no shared identity, no shared motion.
make_puppets() {
    aa-datasets puppets --out "$out/puppets-train" --count $train_puppets --first-seed 0
    aa-datasets puppets --out "$out/puppets-test" --count $test_puppets --first-seed 1000000 \
        --split test
}
curate() {
    aa-curate run curation/recipes/demo.py --sources "$out/puppets-train" \
        --sources "$out/puppets-test" --sources curation/recipes/demo_sources.csv --out "$out/corpus"
    aa-curate report --out "$out/corpus"
}
train() { # stage, seconds, parts to start from
    local stage=$1 seconds=$2
    shift 2
    # So short a run meets few pictures twice: a cache of latents costs more than it saves.
    aa-train "$out"/corpus/shards/train-*.tar --preset small --stage "$stage" --no-cache-latents \
        --time-limit-s "$seconds" --out "$out/training/$stage" ${@:+--init "$@"}
}
animate() { # shards, predictions, more
    local shards=$1 to=$2
    shift 2
    aa-animate --checkpoint "$out/training/2" --shards $shards --out "$out/$to" \
        --max-frames $frames --steps $ddim "$@"
}
references() { # shards, name
    aa-datasets export $1 --out "$out/references-$2" --size 128 --max-frames $frames
    aa-datasets export $1 --out "$out/nearest-pose-$2" --size 128 --max-frames $frames \
        --nearest-pose "$out"/corpus/shards/train-*.tar
}
keypoints() {
    aa-datasets export $puppets --out "$out/keypoints-truth" --size 128 --max-frames $frames --keypoints
    aa-model puppet-keypoints train "$out"/corpus/shards/train-*.tar \
        --out "$out/puppet-keypoints.safetensors" --steps $keypoint_steps
    local folder
    for folder in predictions-puppets references-puppets nearest-pose-puppets; do
        aa-model puppet-keypoints detect "$out/$folder" \
            --weights "$out/puppet-keypoints.safetensors" --out "$out/keypoints-$folder"
    done
}
evaluate() { # predictions, references, method, label, more
    local predictions=$1 references=$2 method=$3 label=$4
    shift 4
    aa-eval "$out/$predictions" --references "$out/$references" --method "$method" \
        --label "$label" --out "$out/results/$predictions" "$@"
}
evaluate_all() {
    aa-eval weights
    evaluate predictions-puppets references-puppets "small preset, this demo" demo \
        --baselines repeat-reference,mid-grey --keypoints "$out/keypoints-predictions-puppets" \
        --reference-keypoints "$out/keypoints-truth"
    evaluate nearest-pose-puppets references-puppets "nearest training pose" demo \
        --baselines off --keypoints "$out/keypoints-nearest-pose-puppets" \
        --reference-keypoints "$out/keypoints-truth"
    # What the keypoint network itself reaches on true frames: the ceiling of the column `pck`.
    evaluate references-puppets references-puppets "the true frames" demo \
        --baselines off --keypoints "$out/keypoints-references-puppets" \
        --reference-keypoints "$out/keypoints-truth"
    evaluate predictions-real references-real "small preset, this demo, real clip" demo-real \
        --baselines repeat-reference,mid-grey
    # What the swap changes: the swapped videos against the same videos as first animated.
    mkdir -p "$out/predictions-probe"
    local folder
    for folder in "$out"/swapped-pose/*/; do
        cp -r "$out/predictions-puppets/$(basename "$folder")" "$out/predictions-probe/"
    done
    evaluate swapped-reference predictions-probe "probe: reference swapped" demo --baselines off
    evaluate swapped-pose predictions-probe "probe: pose swapped" demo --baselines off
}
report() {
    local result
    for result in predictions-puppets predictions-real nearest-pose-puppets; do
        aa-leaderboard add "$out/results/$result" --board "$out/board"
    done
    for result in "$out"/results/predictions-*/baselines/*; do
        aa-leaderboard add "$result" --board "$out/board"
    done
    aa-leaderboard render --board "$out/board" --out "$out/site"
}

step "1. puppets (synthetic)" make_puppets
step "1. curate puppets and nine real clips" curate
step "2. train the autoencoder" train autoencoder $vae_s
step "2. train the image encoder" train image-encoder $encoder_s
step "2. train stage 1" train 1 $stage1_s "$out/training/autoencoder" "$out/training/image-encoder"
step "2. train stage 2" train 2 $stage2_s "$out/training/1"
puppets=$out/corpus/shards/test-000000.tar
real=$out/corpus/shards/test-real-000000.tar
step "3. animate held-out puppets" animate "$puppets" predictions-puppets
step "3. animate a real clip" animate "$real" predictions-real
step "3. probe: swap the reference" animate "$puppets" swapped-reference --swap reference --max-videos $probe_videos
step "3. probe: swap the pose" animate "$puppets" swapped-pose --swap pose --max-videos $probe_videos
step "4. references and the nearest training pose" references "$puppets" puppets
step "4. references of the real clip" references "$real" real
step "4. keypoints" keypoints
step "4. evaluate" evaluate_all
step "5. report" report
printf '\ndemo: %d s. Open %s\n' "$((SECONDS - started))" "$out/site/index.html"
