#!/usr/bin/env bash
# Measures a checkpoint on held-out puppets and prints a Markdown table: the autoencoder alone, the network
# against the repeated reference, and the still background with and without the temporal layers.
# Steps and guidance are chosen on validation puppets (seeds from 2,000,000); the test puppets (from
# 1,000,000) are animated once, with what was chosen. Stopped and started again it resumes.
#
#   demo/learn/measure.sh CHECKPOINT OUT [TEST_PUPPETS]      100 puppets unless given
set -euo pipefail
cd "$(dirname "$0")/../.."

case $# in
2 | 3) ;;
*)
    echo "usage: demo/learn/measure.sh CHECKPOINT OUT [TEST_PUPPETS]" >&2
    exit 2
    ;;
esac
checkpoint=$1 out=$2 count=${3:-100}
validation=$((count < 12 ? count : 12)) without=$((count < 40 ? count : 40)) frames=24
size=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["model"]["size_hw"][0])' \
    "$checkpoint/config.json")
mkdir -p "$out"
. demo/step.sh

puppets() {
    local per=$((count < 250 ? count : 250))
    python demo/learn/puppet_shards.py "$out/puppets/validation" --count "$validation" \
        --first-seed 2000000 --split validation
    python demo/learn/puppet_shards.py "$out/puppets/test" --count "$per" --first-seed 1000000 \
        --split test
    local split
    for split in validation test; do
        aa-datasets export "$out/puppets/$split" --out "$out/$split/references" --size "$size" \
            --max-frames $frames
    done
    aa-datasets export "$out/puppets/test" --out "$out/test/poses" --size "$size" \
        --max-frames $frames --keypoints
}
animate() { # split, name, more
    local split=$1 name=$2
    shift 2
    aa-animate --checkpoint "$checkpoint" --shards "$out/puppets/$split" --max-frames $frames \
        --out "$out/$split/$name" "$@" | tail -n 1
}
score() { # split, name, references, more
    local split=$1 name=$2 references=$3
    shift 3
    aa-eval "$out/$split/$name" --references "$out/$split/$references" --method "$name" \
        --out "$out/$split/results/$name" --workers 1 "$@" | tail -n 3
}
choose() {
    local steps guidance
    for steps in 2 5 10; do
        animate validation "steps-$steps-guidance-1" --steps $steps --guidance 1
        score validation "steps-$steps-guidance-1" references --baselines off
    done
    steps=$(python demo/learn/measure_table.py choose "$out/validation/results")
    for guidance in 1.5; do
        animate validation "${steps%guidance-*}guidance-$guidance" --guidance $guidance \
            --steps "$(cut -d- -f2 <<<"$steps")"
        score validation "${steps%guidance-*}guidance-$guidance" references --baselines off
    done
    python demo/learn/measure_table.py choose "$out/validation/results" | tee "$out/chosen"
}
keypoints() { # names, and what is repeated
    local weights=$checkpoint/puppet-keypoints.safetensors
    test -f "$weights" || weights=demo/learned/puppet-keypoints.safetensors
    aa-model puppet-keypoints detect "$out/test/$1" --out "$out/test/keypoints/$1" \
        --weights "$weights"
}
test_puppets() {
    local steps guidance
    IFS=- read -r _ steps _ guidance <"$out/chosen"
    animate test with --steps "$steps" --guidance "$guidance"
    animate test without --steps "$steps" --guidance "$guidance" --no-temporal \
        --max-videos $without
    aa-eval --references "$out/test/references" --write-baselines "$out/test/trivial" \
        --baselines repeat-reference
    ln -sfn trivial/repeat-reference "$out/test/repeated"
    keypoints with
    keypoints repeated
    keypoints references
}
measure() {
    local each few="$out/test/references-few"
    # What is measured on some of the puppets: change over time with and without the temporal
    # layers, and the true frames, which bound what can be reached.
    mkdir -p "$few" "$out/test/with-few"
    for each in "$out"/test/without/*/; do
        ln -sfn "$(realpath "$out")/test/references/$(basename "$each")" "$few/"
        ln -sfn "$(realpath "$out")/test/with/$(basename "$each")" "$out/test/with-few/"
    done
    local pose=(--reference-keypoints "$out/test/poses" --region-boxes person --baselines off
        --protocol aa-clean-v2 aa-temporal-v1)
    for each in with repeated; do
        score test $each references "${pose[@]}" --keypoints "$out/test/keypoints/$each"
    done
    score test references-few references-few "${pose[@]}" --allow same-files \
        --keypoints "$out/test/keypoints/references"
    python demo/learn/autoencoder.py "$checkpoint" --decoded "$out/test/autoencoder" "$few"/*/
    for each in without with-few autoencoder; do
        score test $each references-few --protocol aa-temporal-v1 --baselines off
    done
    python demo/learn/autoencoder.py "$checkpoint" "$out"/puppets/test/*.tar >"$out/autoencoder.txt"
}

step "1. puppets" puppets
step "2. steps and guidance, on $validation validation puppets" choose
step "3. animate $count test puppets" test_puppets
step "4. measure" measure
step "5. table" python demo/learn/measure_table.py table "$out"
