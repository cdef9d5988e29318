#!/usr/bin/env bash
# The whole thread on real input, with the installed commands: curate, train, animate, evaluate,
# report. Training starts from demo/learned, which demo/learn.sh made: fifteen minutes are too few
# to start from nothing. `full` takes under 15 minutes on 2 cores without a GPU (set-up not counted);
# `short` is the same thread with less of everything, for CI.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-full}" in
full)
    train_puppets=120 test_puppets=20 frames=24 ddim=6
    stage1_s=50 stage2_s=30 warmup=10 probe_videos=3 clips=6 workers=2
    ;;
short)
    train_puppets=12 test_puppets=3 frames=16 ddim=4
    stage1_s=15 stage2_s=20 warmup=2 probe_videos=2 clips=1 workers=1
    ;;
*)
    echo "usage: demo/run.sh full|short" >&2
    exit 2
    ;;
esac

out=demo-out
rm -rf "$out"
mkdir -p "$out"
. demo/step.sh

weights() {
    aa-curate weights
    aa-eval weights
    aa-model info demo/learned
}
# Seeds of training and test puppets never meet: no shared identity, no shared motion. Two seconds
# each, at 15 frames/s: what is animated below is then 1.6 s of motion.
make_puppets() {
    aa-datasets puppets --out "$out/puppets-train" --count $train_puppets --first-seed 0 \
        --frames 30 --fps 15
    aa-datasets puppets --out "$out/puppets-test" --count $test_puppets --first-seed 1000000 \
        --frames 30 --fps 15 --split test
}
curate() {
    aa-curate run curation/recipes/demo.py --sources "$out/puppets-train" \
        --sources "$out/puppets-test" --sources curation/recipes/demo_sources.csv --out "$out/corpus"
    aa-curate report --out "$out/corpus" --csv "$out/measurements.csv"
}
train() { # stage, seconds, learning rate, checkpoints to start from
    local stage=$1 seconds=$2 lr=$3
    shift 3
    aa-train "$out"/corpus/shards/train-*.tar --preset small --stage "$stage" --lr "$lr" \
        --warmup-steps $warmup --time-limit-s "$seconds" --out "$out/training/$stage" --init "$@"
}
animate() { # checkpoint, shards, predictions, more
    local checkpoint=$1 shards=$2 to=$3
    shift 3
    aa-animate --checkpoint "$checkpoint" --shards $shards --out "$out/$to" \
        --max-frames $frames --steps $ddim --guidance 1 "$@"
}
# Two networks of one thread each, at the same time, are faster than one of two threads.
animate_both() { # shards, predictions: this demo's checkpoint, and (with a log file) demo/learned
    OMP_NUM_THREADS=1 animate demo/learned "$1" "$2-before" >"$out/$2-before.log" 2>&1 &
    local before=$!
    OMP_NUM_THREADS=1 animate "$out/training/2" "$1" "$2"
    finished "$before" "$out/$2-before.log"
}
probe() { # what is swapped, the other that is swapped at the same time
    local more=(--max-videos $probe_videos --swap)
    OMP_NUM_THREADS=1 animate "$out/training/2" "$puppets" "swapped-$2" "${more[@]}" "$2" \
        >"$out/swapped-$2.log" 2>&1 &
    local other=$!
    OMP_NUM_THREADS=1 animate "$out/training/2" "$puppets" "swapped-$1" "${more[@]}" "$1"
    finished "$other" "$out/swapped-$2.log"
}
references() { # shards, name
    aa-datasets export $1 --out "$out/references-$2" --size 64 --max-frames $frames
}
trivial() {
    aa-eval --references "$out/references-puppets" --write-baselines "$out/trivial-puppets" \
        --baselines repeat-reference
    aa-datasets export $puppets --out "$out/nearest-pose" --size 64 --max-frames $frames \
        --nearest-pose "$out"/corpus/shards/train-*.tar
}
keypoints() {
    aa-datasets export $puppets --out "$out/keypoints-truth" --size 64 --max-frames $frames --keypoints
    printf '%s\n' puppets puppets-before references-puppets nearest-pose \
        trivial-puppets/repeat-reference |
        OMP_NUM_THREADS=1 xargs -P 2 -I{} aa-model puppet-keypoints detect "$out/{}" \
            --out "$out/keypoints/{}" --weights demo/learned/puppet-keypoints.safetensors
}
score() { # predictions, references, method, more
    local predictions=$1 references=$2 method=$3
    shift 3
    aa-eval "$out/$predictions" --references "$out/$references" --method "$method" \
        --out "$out/results/$predictions" --workers $workers "$@"
}
score_pose() { # predictions of the puppets, method, label, more
    local predictions=$1 method=$2 label=$3
    shift 3
    score "$predictions" references-puppets "$method" --label "$label" \
        --keypoints "$out/keypoints/$predictions" --reference-keypoints "$out/keypoints-truth" "$@"
}
evaluate() {
    score_pose puppets "small preset, after this demo" demo --baselines mid-grey
    score_pose puppets-before "small preset, before this demo" demo --baselines off
    # As a folder that aa-eval wrote, so that its pose can be measured like any method's.
    score_pose trivial-puppets/repeat-reference "the reference, repeated" baseline \
        --baselines off
    score_pose nearest-pose "nearest training pose" demo --baselines off
    # What the keypoint network itself reaches on true frames: the ceiling of the column `pck`.
    score_pose references-puppets "the true frames" demo --baselines off --allow same-files
    score real references-real "small preset, after this demo, real clip" --label demo-real \
        --baselines repeat-reference,mid-grey
    score real-before references-real "small preset, before this demo, real clip" \
        --label demo-real --baselines off
    printf '\nafter this demo (a) against the repeated reference (b)\n'
    aa-eval compare "$out/results/puppets" "$out/results/trivial-puppets/repeat-reference"
    printf '\nafter this demo (a) against before it (b)\n'
    aa-eval compare "$out/results/puppets" "$out/results/puppets-before"
    # What a swap changes: the swapped videos against the same videos as first animated.
    mkdir -p "$out/unswapped"
    local folder
    for folder in "$out"/swapped-pose/*/; do
        cp -r "$out/puppets/$(basename "$folder")" "$out/unswapped/"
    done
    score swapped-reference unswapped "probe: reference swapped" --label demo --baselines off
    score swapped-pose unswapped "probe: pose swapped" --label demo --baselines off
}
report() {
    local result
    for result in puppets puppets-before nearest-pose real real-before; do
        aa-leaderboard clips "$out/results/$result" "$out/$result" \
            "$out/references-$([[ $result == real* ]] && echo real || echo puppets)" --videos $clips
        aa-leaderboard add "$out/results/$result" --board "$out/board"
    done
    aa-leaderboard add "$out/results/trivial-puppets/repeat-reference" --board "$out/board"
    aa-leaderboard render --board "$out/board" --out "$out/site"
    python demo/picture.py moving "$out/demo.webp" "$out"
}

step "0. the weights that are used" weights
step "1. puppets (synthetic)" make_puppets
step "1. curate puppets and nine real clips" curate
step "2. train stage 1 further" train 1 $stage1_s 5e-5 demo/learned
step "2. train stage 2 further" train 2 $stage2_s 5e-5 demo/learned "$out/training/1"
puppets=$out/corpus/shards/test-000000.tar
real=$out/corpus/shards/test-real-000000.tar
step "3. animate held-out puppets, after and before this demo's training" animate_both "$puppets" puppets
step "3. animate a real clip, after and before" animate_both "$real" real
step "3. probe: swap the reference, swap the pose" probe reference pose
step "4. references of the puppets" references "$puppets" puppets
step "4. references of the real clip" references "$real" real
step "4. trivial predictions, the nearest training pose" trivial
step "4. keypoints" keypoints
step "4. evaluate" evaluate
step "5. report" report
printf '\ndemo: %d s. Open %s\n' "$((SECONDS - started))" "$out/site/index.html"
