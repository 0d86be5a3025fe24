"""The exported model: encoded bytes to probabilities or embeddings, through the Transform graph."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from inception_finetune.components import features
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.evaluation.confidence import Novelty
from inception_finetune.components.image import decoding
from inception_finetune.components.image.pixels import crop_and_scale
from inception_finetune.components.image.views import IDENTITY, VIEWS
from inception_finetune.trainer.confidence import UNFITTED, Confidence
from inception_finetune.trainer.explanation import GradCam

# Images that are decoded and classified at a time, whatever the size of the caller's batch, so
# that memory is bounded: 32 x 299 x 299 x 3 float32 is 34 MB, its activations some 20 times that.
CHUNK = 32
# Stands for a picture that cannot be read, whose answer is then replaced.
_BLANK = encode_png(np.zeros([1, 1, features.CHANNELS], np.uint8))
_ERROR = f"a picture must be {decoding.RULE}"


class ServingModel(tf.Module):
    """Bytes -> Transform graph -> network -> probabilities; batch norm in inference mode.

    `network` maps images ``[B, S, S, 3]`` to the head's input ``[B, D]`` and to the logits.
    """

    def __init__(
        self,
        network: keras.Model,
        transform: tft.TFTransformOutput,
        label_names: Sequence[str],
        views: Sequence[str] = (IDENTITY,),
        confidence: Confidence = UNFITTED,
        grad_cam: GradCam | None = None,
        *,
        central_crop: float,
    ) -> None:
        """Prepares the signatures.

        Args:
          network: ``[B, S, S, 3]`` to the head's input and the logits.
          transform: the graph that preprocesses images.
          label_names: of all classes.
          central_crop: share of each side that `transform` keeps, in (0, 1].
          views: keys of `VIEWS`; probabilities are the mean of those that are given to these,
            before the temperature.
          confidence: what is said of the answers.
          grad_cam: the same network, where it is to explain its answers.
        """
        super().__init__(name="serving_model")
        # Only its variables are tracked: were the Keras model itself an attribute, saving would
        # trace each of its 300 layers once more, which takes ten times as long.
        self.network_variables = network.weights
        self._network = lambda images: network(images, training=False)
        self._views = tuple(views)
        self._confidence = confidence
        self._grad_cam = grad_cam
        self._distance = None if confidence.novelty is None else _Distance(confidence.novelty)
        self._width = network.output_shape[0][-1]
        self._size = network.input_shape[1]
        self._central_crop = central_crop
        self.transform_layer = transform.transform_features_layer()
        self._raw_features = transform.raw_feature_spec()
        self._label_names = tuple(label_names)

    def signatures(self) -> dict[str, Callable]:
        """Returns the concrete function of each signature, by name."""
        serialized = tf.TensorSpec([None], tf.string, name="examples")
        encoded = tf.TensorSpec([None], tf.string, name="images")
        pixels = tf.TensorSpec([None, None, None, features.CHANNELS], tf.uint8, features.PIXELS)
        signatures = {
            "serving_default": tf.function(self.serve_examples).get_concrete_function(serialized),
            "predict_images": tf.function(self.predict_images).get_concrete_function(encoded),
            "transform_features": tf.function(self.transform_features).get_concrete_function(
                serialized
            ),
            "embed_images": tf.function(self.embed_images).get_concrete_function(encoded),
            features.PREDICT_PIXELS: tf.function(self.predict_pixels).get_concrete_function(pixels),
        }
        if self._grad_cam is not None:
            explain = tf.function(self.explain_images).get_concrete_function(encoded)
            signatures[features.EXPLAIN_IMAGES] = explain
        return signatures

    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies serialized tf.Examples.

        This is what the gate measures, so no image may be left out.

        Args:
          examples: ``[B]`` strings; only ``image/encoded`` is needed in them.

        Returns:
          As `predict_images`.

        Raises:
          tf.errors.InvalidArgumentError: some images cannot be read; lists their positions in the
            batch.
        """
        specification = {features.IMAGE_ENCODED: self._raw_features[features.IMAGE_ENCODED]}
        parsed = tf.io.parse_example(examples, specification)
        images = parsed[features.IMAGE_ENCODED]
        whole = decoding.are_whole(images)
        unread = tf.squeeze(tf.where(~whole), axis=1)
        every_one = tf.debugging.Assert(
            tf.reduce_all(whole), [f"{_ERROR}; not so at these places of the batch:", unread]
        )
        with tf.control_dependencies([every_one]):
            return self._answer(images, tf.identity(whole))

    def predict_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies images of any size.

        An unreadable image does not affect the others: its probabilities are 0, its label is -1
        without a name, and ``error`` describes what is wrong.

        Args:
          images: ``[B]`` strings, PNG or JPEG bytes.

        Returns:
          ``probabilities`` ``[B, classes]`` float32, ``label_id`` ``[B]`` int64, ``label_name`` and
          ``error`` ``[B]`` strings; as they were fitted, ``in_set`` ``[B, classes]`` bool, and
          ``distance`` ``[B]`` float32 with ``unknown`` ``[B]`` bool. What could not be read has no
          class in its set, the distance 0, and is not unknown.
        """
        return self._answer(images, decoding.are_whole(images))

    def predict_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies decoded images of one size: what is converted to other formats.

        The whole batch is computed at a time, so its size is the caller's matter.

        Args:
          pixels: ``[B, H, W, 3]`` uint8, RGB, as `decoding.decode` returns them.

        Returns:
          ``probabilities`` ``[B, classes]`` float32.
        """
        images = crop_and_scale(pixels, self._size, self._central_crop)
        return {features.PROBABILITIES: self._classify(images)[0]}

    def embed_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds images of any size.

        Args:
          images: ``[B]`` strings, PNG or JPEG bytes.

        Returns:
          ``embedding`` ``[B, D]`` float32, 0 for an unreadable image, and ``error`` ``[B]``
          strings.
        """
        whole = decoding.are_whole(images)
        vectors = self._in_chunks(
            tf.where(whole, images, _BLANK), lambda images: self._network(images)[0], self._width
        )
        return {
            features.EMBEDDING: tf.where(whole[:, tf.newaxis], vectors, 0.0),
            features.ERROR: tf.where(whole, "", _ERROR),
        }

    def explain_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Shows where images of any size speak for the class that the model takes them for.

        Args:
          images: ``[B]`` strings, PNG or JPEG bytes.

        Returns:
          ``map`` ``[B, h, w]`` float32 in [0, 1], by Grad-CAM, of the picture as it is;
          ``box`` ``[B, 4]`` float32, the part of the picture that it covers, as top, left, bottom
          and right in shares of its sides, within a pixel; ``label_id`` ``[B]`` int64,
          ``label_name`` ``[B]`` strings and ``probability`` ``[B]`` float32 of the class, as
          `predict_images` answers; and ``error`` ``[B]`` strings. Of an unreadable image map and
          probability are 0, the label is -1 without a name.
        """
        assert self._grad_cam is not None
        classes, (height, width) = len(self._label_names), self._grad_cam.shape
        whole = decoding.are_whole(images)
        found = self._in_chunks(
            tf.where(whole, images, _BLANK), self._explain, classes + height * width
        )
        probabilities, maps = found[:, :classes], found[:, classes:]
        label_id = tf.argmax(probabilities, axis=-1, output_type=tf.int64)
        margin = (1 - self._central_crop) / 2
        box = tf.constant([[margin, margin, 1 - margin, 1 - margin]], tf.float32)
        maps = tf.where(whole[:, tf.newaxis], maps, 0.0)
        return {
            features.MAP: tf.reshape(maps, [-1, height, width]),
            features.BOX: tf.repeat(box, tf.shape(images)[0], axis=0),
            features.PROBABILITY: tf.where(whole, tf.reduce_max(probabilities, axis=-1), 0.0),
            **self._named(label_id, whole),
        }

    def _explain(self, images: tf.Tensor) -> tf.Tensor:
        """Probabilities ``[B, classes]``, beside them the flat maps of the likeliest classes."""
        assert self._grad_cam is not None
        own, maps = self._grad_cam(images)
        probabilities = self._probabilities(
            [
                own if view == IDENTITY else self._network(VIEWS[view](images))[1]
                for view in self._views
            ]
        )
        chosen = maps(tf.argmax(probabilities, axis=-1))
        flat = tf.reshape(chosen, [-1, math.prod(self._grad_cam.shape)])
        return tf.concat([probabilities, flat], axis=1)

    def _named(self, label_id: tf.Tensor, whole: tf.Tensor) -> dict[str, tf.Tensor]:
        """Id, name and error of each of the images, whose classes are ``[B]`` int64."""
        return {
            features.LABEL_ID: tf.where(whole, label_id, -1),
            features.LABEL_NAME: tf.where(
                whole, tf.gather(tf.constant(self._label_names), label_id), ""
            ),
            features.ERROR: tf.where(whole, "", _ERROR),
        }

    def _answer(self, images: tf.Tensor, whole: tf.Tensor) -> dict[str, tf.Tensor]:
        classes = len(self._label_names)
        answers = self._in_chunks(
            tf.where(whole, images, _BLANK), self._answers, classes + (self._distance is not None)
        )
        probabilities = answers[:, :classes]
        label_id = tf.argmax(probabilities, axis=-1, output_type=tf.int64)
        found = {
            features.PROBABILITIES: tf.where(whole[:, tf.newaxis], probabilities, 0.0),
            **self._named(label_id, whole),
        }
        if self._confidence.smallest_in_set is not None:
            in_set = probabilities >= self._confidence.smallest_in_set
            in_set |= tf.one_hot(label_id, classes, True, False)
            found[features.IN_SET] = in_set & whole[:, tf.newaxis]
        if self._confidence.novelty is not None:
            distance = tf.where(whole, answers[:, classes], 0.0)
            found[features.DISTANCE] = distance
            found[features.UNKNOWN] = distance > self._confidence.novelty.threshold
        return found

    def _answers(self, images: tf.Tensor) -> tf.Tensor:
        """Probabilities ``[B, classes]`` and, where it is measured, the distance beside them."""
        probabilities, vector = self._classify(images)
        if self._distance is None:
            return probabilities
        return tf.concat([probabilities, self._distance(vector)[:, tf.newaxis]], axis=1)

    def _classify(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns probabilities ``[B, classes]``, and the embedding ``[B, D]``."""
        outputs = {view: self._network(VIEWS[view](images)) for view in self._views}
        vector, _ = outputs.get(IDENTITY) or self._network(images)
        return self._probabilities([logits for _, logits in outputs.values()]), vector

    def _probabilities(self, logits: Sequence[tf.Tensor]) -> tf.Tensor:
        """Of the views' logits ``[B, classes]``."""
        # The logarithm of the mean; of one view, its logits but for a constant. The logarithm of
        # probabilities would lose much in 8 bits.
        mean = logits[0] if len(logits) == 1 else tf.reduce_logsumexp(tf.nn.log_softmax(logits), 0)
        return tf.nn.softmax(mean / self._confidence.temperature)

    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Transforms labelled tf.Examples as they are for training.

        Args:
          examples: ``[B]`` serialized examples.

        Returns:
          ``image`` ``[B, S, S, 3]`` float32 in [-1, 1] and ``label`` ``[B]`` int64.
        """
        return self.transform_layer(tf.io.parse_example(examples, self._raw_features))

    def _in_chunks(
        self, images: tf.Tensor, network: Callable[[tf.Tensor], tf.Tensor], width: int
    ) -> tf.Tensor:
        """Applies `network` to readable images ``[B]``, in chunks: ``[B, width]`` float32."""
        # Convolutions refuse a batch of none, so one picture that is cut off again stands in.
        count = tf.shape(images)[0]
        images = tf.concat([images, tf.fill([tf.cast(count == 0, tf.int32)], _BLANK)], axis=0)
        chunks = tf.TensorArray(
            tf.float32, size=0, dynamic_size=True, infer_shape=False, element_shape=[None, width]
        )

        def run(start: tf.Tensor, index: tf.Tensor, chunks: tf.TensorArray):
            chunk = images[start : start + CHUNK]
            image = self.transform_layer({features.IMAGE_ENCODED: chunk})[features.IMAGE]
            return start + CHUNK, index + 1, chunks.write(index, network(image))

        # One chunk at a time: parallel iterations would undo the bound on memory.
        _, _, chunks = tf.while_loop(
            lambda start, index, chunks: start < tf.shape(images)[0],
            run,
            (tf.constant(0), tf.constant(0), chunks),
            parallel_iterations=1,
        )
        return tf.ensure_shape(chunks.concat()[:count], [None, width])


class _Distance(tf.Module):
    """Embeddings ``[B, features]`` to their distances, ``[B]``, as `Novelty.distances` has them."""

    def __init__(self, novelty: Novelty) -> None:
        super().__init__(name="distance")
        # Variables: constants would be stored once for each signature.
        self._center = tf.Variable(novelty.center, trainable=False)
        self._basis = tf.Variable(novelty.basis, trainable=False)

    def __call__(self, vectors: tf.Tensor) -> tf.Tensor:
        centred = vectors - self._center
        squares = tf.reduce_sum(centred**2, axis=1)
        inside = tf.reduce_sum(tf.matmul(centred, self._basis) ** 2, axis=1)
        return tf.sqrt(tf.math.divide_no_nan(tf.maximum(squares - inside, 0.0), squares))


def export(model: ServingModel, directory: str) -> None:
    """Writes the SavedModel with all its signatures."""
    tf.saved_model.save(model, directory, signatures=model.signatures())
