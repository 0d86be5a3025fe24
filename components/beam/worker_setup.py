"""Imported by every Beam worker process before it runs a step (Beam's option ``beam_plugins``).

The import is the work, as Beam has no other hook: what the command line sets up for its own
process (`pipeline.quiet`) must hold in workers as well.
"""

import os

from inception_finetune.components.native_output import quiet_native_output

# TF-Hub, TFT and TFMA live in Keras 2; to be said before TensorFlow is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with quiet_native_output(verbose=False):
    import tensorflow  # noqa: F401
# TFDV asks for tfx_bsl.arrow.sql_util, which tfx-bsl 1.21 has no longer: TFX puts a stand-in
# there, and must do so before a step that needs it is unpickled.
import tfx  # noqa: E402, F401
