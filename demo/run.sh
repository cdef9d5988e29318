#!/usr/bin/env bash
# The whole thread on real input, with the installed commands: curate, train, animate, evaluate,
# report. Puppets are animated by demo/learned, which demo/learn.sh made: minutes are too few to start
# from nothing. What is trained here is that checkpoint, further, on the first parts of five real
# clips; it then animates what follows in them, before and after. `full` takes under 15 minutes on
# 2 cores without a GPU (set-up not counted); `short` is the same thread with less of everything, for CI.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-full}" in
full)
    train_puppets=40 test_puppets=20 frames=24 ddim=2
    autoencoder_s=45 personalize_s=240 warmup=10 probe_videos=3 clips=6 workers=2
    ;;
short)
    train_puppets=12 test_puppets=3 frames=16 ddim=2
    autoencoder_s=10 personalize_s=25 warmup=2 probe_videos=2 clips=1 workers=1
    ;;
*)
    echo "usage: demo/run.sh full|short" >&2
    exit 2
    ;;
esac

out=demo-out learned=demo/learned
preset=$(python -c 'import json; print(json.load(open("demo/learned/config.json"))["model"]["preset"])')
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
    aa-train "$out/parts/first.tar" --preset "$preset" --stage "$stage" --lr "$lr" \
        --warmup-steps $warmup --steps 4000 --time-limit-s "$seconds" \
        --out "$out/training/$stage" --init "$@"
}
animate() { # checkpoint, shards, predictions, more
    local checkpoint=$1 shards=$2 to=$3
    shift 3
    aa-animate --checkpoint "$checkpoint" --shards $shards --out "$out/$to" \
        --max-frames $frames --steps $ddim --guidance 1 "$@"
}
# Two networks of one thread each, at the same time, are faster than one of two threads.
animate_all() {
    OMP_NUM_THREADS=1 animate $learned "$puppets" puppets >"$out/puppets.log" 2>&1 &
    local puppets_job=$!
    OMP_NUM_THREADS=1 animate $learned "$real" real-before
    OMP_NUM_THREADS=1 animate "$out/training/personalize" "$real" real
    finished "$puppets_job" "$out/puppets.log"
}
probe() { # what is swapped, the other that is swapped at the same time
    local more=(--max-videos $probe_videos --swap)
    OMP_NUM_THREADS=1 animate $learned "$puppets" "swapped-$2" "${more[@]}" "$2" \
        >"$out/swapped-$2.log" 2>&1 &
    local other=$!
    OMP_NUM_THREADS=1 animate $learned "$puppets" "swapped-$1" "${more[@]}" "$1"
    finished "$other" "$out/swapped-$2.log"
}
references() { # shards, name
    aa-datasets export $1 --out "$out/references-$2" --size 64 --max-frames $frames
}
trivial() {
    local each
    for each in puppets real; do
        aa-eval --references "$out/references-$each" --write-baselines "$out/trivial-$each" \
            --baselines repeat-reference
    done
    aa-datasets export $puppets --out "$out/nearest-pose" --size 64 --max-frames $frames \
        --nearest-pose "$out"/corpus/shards/train-*.tar
}
keypoints() {
    aa-datasets export $puppets --out "$out/keypoints-truth" --size 64 --max-frames $frames --keypoints
    printf '%s\n' puppets references-puppets nearest-pose \
        trivial-puppets/repeat-reference |
        OMP_NUM_THREADS=1 xargs -P 2 -I{} aa-model puppet-keypoints detect "$out/{}" \
            --out "$out/keypoints/{}" --weights demo/learned/puppet-keypoints.safetensors
    printf '%s\n' real real-before references-real trivial-real/repeat-reference |
        OMP_NUM_THREADS=1 xargs -P 2 -I{} python demo/keypoints.py "$out/{}" "$out/keypoints/{}"
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
score_real() { # predictions, method, label, more
    local predictions=$1 method=$2 label=$3
    shift 3
    score "$predictions" references-real "$method" --label "$label" \
        --keypoints "$out/keypoints/$predictions" \
        --reference-keypoints "$out/keypoints/references-real" "$@"
}
evaluate() {
    score_pose puppets "$preset preset" demo --baselines mid-grey
    # As a folder that aa-eval wrote, so that its pose can be measured like any method's.
    score_pose trivial-puppets/repeat-reference "the reference, repeated" demo \
        --baselines off
    score_pose nearest-pose "nearest training pose" demo --baselines off
    # What the keypoint network itself reaches on true frames: the ceiling of the column `pck`.
    score_pose references-puppets "the true frames" demo --baselines off --allow same-files
    score_real real "real people: fine-tuned on the first part of their clips" demo-real \
        --baselines mid-grey
    score_real real-before "real people: not fine-tuned" demo-real --baselines off
    score_real trivial-real/repeat-reference "real people: the reference, repeated" demo-real \
        --baselines off
    printf '\npuppets: the network (a) against the repeated reference (b)\n'
    aa-eval compare "$out/results/puppets" "$out/results/trivial-puppets/repeat-reference"
    printf '\nreal people: fine-tuned on the first part of their clips (a) against not fine-tuned (b)\n'
    aa-eval compare "$out/results/real" "$out/results/real-before"
    printf '\nreal people: fine-tuned (a) against the repeated reference (b)\n'
    aa-eval compare "$out/results/real" "$out/results/trivial-real/repeat-reference"
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
    for result in puppets nearest-pose real real-before; do
        aa-leaderboard clips "$out/results/$result" "$out/$result" \
            "$out/references-$([[ $result == real* ]] && echo real || echo puppets)" --videos $clips
        aa-leaderboard add "$out/results/$result" --board "$out/board"
    done
    for result in puppets real; do
        aa-leaderboard add "$out/results/trivial-$result/repeat-reference" --board "$out/board"
    done
    aa-leaderboard render --board "$out/board" --out "$out/site"
    python demo/picture.py moving "$out/demo.webp" "$out"
}

step "0. the weights that are used" weights
step "1. puppets (synthetic)" make_puppets
step "1. curate puppets and nine real clips" curate
step "1. cut the real clips: the first 60 %, and windows of what follows" \
    python demo/parts.py "$out/parts" "$out/corpus"
puppets=$out/corpus/shards/test-000000.tar
real=$out/parts/rest.tar
step "2. fine-tune the autoencoder on the first parts of the real clips" \
    train autoencoder $autoencoder_s 3e-4 $learned
step "2. fine-tune the network on the same (personalize)" \
    train personalize $personalize_s 7e-4 $learned "$out/training/autoencoder"
step "3. animate held-out puppets; the rest of the real clips, before and after" animate_all
step "3. probe: swap the reference, swap the pose" probe reference pose
step "4. references of the puppets" references "$puppets" puppets
step "4. references of the real clips" references "$real" real
step "4. trivial predictions, the nearest training pose" trivial
step "4. keypoints" keypoints
step "4. evaluate" evaluate
step "5. report" report
printf '\ndemo: %d s. Open %s\n' "$((SECONDS - started))" "$out/site/index.html"
