"""The command's frame: errors and Ctrl-C are one line and an exit status."""

from __future__ import annotations

import pytest

from aa_eval.cli.app import make_app, run_app
from aa_eval.errors import EvalError


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (EvalError("two\nlines"), 2, "aa-x: error: two lines\n"),
        (OSError("disk full"), 2, "aa-x: error: disk full\n"),
        (FileNotFoundError(2, "No such file", "a/b"), 2, "aa-x: error: a/b: No such file\n"),
        (KeyboardInterrupt(), 130, "aa-x: stopped: resume it\n"),
    ],
)
def test_what_the_user_can_mend_or_did_is_one_line(
    raised: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app("aa-x", "Fails.", example="aa-x")

    @app.default
    def fail() -> None:
        raise raised

    assert run_app(app, [], errors=(EvalError,), when_stopped="resume it") == status
    assert capsys.readouterr().err == said
