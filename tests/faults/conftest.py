import os
from collections.abc import Iterator

import pytest
from recorder import Recorder, write_report, write_table


@pytest.fixture(scope="session")
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    if os.environ.get("REWRITE_REPORT"):
        write_report(recorder.rows)
        for head, rows in recorder.tables.items():
            write_table(head, rows)
