"""The networks of Animate Anyone: train them, animate with them, read and write checkpoints.

Names below are imported when they are first used: `import aa_model` does not load torch.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)  # names: __init__.pyi
