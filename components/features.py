"""Feature keys, splits, value ranges and metric names, shared by all other modules."""

from typing import Final

# Raw examples, as `components.dataset.convert` writes them.
IMAGE_ENCODED: Final = "image/encoded"  # bytes, PNG or JPEG
IMAGE_FORMAT: Final = "image/format"  # bytes, b"png" or b"jpeg"
IMAGE_HEIGHT: Final = "image/height"  # int64, pixels
IMAGE_WIDTH: Final = "image/width"  # int64, pixels
IMAGE_ID: Final = "image/id"  # bytes, "<source file>:<index>", unique in a dataset
LABEL: Final = "image/class/label"  # int64 in [0, classes)

# Transformed examples, as `components.image.transform.preprocessing_fn` emits them.
IMAGE: Final = "image"  # float32 [size, size, CHANNELS] in [-1, 1]
TRANSFORMED_LABEL: Final = "label"  # int64 in [0, classes)

# Stored trunk outputs, as `components.trunk_features` writes them, beside LABEL and IMAGE_ID.
TRUNK: Final = "trunk/features"  # bytes, zstd of the raw values at the cut
TRUNK_SHAPE: Final = "trunk/shape"  # int64s, [h, w, channels] or [2048]
TRUNK_DTYPE: Final = "trunk/dtype"  # bytes, b"float32" or b"bfloat16"
# Property of their artifact: how many records, each a view of an image, an earlier one had.
KNOWN_RECORDS: Final = "known_records"

# Properties of the Examples artifact: sha256 of the data set's pictures, labels and names; and,
# where it is a window, pictures by span, as JSON.
DATASET_FINGERPRINT: Final = "dataset_fingerprint"
SPANS: Final = "spans"

CHANNELS: Final = 3
TRAIN: Final = "train"
VALIDATION: Final = "validation"
TEST: Final = "test"
SPLITS: Final = (TRAIN, VALIDATION, TEST)

LABELS_FILE: Final = "labels.txt"  # one "<id>:<name>" a line, ids from 0 without a gap
CONFIDENCE_FILE: Final = "confidence.json"  # what was fitted to the answers of a model
# Folder beside an exported SavedModel that TensorFlow Serving leaves alone: labels and origin.
EXTRA_ASSETS: Final = "assets.extra"

# Stored predictions, as `components.test_predictions` writes them, beside LABEL and IMAGE_ID.
CANDIDATE: Final = "candidate/probabilities"  # float32 [classes], the model that was just trained
CANDIDATE_UNKNOWN: Final = "candidate/unknown"  # int64, 0 or 1, where that model says it
# int64, 0 or 1: whether that model's prediction set holds the truth, where it gives sets.
CANDIDATE_COVERED: Final = "candidate/covered"
BASELINE: Final = "baseline/probabilities"  # the same of the last blessed model, if there was one

PREDICT_PIXELS: Final = "predict_pixels"  # the signature that is converted to other formats
EXPLAIN_IMAGES: Final = "explain_images"  # the signature that says where the model looks
# Inputs and outputs of the serving signatures.
PIXELS: Final = "pixels"  # uint8 [B, H, W, CHANNELS], RGB
PROBABILITIES: Final = "probabilities"  # float32 [B, classes], each row sums to 1
LABEL_ID: Final = "label_id"  # int64 [B], the most probable class
LABEL_NAME: Final = "label_name"  # string [B]
EMBEDDING: Final = "embedding"  # float32 [B, D], what the head is given
ERROR: Final = "error"  # string [B], "" where the picture could be read
IN_SET: Final = "in_set"  # bool [B, classes], whether a class is in the prediction set
DISTANCE: Final = "distance"  # float32 [B] in [0, 1], of the embedding to those of the training
PROBABILITY: Final = "probability"  # float32 [B], of the most probable class
MAP: Final = "map"  # float32 [B, h, w] in [0, 1], where the picture speaks for that class
BOX: Final = "box"  # float32 [B, 4] in [0, 1], what the map covers: top, left, bottom, right
UNKNOWN: Final = "unknown"  # bool [B], whether it is larger than that of known pictures
