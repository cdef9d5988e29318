"""Clips, poses and shards: what the other rooms hand to each other, and how it is stored.

Names below are imported when they are first used: `import aa_datasets` loads nothing heavy.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)  # names: __init__.pyi
