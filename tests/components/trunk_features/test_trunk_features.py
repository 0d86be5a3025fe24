import json
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from sklearn.datasets import load_digits
from tfx.types import standard_artifacts

from inception_finetune.components import features
from inception_finetune.components.backbone import cut
from inception_finetune.components.backbone.load import load_backbone
from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.dataset.tfrecord import serialize_example
from inception_finetune.components.errors import UserError
from inception_finetune.components.image.augmentation import augment, stored_draws
from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.image.views import VIEWS
from inception_finetune.components.io.record_index import (
    COMPRESSION,
    RecordIndex,
    RecordReader,
    order_key,
)
from inception_finetune.components.trunk_features import record, store
from inception_finetune.components.trunk_features.component import TrunkFeatures
from inception_finetune.components.trunk_features.handler import batch_size
from inception_finetune.components.trunk_features.settings import TrunkSettings
from inception_finetune.components.trunk_features.trunk import fold_trunk
from inception_finetune.trainer import examples, input_fn, model, signatures
from inception_finetune.trainer.optimizers import parameter_groups
from inception_finetune.trainer.order import TrainingOrder
from inception_finetune.trainer.settings import Training
from inception_finetune.trainer.step import TrainingStep

CUT = "Mixed_7c"
STORED_VIEWS = TrainViews(views=("identity", "flip_left_right"))


@pytest.fixture(scope="module")
def backbone(standin):
    return load_backbone(standin, image_size=75).network


@pytest.fixture(scope="module")
def images():
    return tf.random.stateless_uniform([3, 75, 75, 3], [0, 0], -1, 1)


@pytest.mark.parametrize("block", ["Mixed_5b", "Mixed_7a", CUT, "head"])
def test_the_folded_trunk_is_keras_trunk_in_inference_mode(backbone, images, block):
    trunk, _ = cut.split(INCEPTION_V3, backbone, block)
    expected = trunk(images, training=False).numpy()
    found = fold_trunk(INCEPTION_V3, backbone, block, tf.float32)(images).numpy()
    assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()


