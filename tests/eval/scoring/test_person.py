"""aa-person-v1: what it needs, and its numbers with small networks of the true interfaces."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from aa_eval import evaluate
from aa_eval.features import networks, vision_transformer
from aa_eval.features.patches import PatchDistance
from aa_eval.features.vision_transformer import Dinov2, Size
from aa_eval.metrics.faces import TEMPLATE_PX, aligned_face
from aa_eval.protocol import protocol_text, read_protocol
from aa_eval.result import MetricValue, Result
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import Pair, make_pairs
from aa_eval.videos.region_pairs import pairs_with_regions
from aa_eval.weights.weight_files import weights_folder

FRAMES = 4
TINY = Size(16, 1, 2, 16, 14, 28, class_token=True)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two videos of 112 px with keypoints of 133 joints, their face at the template's place."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    draw = np.random.default_rng(0)
    points = draw.uniform(10, 100, (FRAMES, 133, 2))
    face = points[:, 23:91]
    face[:, 36:42], face[:, 42:48] = TEMPLATE_PX[0], TEMPLATE_PX[1]
    face[:, [30, 48, 54]] = TEMPLATE_PX[2:]
    for side, shift in (("gen", 2.0), ("gt", 0.0)):
        (tmp_path / f"kp_{side}").mkdir()
        for video in "ab":
            (tmp_path / side / video).mkdir(parents=True)
            for number in range(FRAMES):
                picture = draw.integers(0, 256, (112, 112, 3), dtype=np.uint8)
                Image.fromarray(picture).save(tmp_path / side / video / f"{number:03}.png")
            moved = points + np.array([shift, 0.0]) * (np.arange(133)[:, None] < 17)
            np.savez(
                tmp_path / f"kp_{side}" / f"{video}.npz",
                keypoints_px=moved, scores=np.ones((FRAMES, 133)), size_hw=[112, 112],
            )  # fmt: skip
    return tmp_path


def pairs_of(folders: Path, with_person: bool = True) -> list[Pair]:
    pairs, _ = make_pairs(find_videos(folders / "gen"), find_videos(folders / "gt"))
    boxes = ["person"] if with_person else []
    return pairs_with_regions(pairs, None, boxes, folders / "kp_gt")


def score(folders: Path, *baselines: str, with_person: bool = True) -> list[Result]:
    return score_pairs(
        pairs_of(folders, with_person), [read_protocol("aa-person-v1")], method="m",
        baselines=baselines, keypoints=(folders / "kp_gen", folders / "kp_gt"),
        cache=Cache(folders / "cache"),
    )  # fmt: skip


def put(name: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a weight, its hash stated as a user states one that is not published."""
    weight = replace(networks.OWN_WEIGHTS[name], sha256="")
    monkeypatch.setitem(networks.OWN_WEIGHTS, name, weight)
    weights_folder().mkdir(parents=True, exist_ok=True)
    (weights_folder() / weight.file).write_bytes(content)
    stated = f"{hashlib.sha256(content).hexdigest()}  {weight.file}\n"
    (weights_folder() / f"{weight.file}.sha256").write_text(stated)


@pytest.fixture
def with_networks(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Dinov2:
    """A small DINOv2 file in its own layout, and an ONNX file with ArcFace's input and outputs."""
    torch.manual_seed(0)
    model = Dinov2(TINY).eval()
    names = {"patches.": "patch_embed.proj.", "places": "pos_embed", "class_token": "cls_token"}
    parts = {
        "self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj": "attn.proj",
        "linear1": "mlp.fc1", "linear2": "mlp.fc2", "blocks.layers.": "blocks.",
    }  # fmt: skip
    state = {}
    for name, tensor in model.body.state_dict().items():
        for ours, theirs in (names | parts).items():
            name = name.replace(ours, theirs)
        state[name] = tensor.squeeze(2) if name == "patch_embed.proj.weight" else tensor
    state |= {"mask_token": torch.zeros(1, 16)}
    state |= {f"blocks.0.ls{index}.gamma": torch.ones(16) for index in "12"}
    torch.save(state, folders / "dino.pth")
    put("dinov2-b14", (folders / "dino.pth").read_bytes(), monkeypatch)
    monkeypatch.setattr(vision_transformer, "Dinov2", partial(Dinov2, TINY))
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["input.1"], ["pooled"], kernel_shape=[28, 28],
                             strides=[28, 28]),
            helper.make_node("Flatten", ["pooled"], ["683"]),
        ],
        "arcface",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["None", 3, 112, 112])],
        [helper.make_tensor_value_info("683", TensorProto.FLOAT, None)],
    )  # fmt: skip
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    put("arcface-w600k-r50", file.SerializeToString(), monkeypatch)
    return model


