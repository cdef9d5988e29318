"""Published and measured results of human image animation, side by side, ranked where they may be.

>>> import aa_leaderboard as aa
>>> rows = aa.read_rows()  # the published ones; read_rows("board") puts yours before them
>>> frame = aa.rows_frame(rows)  # pandas, one line a row
>>> frame[frame.protocol == "tiktok-disco"].nsmallest(1, "fvd").method.item()
'PoseAnything'
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)  # names: __init__.pyi
