"""`python -m chatwright`, which `torchrun -m chatwright` also calls."""

from chatwright.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
