"""Keeps TensorFlow's, Beam's and absl's chatter off the user's terminal, unless asked for."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Node names as both of TFX's local runners log them, by INFO messages of their own.
RUNNING = ("Component %s is running.", "node %s is running.")
FAILED = "Execution %d failed."  # as TFX logs it; the command says it itself, in one line


def set_up_environment(verbose: bool) -> None:
    """To be called before TensorFlow is imported.

    TF-Hub, TFT and TFMA live in Keras 2, so the legacy Keras is chosen here as well.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # Beam would otherwise ask cloud services for credentials of local runs.
    os.environ.setdefault("NO_GCE_CHECK", "true")
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        warnings.filterwarnings("ignore")
        logging.getLogger().setLevel(logging.ERROR)
        # Beam logs, with its traceback, what it raises as well.
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)


@contextmanager
def node_announcements(announce: Callable[[str], None], verbose: bool) -> Iterator[None]:
    """Calls ``announce(node id)`` as TFX starts each node, with absl's other messages dropped."""
    from absl import logging as absl_logging

    logger = absl_logging.get_absl_logger()
    previous = absl_logging.get_verbosity()

    def announce_node(record: logging.LogRecord) -> bool:
        if record.msg in RUNNING:
            announce(str(record.args[0] if isinstance(record.args, tuple) else record.args))
        return verbose or (record.levelno >= logging.ERROR and record.msg != FAILED)

    # By absl's own setting: Keras saves and restores that one while it exports a model.
    absl_logging.set_verbosity(absl_logging.INFO)
    logger.addFilter(announce_node)
    try:
        yield
    finally:
        logger.removeFilter(announce_node)
        absl_logging.set_verbosity(previous)
