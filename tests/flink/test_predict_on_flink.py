"""`predict --on-beam` on a real Flink: the rows are those of this process."""

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from inception_finetune.components.errors import ExitStatus

pytestmark = pytest.mark.flink
PICTURES = 2000


def test_rows_are_those_of_this_process(cluster, brightness_model, tmp_path, run_command):
    noise = np.random.default_rng(0).integers(0, 256, (PICTURES, 1, 1, 3), np.uint8)
    (tmp_path / "new").mkdir()
    for number, colour in enumerate(noise):
        picture = Image.fromarray(np.broadcast_to(colour, (16, 16, 3)))
        picture.save(tmp_path / f"new/{number:04}.{'jpg' if number % 2 else 'png'}")
    (tmp_path / "new/bad.png").write_bytes(b"no picture")
    given = ("predict", "--model", brightness_model, tmp_path / "new")
    here, there = tmp_path / "here.parquet", tmp_path / "there"
    assert run_command(*given, "--output", here)[0] == ExitStatus.UNREAD
    flink = ("beam.runner=flink", f"beam.job_endpoint={cluster.job_endpoint}", "beam.parallelism=2")
    status, _, said = run_command(*given, "--on-beam", "--output", there, *flink)
    assert status == ExitStatus.UNREAD, said
    expected, found = (
        {row["picture"]: row for row in parquet.read_table(place).to_pylist()}
        for place in (here, there)
    )
    assert found.keys() == expected.keys() and len(found) == PICTURES + 1
    for name, row in expected.items():
        other = found[name]
        for column in [column for column in row if column.startswith("probability")]:
            assert other.pop(column) == pytest.approx(row.pop(column), abs=1e-6)
        assert other == row
    assert {job["state"] for job in cluster.rest("jobs/overview")["jobs"]} == {"FINISHED"}