def test_in_bfloat16_the_trunk_stays_close_where_little_can_be_amplified(backbone, images):
    exact = fold_trunk(INCEPTION_V3, backbone, "Mixed_5b", tf.float32)(images).numpy()
    rounded = fold_trunk(INCEPTION_V3, backbone, "Mixed_5b", tf.bfloat16)(images)
    assert rounded.dtype == tf.bfloat16
    error = np.linalg.norm(rounded.numpy().astype(np.float32) - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.02  # 8 bits of precision, 5 convolutions


def test_batches_are_bounded_in_bytes():
    sizes = [batch_size("inception_v3", side) for side in (75, 299, 1024)]
    assert sizes == [256, 32, 2]
    assert batch_size("inception_v1", 224) == 56


@pytest.mark.parametrize("dtype", sorted(record.DTYPES))
def test_a_record_holds_values_label_and_id_without_loss(dtype):
    values = np.random.default_rng(0).normal(size=[5, 5, 8]).astype(record.DTYPES[dtype])
    found = record.decode(record.encode(record.TrunkOutput(values, 7, b"data_batch_1:3")))
    np.testing.assert_array_equal(found.values, values)
    assert (found.values.dtype, found.label, found.id) == (values.dtype, 7, b"data_batch_1:3")


@pytest.mark.parametrize("damage", [lambda r: r[:-40], lambda r: r[:200] + b"x" + r[201:]])
def test_a_damaged_record_is_noticed(damage):
    values = np.random.default_rng(0).normal(size=[5, 5, 8]).astype(np.float32)
    whole = record.encode(record.TrunkOutput(values, 7, b"a"))
    with pytest.raises(UserError, match="is damaged"):
        record.decode(damage(whole))


def write_bundle(directory: Path, keys: list[store.Key], records: int = 0) -> None:
    writer = store.WriteShards({features.TRAIN: str(directory)})
    writer.start_bundle()
    for key in keys:
        values = np.full([4], key.number * 10 + key.view, np.float32)
        writer.process((key, record.TrunkOutput(values, key.number, b"")), records)
    writer.finish_bundle()


def test_repeated_bundles_neither_double_nor_reorder_examples(tmp_path):
    directory = tmp_path / "Split-train"
    directory.mkdir()
    keys = [store.Key(features.TRAIN, f, n, v) for f in (0, 1) for n in range(3) for v in (0, 1)]
    write_bundle(directory, keys[::-1][:5])
    for _ in range(2):
        write_bundle(directory, keys)
    store.commit(str(directory), str(tmp_path / "index.npz"), [3, 3], views=2)
    index = RecordIndex.load(str(tmp_path / "index.npz"), str(directory))
    reader = RecordReader(index)
    read = [record.decode(reader.read([n], [v])[0]).values[0] for n in range(6) for v in (0, 1)]
    assert read == [0, 1, 10, 11, 20, 21] * 2
    kept = {path.name for path in directory.iterdir()}
    assert kept == {Path(index.files[n]).name for n in np.unique(index.file)}


def test_a_missing_record_is_an_error(tmp_path):
    write_bundle(tmp_path, [store.Key(features.TRAIN, 0, 0, 0), store.Key(features.TRAIN, 0, 2, 0)])
    with pytest.raises(UserError, match="1 of 3 records are missing"):
        store.commit(str(tmp_path), str(tmp_path / "index.npz"), [3], views=1)


def test_features_that_no_disk_can_hold_are_refused_when_the_first_are_written(tmp_path):
    keys = [store.Key(features.TRAIN, 0, n, 0) for n in range(store.SAMPLE)]
    with pytest.raises(
        UserError, match="do not fit on the disk.*Free disk space.*feature_cache=false"
    ):
        write_bundle(tmp_path, keys, records=10**15)
    later = [key._replace(number=key.number + 1) for key in keys]
    write_bundle(tmp_path, later, records=10**15)  # another worker has asked


def artifact(kind, uri: Path | str, splits: list[str] | None = None):
    made = kind()
    made.uri = str(uri)
    if splits:
        made.split_names = json.dumps(splits)
    return made


def run_component(raw: Path, transform_output, output: Path, settings: TrunkSettings) -> None:
    graph = transform_output.transform_savedmodel_dir.rsplit("/", 1)[0]
    TrunkFeatures.test_call(
        examples=artifact(
            standard_artifacts.Examples, raw, [features.TRAIN, features.VALIDATION, features.TEST]
        ),
        transform_graph=artifact(standard_artifacts.TransformGraph, graph),
        trunk_features=artifact(standard_artifacts.Examples, output),
        settings=settings.model_dump_json(),
        pipeline=beam.Pipeline(runner="FnApiRunner"),
    )


def settings_for(standin: Path, **changes) -> TrunkSettings:
    values = {
        "network": "inception_v3",
        "backbone_directory": str(standin),
        "backbone_fingerprint": fingerprint(standin),
        "trainable_from": CUT,
        "image_size": 75,
        "compute_dtype": "float32",
        "views": STORED_VIEWS,
        "code_fingerprint": "",
    }
    return TrunkSettings.model_validate({**values, **changes})


COUNT = 24
DIGITS = load_digits()


# Whatever order an engine wrote them in, examples are read in the order of their ids' hashes.
IN_ORDER = sorted(range(COUNT), key=lambda number: order_key(f"made:{number}".encode()))
IDENTITIES = [f"made:{number}".encode() for number in IN_ORDER]


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Real digits in two files as train, in one as validation."""
    directory = tmp_path_factory.mktemp("raw")
    records = []
    for number in range(COUNT):
        pixels = np.repeat((DIGITS.images[number] * 15.9).astype(np.uint8)[..., None], 3, axis=2)
        values = {
            features.IMAGE_ENCODED: encode_png(pixels),
            features.IMAGE_ID: f"made:{number}".encode(),
            features.LABEL: int(DIGITS.target[number]),
        }
        records.append(serialize_example(values))
    for name, part in (
        ("Split-train/data-0.gz", records[:17]),
        ("Split-train/data-1.gz", records[17:]),
        ("Split-validation/data-0.gz", records),
    ):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(path), COMPRESSION) as writer:
            for serialized in part:
                writer.write(serialized)
    return directory


@pytest.fixture(scope="module")
def stored(raw, transform_output, standin, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("features")
    run_component(raw, transform_output, output, settings_for(standin))
    return output


def open_split(directory: Path, split: str, transform_output, scratch: Path):
    pattern = f"{directory}/Split-{split}/*"
    features = examples.open_features([pattern], split)
    return features or input_fn.ImageSource([pattern], transform_output, scratch, STORED_VIEWS)


def test_every_train_image_is_stored_in_each_view_and_validation_in_one(
    stored, raw, transform_output, backbone, tmp_path
):
    trunk, _ = cut.split(INCEPTION_V3, backbone, CUT)
    online = open_split(raw, features.TRAIN, transform_output, tmp_path)
    [(pictures, _)] = online.batches(COUNT)
    ways = {features.TRAIN: STORED_VIEWS.views, features.VALIDATION: ("identity",)}
    for split, views in ways.items():
        index = RecordIndex.load(store.index_path(str(stored), split), f"{stored}/Split-{split}")
        assert index.file.shape == (COUNT, len(views))
        reader = RecordReader(index)
        for view, name in enumerate(views):
            outputs = [record.decode(r) for r in reader.read(range(COUNT), [view] * COUNT)]
            expected = trunk(VIEWS[name](pictures), training=False).numpy()
            found = np.stack([output.values for output in outputs])
            np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
            assert [output.label for output in outputs] == DIGITS.target[IN_ORDER].tolist()
            assert [output.id for output in outputs] == IDENTITIES
        np.testing.assert_array_equal(index.label, DIGITS.target[IN_ORDER])


def test_random_views_are_drawn_by_example_and_view_and_validation_has_none(
    stored, raw, transform_output, standin, backbone, tmp_path
):
    views = TrainViews(views=("identity",), random_views=2)
    run_component(raw, transform_output, tmp_path / "out", settings_for(standin, views=views))
    trunk, _ = cut.split(INCEPTION_V3, backbone, CUT)
    (tmp_path / "online").mkdir()
    online = open_split(raw, features.TRAIN, transform_output, tmp_path / "online")
    [(pictures, _)] = online.batches(COUNT)
    outputs = {}
    for split in (features.TRAIN, features.VALIDATION):
        where = f"{tmp_path}/out/Split-{split}"
        reader = RecordReader(RecordIndex.load(store.index_path(f"{tmp_path}/out", split), where))
        for view in range(reader.index.file.shape[1]):
            records = reader.read(range(COUNT), [view] * COUNT)
            outputs[split, view] = np.stack([record.decode(one).values for one in records])
    assert len(outputs) == 4
    np.testing.assert_array_equal(outputs[features.TRAIN, 0], outputs[features.VALIDATION, 0])
    for view in (1, 2):
        draws = np.stack([stored_draws(order_key(one), view) for one in IDENTITIES])
        seen = augment(pictures, tf.constant(draws), views.augmentation)
        expected = trunk(seen, training=False).numpy()
        found = outputs[features.TRAIN, view]
        np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_features_lead_back_to_their_pictures_in_the_same_order(
    stored, raw, transform_output, tmp_path
):
    for split in (features.TRAIN, features.VALIDATION):
        pattern = [f"{stored}/Split-{split}/*"]
        pictures = examples.open_pictures(pattern, split, transform_output, tmp_path, 10)
        assert len(pictures) == 10
        images, labels = input_fn.first_examples(pictures, 8)
        online = open_split(raw, split, transform_output, tmp_path)
        np.testing.assert_array_equal(images, input_fn.first_examples(online, 8)[0])
        assert labels.numpy().tolist() == DIGITS.target[IN_ORDER[:8]].tolist()


def test_examples_are_read_in_one_order_however_files_hold_them(raw, transform_output, tmp_path):
    files = [f"{raw}/Split-train/data-{number}.gz" for number in (0, 1)]
    orders = []
    for part in (files, files[::-1]):
        source = input_fn.ImageSource(part, transform_output, tmp_path)
        orders.append(input_fn.first_examples(source, COUNT)[1].numpy().tolist())
    assert orders[0] == orders[1] == DIGITS.target[IN_ORDER].tolist()


def losses(source, backbone_directory: Path) -> list[float]:
    """Of six steps from the same start, with everything random fixed by the seed."""
    keras.utils.set_random_seed(0)
    training = Training(epochs=2, batch_size=8, learning_rate=1e-4, dropout=0.3)
    classifier = model.build_classifier(
        INCEPTION_V3,
        load_backbone(backbone_directory, image_size=75).network,
        CUT,
        classes=10,
        fresh=False,
        training=training,
    )
    trainee = model.prepare_training(
        classifier, "float32", from_features=isinstance(source, input_fn.FeatureSource)
    )
    groups = parameter_groups(training, trainee, INCEPTION_V3, total_steps=6)
    step = TrainingStep(trainee, training, groups)
    order = TrainingOrder(len(source), source.views, training.batch_size, training.seed)
    batches = input_fn.training_batches(source, order, 0, 6, classes=10)
    return [float(step.train(batch, number).loss) for number, batch in enumerate(batches)]


def test_cached_and_online_training_lose_the_same_step_for_step(
    stored, raw, transform_output, standin, tmp_path
):
    cached = open_split(stored, features.TRAIN, transform_output, tmp_path)
    online = open_split(raw, features.TRAIN, transform_output, tmp_path)
    assert isinstance(cached, input_fn.FeatureSource) and isinstance(online, input_fn.ImageSource)
    found, expected = losses(cached, standin), losses(online, standin)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert len(set(np.round(expected, 3))) == 6


def test_the_exported_model_is_the_trained_part_on_the_stored_features(
    stored, raw, transform_output, standin, tmp_path
):
    """Trained on features alone, yet whole: bytes in, what upper(trunk(image)) gives out."""
    training = Training(epochs=1, batch_size=8, learning_rate=1e-3, dropout=0.3)
    backbone = load_backbone(standin, image_size=75).network
    classifier = model.build_classifier(
        INCEPTION_V3, backbone, CUT, classes=10, fresh=False, training=training
    )
    cached = open_split(stored, features.TRAIN, transform_output, tmp_path)
    trainee = model.prepare_training(classifier, "float32", from_features=True)
    groups = parameter_groups(training, trainee, INCEPTION_V3, total_steps=3)
    step = TrainingStep(trainee, training, groups)
    order = TrainingOrder(COUNT, cached.views, training.batch_size, training.seed)
    for number, batch in enumerate(input_fn.training_batches(cached, order, 0, 3, classes=10)):
        step.train(batch, number)
    model.finish_training(trainee, classifier)
    labels = [str(digit) for digit in range(10)]
    exported = str(tmp_path / "model")
    signatures.export(
        signatures.ServingModel(classifier.embedding, transform_output, labels, central_crop=0.875),
        exported,
    )

    files = [str(path) for path in sorted((raw / "Split-train").iterdir())]
    serialized = list(tf.data.TFRecordDataset(files, COMPRESSION).as_numpy_iterator())
    serve = tf.saved_model.load(exported).signatures["serving_default"]
    answers = serve(examples=tf.constant(serialized))[features.PROBABILITIES]
    found = tf.gather(answers, IN_ORDER)
    [(values, _)] = cached.batches(COUNT)
    expected = tf.nn.softmax(trainee.network(values, training=False))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected.numpy(), axis=0).max() > 0.01  # the pictures are told apart


def test_bfloat16_takes_at_most_half_of_float32(stored, raw, transform_output, standin, tmp_path):
    settings = settings_for(standin, compute_dtype="bfloat16", views=TrainViews())
    run_component(raw, transform_output, tmp_path, settings)
    source = open_split(tmp_path, features.TRAIN, transform_output, tmp_path)
    [(values, labels)] = source.batches(COUNT)
    assert values.dtype == tf.bfloat16 and values.shape[0] == labels.shape[0] == COUNT
    size = sum(path.stat().st_size for path in (tmp_path / "Split-train").iterdir())
    assert size <= 0.5 * 4 * np.prod(values.shape)


def test_another_backbone_than_the_configured_one_is_refused(
    raw, transform_output, standin, tmp_path
):
    settings = settings_for(standin, backbone_fingerprint="0" * 64)
    with pytest.raises(Exception, match="changed during the run"):
        run_component(raw, transform_output, tmp_path, settings)