def frame(folders: Path, side: str, video: str, number: int) -> np.ndarray:
    return np.asarray(Image.open(folders / side / video / f"{number:03}.png"))


def value_of(metric: MetricValue) -> float:
    assert metric.value is not None, metric.unavailable
    return metric.value


def test_without_weights_or_regions_each_says_what_it_lacks(folders: Path) -> None:
    (result,) = score(folders, with_person=False)
    picd, csim = (str(result.metrics[key].unavailable) for key in ("picd", "csim"))
    assert "fetch dinov2_vitb14_pretrain.pth (dl.fbaipublicfiles.com" in picd
    assert "--region-boxes person" in picd
    assert "fetch w600k_r50.onnx (in buffalo_l.zip" in csim
    assert value_of(result.metrics["pape"]) < 1  # needs no weight
    pairs, _ = make_pairs(find_videos(folders / "gen"), find_videos(folders / "gt"))
    (bare,) = score_pairs(pairs, [read_protocol("aa-person-v1")], method="m")
    assert bare.metrics["pape"].unavailable == "needs --keypoints and --reference-keypoints"
    assert bare.per_video["a"] == {"picd": None, "pape": None, "csim": None}


@pytest.mark.usefixtures("with_networks")
def test_csim_is_the_cosine_of_aligned_faces(folders: Path) -> None:
    (result,) = score(folders)

    def vector(side: str, number: int) -> np.ndarray:
        face = aligned_face(frame(folders, side, "a", number), TEMPLATE_PX) / 127.5 - 1
        pooled = face.reshape(4, 28, 4, 28, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel()
        return pooled / np.linalg.norm(pooled)

    expected = np.mean([vector("gen", t) @ vector("gt", t) for t in range(1, FRAMES)])
    assert result.per_video["a"]["csim"] == pytest.approx(expected, abs=1e-5)
    assert result.metrics["csim"].n == 2 * (FRAMES - 1)
    assert result.weights.keys() == {"dinov2-b14", "arcface-w600k-r50"}


def test_picd_looks_at_the_persons_patches(folders: Path, with_networks: Dinov2) -> None:
    (result,) = score(folders)
    values = []
    for number in range(1, FRAMES):
        patches = []
        for side in ("gen", "gt"):
            image = frame(folders, side, "b", number).astype(np.float32)
            channels = [Image.fromarray(image[..., c]).resize((28, 28), 3) for c in range(3)]
            picture = np.stack([np.asarray(c).clip(0, 255) for c in channels]) / 127.5 - 1
            patches.append(with_networks(torch.from_numpy(picture.astype(np.float32))[None])[0])
        distance = 1 - torch.nn.functional.cosine_similarity(*patches, dim=-1)
        boxes = pairs_of(folders)[1].regions["person"].boxes_px[number]  # type: ignore[union-attr]
        mask = np.zeros((112, 112))
        for left, top, right, bottom in boxes:
            mask[top:bottom, left:right] = 1
        share = mask.reshape(2, 56, 2, 56).mean(axis=(1, 3))
        values.append(float((distance.double().numpy() * share).sum() / share.sum()))
    assert result.per_video["b"]["picd"] == pytest.approx(np.mean(values), abs=1e-6)
    assert set(result.metrics) >= {"picd", "pape", "csim"}
    assert "ssim@person" not in result.metrics


@pytest.mark.usefixtures("with_networks")
def test_baselines_have_their_own_faces_and_poses(folders: Path) -> None:
    method, repeated, white, previous = score(
        folders, "repeat-reference", "white", "previous-frame"
    )
    assert white.metrics["csim"].value is None  # a white picture shows no face
    assert value_of(white.metrics["pape"]) == 1
    assert value_of(repeated.metrics["pape"]) > value_of(method.metrics["pape"])
    assert -1 <= value_of(repeated.metrics["csim"]) < 1
    assert value_of(previous.metrics["picd"]) > 0
    again = score(folders, "repeat-reference")[0]  # from the cache
    assert again.metrics == method.metrics


def without_truth(folders: Path, method: str = "gen", *, joints: int = 133) -> list[Result]:
    """The first frame of each true video is the photo; poses are those of the truth."""
    first, *rest = protocol_text("aa-cross-v1").split("[[metrics]]")
    kept = [part for part in rest if "_ilk" not in part]  # without what needs optical flow
    quick = "[[metrics]]".join([first, *kept]).replace('name = "aa-cross-v1"', 'name = "quick"')
    (folders / "quick.toml").write_text(quick)
    for video in "ab":
        for name in ("photos", "photo_kp", "kp"):
            (folders / name).mkdir(exist_ok=True)
        Image.fromarray(frame(folders, "gt", video, 0)).save(folders / f"photos/{video}.png")
        for side, name, count in (("gt", "photo_kp", 1), (method, "kp", FRAMES)):
            with np.load(folders / f"kp_{side}" / f"{video}.npz") as there:
                arrays = dict(there)
            for key in ("keypoints_px", "scores"):
                arrays[key] = arrays[key][:count, :joints]
            np.savez(folders / name / f"{video}.npz", **arrays)
    return evaluate(
        folders / method, reference_images=folders / "photos", driving_poses=folders / "kp_gt",
        keypoints=folders / "kp", reference_keypoints=folders / "photo_kp",
        protocols=(str(folders / "quick.toml"),), cache=str(folders / "cache"), workers=1,
    )  # fmt: skip


def test_without_truth_csim_and_picd_are_unavailable_without_weights_or_faces(
    folders: Path, request: pytest.FixtureRequest
) -> None:
    lacking = without_truth(folders)[0].metrics
    assert "fetch dinov2_vitb14_pretrain.pth" in str(lacking["picd"].unavailable)
    assert "fetch w600k_r50.onnx" in str(lacking["csim"].unavailable)
    assert value_of(lacking["identity_limbs"]) > 0
    request.getfixturevalue("with_networks")
    bodies = without_truth(folders, joints=17)[0].metrics
    assert value_of(bodies["picd"]) > 0
    assert "where the face is: needs --keypoints" in str(bodies["csim"].unavailable)
    assert "of 128 or 133 joints" in str(bodies["csim"].unavailable)


@pytest.mark.usefixtures("with_networks")
def test_without_truth_csim_is_the_cosine_with_the_photos_face(folders: Path) -> None:
    method, still, static, other = without_truth(folders)
    assert value_of(still.metrics["csim"]) == pytest.approx(1)
    assert value_of(still.metrics["picd"]) == pytest.approx(0, abs=1e-6)

    def vector(picture: np.ndarray) -> np.ndarray:
        face = np.rint(aligned_face(picture, TEMPLATE_PX)) / 127.5 - 1
        pooled = face.reshape(4, 28, 4, 28, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel()
        return pooled / np.linalg.norm(pooled)

    photo = {video: vector(frame(folders, "gt", video, 0)) for video in "ab"}
    each = [vector(frame(folders, "gen", "a", t)) @ photo["a"] for t in range(FRAMES)]
    assert method.per_video["a"]["csim"] == pytest.approx(np.mean(each), abs=1e-5)
    assert static.per_video["a"]["csim"] == pytest.approx(each[0], abs=1e-5)
    assert other.per_video["a"]["csim"] == pytest.approx(photo["a"] @ photo["b"], abs=1e-5)
    assert method.metrics["csim"].n == method.metrics["picd"].n == 2 * FRAMES
    # a face that is not seen in one frame is no face there
    with np.load(folders / "kp_gen" / "a.npz") as there:
        arrays = dict(there)
    arrays["scores"][1, 23 + 48] = 0.1
    np.savez(folders / "kp_gen" / "a.npz", **arrays)
    hidden = without_truth(folders)[0]
    assert hidden.per_video["a"]["csim"] == pytest.approx(np.mean(each[:1] + each[2:]), abs=1e-5)
    assert hidden.metrics["csim"].note == "frames without face: 1"


def test_nearest_patches_do_not_care_where_they_are(with_networks: Dinov2) -> None:
    class Levels(torch.nn.Module):
        """A patch's vector is its mean level in each channel."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.any = with_networks.body, torch.nn.Parameter(torch.zeros(1))

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(pictures, 14).movedim(1, -1) + 1.5

    distance = PatchDistance(Levels())  # type: ignore[arg-type]
    draw = np.random.default_rng(0)
    cells = draw.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    frame = cells.repeat(14, axis=0).repeat(14, axis=1)[None]
    moved = frame[:, :, ::-1].copy()
    everywhere = np.ones(frame.shape[:3], dtype=bool)
    left, right = everywhere.copy(), everywhere.copy()
    left[..., 14:], right[..., :14] = False, False
    nowhere = np.zeros_like(everywhere)
    assert distance.nearest(moved, frame, everywhere, everywhere) == pytest.approx(0, abs=1e-6)
    assert distance.nearest(moved, frame, left, right) == pytest.approx(0, abs=1e-6)
    assert distance.nearest(moved, frame, left, left) > 1e-3  # what the photo does not show
    assert np.isnan(distance.nearest(moved, frame, nowhere, left))
    assert np.isnan(distance.nearest(moved, frame, left, nowhere))
    # by hand: the mean over ours of the best cosine among theirs
    vectors = [cells[:, column].reshape(-1, 3) / 127.5 + 0.5 for column in (1, 0)]
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    expected = 1 - (unit[0] @ unit[1].T).max(axis=1).mean()
    assert distance.nearest(moved, frame, left, left) == pytest.approx(expected, abs=1e-6)
