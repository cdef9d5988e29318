"""`python -m aa_curation` is `aa-curate`."""

import sys

from aa_curation.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
