"""The configuration's section `dataset`."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from inception_finetune.components.dataset.bad_examples import OnBadExample, OnLeakage, Policy
from inception_finetune.components.dataset.column_names import ColumnNames
from inception_finetune.components.io.address import Address
from inception_finetune.components.settings import Fraction, Section

# What a source may be: see `components.dataset.layout`, which recognises it.
Kind = Literal["cifar", "pictures", "list", "records", "tfds", "webdataset", "parquet", "arrow"]
Wanted = Literal["auto", Kind]


class Dataset(Section):
    """Where the images come from, how they are split, and what happens to bad ones."""

    # "cifar10", "digits", or a path, URL, s3:// or gs:// of pictures in one of many forms: see
    # docs/data.md.
    archive: Address = "cifar10"
    layout: Wanted = "auto"  # what `archive` is; "auto" recognises it
    # Columns of a list, of Parquet or of Arrow, by their names; null has them found.
    image_column: Annotated[str, Field(min_length=1)] | None = None
    label_column: Annotated[str, Field(min_length=1)] | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")  # of the archive, when it is known
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1  # carved out of train
    test_fraction: Fraction = 0.1  # of a folder or list that names no test pictures
    seed: int = 0  # of the validation split
    # A picture that cannot be read or a label that does not fit: stop, or leave it out by name.
    on_bad_example: OnBadExample = "fail"
    max_bad_examples: int = Field(100, ge=1)  # that may be left out; one more stops the run
    # Test pictures that are in train or validation too; "skip" leaves those copies out.
    on_leakage: OnLeakage = "fail"
    # Those that only show the same: cropped, brighter, encoded anew. "report" leaves them to `data
    # check`; the others run the network over all pictures before the first step.
    on_near_duplicate: Literal["report", "skip", "fail"] = "report"

    # A table of labels that a person has corrected and images to leave out, as `data check` writes
    # it: columns id and correction.
    corrections: Address | None = None

    # Instead of `archive`: a pattern of folders or files, each with the pictures of a day or of
    # another span, in TFX's words: pictures/{YYYY}-{MM}-{DD}, or {SPAN}; of several {VERSION}s the
    # highest counts.
    spans: Annotated[str, Field(min_length=1)] | None = None
    window: int | None = Field(None, ge=1)  # the last so many spans are trained on; null: all
    min_spans: int = Field(1, ge=1)  # fewer to train on are refused
    golden: Address | None = None  # with `spans`: test pictures, in any form that `archive` takes
    newest_as_test: bool = False  # with `spans`: the newest span is test, and not trained on yet

    @model_validator(mode="before")
    @classmethod
    def _spans_are_the_archive(cls, values: Any) -> Any:
        """What is shown as the data's name is the pattern; a preset's archive is not read."""
        if isinstance(values, dict) and values.get("spans"):
            return {**values, "archive": values["spans"]}
        return values

    @model_validator(mode="after")
    def _spans_are_tested(self) -> "Dataset":
        if self.spans and "://" in self.spans:
            raise ValueError("spans must be a path on this machine, not an address")
        if self.spans and not self.golden and not self.newest_as_test:
            raise ValueError(
                "spans name no test pictures. Give golden, newest_as_test=true, or both"
            )
        if not self.spans and (self.golden or self.newest_as_test or self.window):
            raise ValueError("golden, newest_as_test and window are for spans. Give spans as well")
        return self

    @model_validator(mode="after")
    def _columns_are_two(self) -> "Dataset":
        if self.image_column is not None and self.image_column == self.label_column:
            raise ValueError(
                "image_column and label_column must be two columns, here both are "
                f"{self.image_column!r}"
            )
        return self

    @property
    def columns(self) -> ColumnNames:
        """The columns that are named."""
        return ColumnNames(self.image_column, self.label_column)

    @property
    def policy(self) -> Policy:
        """What happens to bad examples and leaks."""
        return Policy(self.on_bad_example, self.max_bad_examples, self.on_leakage)
