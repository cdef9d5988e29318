"""Score predicted videos against references, reproducibly and under any published protocol.

>>> import aa_eval
>>> results = aa_eval.evaluate("predictions", "references")  # doctest: +SKIP
>>> results[0].to_frame()  # doctest: +SKIP

Names are imported when they are first used: `import aa_eval` loads neither torch nor pandas.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)  # names: __init__.pyi
