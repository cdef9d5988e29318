"""Identity against a photo: how well each measure tells the right person from another, on puppets.

Ten puppets in two further poses each, against their own photo and those of two others: the share of
(right, wrong) pairs in which the right photo is nearer (the area under the ROC curve).

    python benchmarks/eval/identity.py [--side 256]
"""

from __future__ import annotations

import argparse

import numpy as np

from aa_datasets.puppets.render import Puppet, render_puppet
from aa_eval.metrics.colour import colour_distribution
from aa_eval.metrics.crops import crop_frames
from aa_eval.metrics.l1 import l1
from aa_eval.metrics.lpips import lpips_per_frame, make_lpips
from aa_eval.metrics.skeleton import Crop, person_of

PEOPLE, POSES, OTHERS = 10, 2, (1, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=256)
    size_hw = (parser.parse_args().side,) * 2
    net = make_lpips("alex")

    def crops(puppet: Puppet, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        person = person_of(puppet.pose.keypoints_px[-1:], puppet.pose.scores[-1:], 0.3)
        return crop_frames(puppet.frames[-1:], person, crop)

    def measures(video: Puppet, photo: Puppet) -> dict[str, float]:
        sides = {c: (crops(video, c), crops(photo, c)) for c in ("limbs", "person", "picture")}
        (ours, seen), (theirs, there) = sides["limbs"]
        person, picture = ([side[0] for side in sides[crop]] for crop in ("person", "picture"))
        return {
            "identity_limbs": l1(ours, theirs, seen & there)[0],
            "identity_lpips": lpips_per_frame(net, *person)[0],
            "photo_lpips": lpips_per_frame(net, *picture)[0],
            "photo_colour": colour_distribution(*picture)[0],
        }

    photos = [render_puppet(i, i, num_frames=1, size_hw=size_hw) for i in range(PEOPLE)]
    right, wrong = [], []
    for i in range(PEOPLE):
        for pose in range(POSES):
            video = render_puppet(i, 7 * pose + 40, num_frames=2, size_hw=size_hw)
            right.append(measures(video, photos[i]))
            wrong += [measures(video, photos[(i + other) % PEOPLE]) for other in OTHERS]
    for key in right[0]:
        a, b = (np.array([found[key] for found in side]) for side in (right, wrong))
        area = (a[:, None] < b).mean() + (a[:, None] == b).mean() / 2
        print(f"{key:15} right {a.mean():7.3f}, wrong {b.mean():7.3f}, area {area:.3f}")


if __name__ == "__main__":
    main()
