"""The worker process of `ProcessRunner`: Beam's own, which ends when its runner does."""

import sys

from inception_finetune.components.lifetime import end_with


def main() -> None:
    """Works for the process whose number is the only argument."""
    end_with(int(sys.argv[1]))  # before Beam is imported, which takes seconds
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


if __name__ == "__main__":
    main()
