#!/usr/bin/env bash
# Trains a checkpoint for the demo from nothing but puppets: every stage, each resumable. A run that was
# stopped, by Ctrl-C or by a lost machine, resumes from its last save: give the same command again, as
# often as it takes. demo/learn/README.md has the trials behind these numbers, and what is not known.
#
#   demo/learn.sh                 two CPU cores, several sittings
#   demo/learn.sh --gpu           one GPU: a wider network in about 10 minutes of training
#   demo/learn.sh --try [--gpu]   every step of it in small, on the CPU: does it run?
#   --from-nothing                also train what demo/learn and demo/learned hold already
#
# Nothing here sees a test puppet (seeds from 1,000,000) or real footage. The result is in
# learn-out/learned; nothing replaces demo/learned by itself.
set -euo pipefail
cd "$(dirname "$0")/.."

gpu=no small=no from_nothing=no
for option in "$@"; do
    case "$option" in
    --gpu) gpu=yes ;;
    --try) small=yes ;;
    --from-nothing) from_nothing=yes ;;
    *)
        echo "usage: demo/learn.sh [--gpu] [--try] [--from-nothing]" >&2
        exit 2
        ;;
    esac
done

out=learn-out cores=$(nproc)
autoencoder_steps=6500 image_encoder_steps=400 keypoint_steps=1000
validation=40
if [ $gpu = yes ]; then
    # Estimates, from a lab without a GPU: 5,000 to 10,000 steps of 512 frames in 7 minutes of an H200.
    preset=wide device=cuda puppets=8000
    stage1=(--steps 20000 --time-limit-s 420 --ema-decay 0.9995 --num-workers "$((cores - 2))")
    stage2=(--steps 8000 --time-limit-s 120 --num-workers "$((cores - 2))")
else
    # Estimates, from steps timed on a shared core of 2.8 GHz: 7 hours and 45 minutes on two free cores.
    preset=medium device=cpu puppets=6000
    stage1=(--steps 24000 --batch-size 2 --ema-decay 0.9995)
    stage2=(--steps 6000)
fi
if [ $small = yes ]; then
    out=learn-out/try-$preset device=cpu puppets=24 validation=3
    autoencoder_steps=120 image_encoder_steps=60 keypoint_steps=20
    stage1=(--steps 10 --warmup-steps 2 --batch-size 1 --ema-decay 0.9995 --no-autocast)
    stage2=(--steps 6 --warmup-steps 2 --batch-size 1 --no-autocast)
    [ $gpu = no ] || stage1+=(--num-workers 1) stage2+=(--num-workers 1)
fi

# Small networks gain little from a second thread, and much from a second process.
export OMP_NUM_THREADS=1
mkdir -p "$out"
. demo/step.sh

render() { # first seed, how many, more
    local first=$1 count=$2 per
    shift 2
    per=$((count < 250 ? count : 250))
    seq "$first" "$per" "$((first + count - 1))" | xargs -P "$cores" -I{} \
        python demo/learn/puppet_shards.py "$out/puppets/train" --count "$per" --first-seed {} "$@"
}
# Seeds of the three splits never meet: no shared identity, no shared motion. A third of the training
# puppets stands before scenery, so that the network learns to keep backgrounds, not to make smooth ones.
puppets() {
    render 0 "$puppets"
    render "$puppets" "$((puppets / 2))" --scenery
    python demo/learn/puppet_shards.py "$out/puppets/validation" --count "$validation" \
        --first-seed 2000000 --split validation
}
train() { # stage, more: in one process
    local stage=$1
    shift
    aa-train "$out"/puppets/train/*.tar --preset "$preset" --stage "$stage" --device "$device" \
        --resume --out "$out/training/$stage" "$@"
}
train_on_two_cores() { # stage, more: each of two processes takes half of the preset's batch
    local stage=$1
    shift
    torchrun --standalone --nproc-per-node 2 -m aa_model.cli.train "$out"/puppets/train/*.tar \
        --preset "$preset" --stage "$stage" --device cpu --resume --out "$out/training/$stage" "$@"
}
# What stages 1 and 2 rest on. Eight shards are enough for it; more would be decoded more than learned.
frozen() { # stage, more
    local stage=$1 some
    shift
    some=("$out"/puppets/train/*.tar)
    if [ $from_nothing = no ] && [ $small = no ] && [ -d "demo/learn/$stage" ]; then
        mkdir -p "$out/training"
        cp -r "demo/learn/$stage" "$out/training/"
        return
    fi
    aa-train "${some[@]:0:8}" --preset "$preset" --stage "$stage" --device "$device" \
        --resume --out "$out/training/$stage" --save-every 250 "$@"
}
keypoints() {
    local weights=puppet-keypoints.safetensors some
    test ! -f "$out/$weights" || return 0
    if [ $from_nothing = no ]; then
        cp "demo/learned/$weights" "$out/"
        return
    fi
    some=("$out"/puppets/train/*.tar)
    aa-model puppet-keypoints train "${some[@]:0:4}" --steps "$keypoint_steps" --out "$out/$weights"
}
latents() { # 36 kB a frame, next to the shards
    printf '%s\n' "$out"/puppets/train/*.tar | OMP_NUM_THREADS=1 xargs -P "$cores" -I{} \
        aa-train precompute {} --preset "$preset" --device "$device" \
        --init "$out/training/autoencoder" "$out/training/image-encoder"
}
stage() { # 1 or 2, checkpoints to start from, then "--" and more
    local stage=$1 init=() run=train_on_two_cores
    shift
    while [ "$1" != -- ]; do init+=("$1") && shift; done
    shift
    [ $gpu = no ] || run=train
    $run "$stage" --precomputed-latents --init "${init[@]}" --save-every 500 \
        --samples-every 2000 --samples-from "$out"/puppets/validation/*.tar "$@"
}
# Steps of denoising are chosen here, on puppets that are neither trained on nor tested on.
validate() {
    rm -rf "$out/validation"
    aa-datasets export "$out/puppets/validation" --out "$out/validation/references" --size 64 \
        --max-frames 24
    local steps
    for steps in 2 5 10; do
        aa-animate --checkpoint "$out/training/2" --shards "$out"/puppets/validation/*.tar \
            --out "$out/validation/$steps-steps" --max-frames 24 --steps $steps --guidance 1 \
            --device "$device"
        aa-eval "$out/validation/$steps-steps" --references "$out/validation/references" \
            --method "$steps steps" --baselines repeat-reference --out "$out/validation/result-$steps"
    done
}
keep() {
    rm -rf "$out/learned"
    aa-model export "$out/training/2" --out "$out/learned" --dtype fp16
    cp "$out/puppet-keypoints.safetensors" "$out/learned/"
    python demo/loss_curves.py "$out/training" "$out/learned"
    du -sh "$out/learned"
}

step "1. puppets, straight into shards" puppets
step "2. autoencoder" frozen autoencoder --steps "$autoencoder_steps"
step "2. image encoder" frozen image-encoder --steps "$image_encoder_steps"
step "2. keypoint network" keypoints
step "3. latents" latents
step "4. stage 1" stage 1 "$out/training/autoencoder" "$out/training/image-encoder" -- \
    --reference-latents "${stage1[@]}"
step "5. stage 2" stage 2 "$out/training/1" -- "${stage2[@]}"
step "6. validation puppets" validate
step "7. $out/learned" keep
printf '\nlearn: %d s in this sitting\n' "$((SECONDS - started))"
