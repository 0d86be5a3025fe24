"""Places that tests read."""

from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
SHARED: Final = REPOSITORY.parent / "shared"  # of some checkouts: real pictures and weights
