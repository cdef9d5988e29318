"""From source videos to pose-annotated WebDataset shards, with a reason for every clip left out.

    from aa_curation import Local, run

    ledger = run("default", ["videos"], "corpus", Local(), licence="my own")
    print(ledger)  # the funnel; ledger.to_frame() is a pandas frame of all decisions

Names below are imported when they are first used: `import aa_curation` loads nothing heavy.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)  # names: __init__.pyi
