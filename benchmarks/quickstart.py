"""The quickstart's own measure over several seeds: the share of questions answered right to the letter in phrasings
never trained on, what alignment changed on names that nobody taught, and what it took, as one JSON object.

    python benchmarks/quickstart.py [--seeds 0 1 2] [--minutes 6] [--keep DIRECTORY]

Each seed is one whole `chatwright quickstart` in a process of its own, one after another.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

KEPT = ("seconds", "training_seconds", "alignment_seconds", "questions", "bits_per_byte", "tokens_per_second")
KEPT += ("parameters", "reward_model", "best_step")


def journey(place: Path, seed: int, minutes: float) -> dict[str, Any]:
    """What one quickstart measured."""
    command = [sys.executable, "-m", "chatwright", "quickstart", "-o", str(place), "--json"]
    done = subprocess.run(
        [*command, f"minutes={minutes:g}", f"seed={seed}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the quickstart of seed {seed} failed with {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "seed": seed,
        "exact_match": found["exact_match_unseen_phrasing"],
        "knowing": {side: shares(found["knowing"][side]) for side in ("before", "after")},
        **{key: found[key] for key in KEPT},
    }


def shares(side: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The share of every verdict over both languages, by kind of name."""
    return {
        kind: {verdict: found["share"] for verdict, found in by_language["all"].items()}
        for kind, by_language in side.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--keep", type=Path, help="keep the runs here (default: a temporary place)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        place = chosen.keep or Path(aside)
        runs = [journey(place / f"seed-{seed}", seed, chosen.minutes) for seed in chosen.seeds]
    languages = runs[0]["exact_match"]
    worst = {language: min(run["exact_match"][language] for run in runs) for language in languages}
    print(
        json.dumps({"benchmark": "quickstart", "minutes": chosen.minutes, "worst_seed": worst, "runs": runs})
    )


if __name__ == "__main__":
    main()
