"""The scorecard on a year of one grocer's orders, as `make scorecard` runs it.

`python -m bench.scorecard.demo` writes the data set into a folder and hands it to the verb; further
words are further flags of it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from builder.demo import AS_OF
from builder.demo_inputs import write_inputs

FOLDER: Final = Path("scorecard")


def main() -> int:
    """Run it; ends as the verb does."""
    FOLDER.mkdir(exist_ok=True)
    events, items, config = write_inputs(FOLDER)
    secret = FOLDER / "brand.key"
    if not secret.exists():
        secret.write_text("complete-journey-demo-secret\n")
    words = ["scorecard", "--events", str(events), "--items", str(items), "--config", str(config)]
    words += ["--secret-file", str(secret), "--out", str(FOLDER), "--as-of", AS_OF]
    return subprocess.call([sys.executable, "-m", "almanac", *words, *sys.argv[1:]])


if __name__ == "__main__":
    raise SystemExit(main())
