"""The curated schema that ExampleValidator checks every split against."""

from tensorflow_metadata.proto.v0 import schema_pb2

from inception_finetune.components import features


def curated_schema(classes: int) -> schema_pb2.Schema:
    """Describes the records that `components.dataset.convert` writes.

    Every feature is required exactly once in each example; images are declared as bytes, so that
    they are not taken for text; labels must lie in [0, classes).

    Args:
      classes: number of classes.
    """
    schema = schema_pb2.Schema()
    for name, kind in (
        (features.IMAGE_ENCODED, schema_pb2.BYTES),
        (features.IMAGE_FORMAT, schema_pb2.BYTES),
        (features.IMAGE_HEIGHT, schema_pb2.INT),
        (features.IMAGE_WIDTH, schema_pb2.INT),
        (features.IMAGE_ID, schema_pb2.BYTES),
        (features.LABEL, schema_pb2.INT),
    ):
        feature = schema.feature.add(name=name, type=kind)
        feature.presence.min_fraction = 1.0
        feature.presence.min_count = 1
        feature.value_count.min = feature.value_count.max = 1
        feature.shape.SetInParent()  # a scalar: parsed densely
    by_name = {feature.name: feature for feature in schema.feature}
    by_name[features.IMAGE_ENCODED].image_domain.SetInParent()
    by_name[features.IMAGE_FORMAT].string_domain.value.extend(["png", "jpeg"])
    for side in (features.IMAGE_HEIGHT, features.IMAGE_WIDTH):
        by_name[side].int_domain.min = 1
    label = by_name[features.LABEL].int_domain
    label.min, label.max, label.is_categorical = 0, classes - 1, True
    return schema
