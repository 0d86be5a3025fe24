"""Pass after pass: each in a process of its own, until Ctrl-C; one that fails ends nothing."""

import os
import signal
from pathlib import Path

from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.watch.loop import watch_for_ever


def a_pass(config, verbose):
    """Notes its process; the first one fails."""
    notes = Path(config.root) / "notes"
    is_first = not notes.exists()
    with notes.open("a") as file:
        file.write(f"{os.getpid()} {verbose}\n")
    if is_first:
        os._exit(1)


def test_passes_follow_each_other_in_processes_until_ctrl_c(tmp_path, capsys):
    config, pauses = load_config("digits", [f"root={tmp_path}"]), []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    watch_for_ever(config, 3600.0, a_pass, verbose=True, pause=pause)
    noted = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    assert len(noted) == 2 and {verbose for _, verbose in noted} == {"True"}
    assert len({process for process, _ in noted} | {str(os.getpid())}) == 3
    assert all(3500 < seconds < 3600 for seconds in pauses)
    assert capsys.readouterr().out == "ended by Ctrl-C\n"
    watch_for_ever(config, 0.001, a_pass, pause=pause_never)


def a_killed_pass(config, verbose):
    os.kill(os.getpid(), signal.SIGKILL)


def a_long_pass(config, verbose):
    os.kill(os.getppid(), signal.SIGINT)
    signal.pause()


def test_a_pass_that_is_killed_is_told(tmp_path, capsys):
    config = load_config("digits", [f"root={tmp_path}"])
    watch_for_ever(config, 0.001, a_killed_pass, pause=pause_never)
    assert capsys.readouterr().err == (
        "error: The pass was ended by signal 9 (Killed). The next one takes up what it left.\n"
    )


def test_a_pass_ends_with_the_command_that_is_told_to_end(tmp_path, capsys):
    watch_for_ever(load_config("digits", [f"root={tmp_path}"]), 3600.0, a_long_pass)
    assert capsys.readouterr().out == "ended by Ctrl-C\n"


def pause_never(seconds):
    assert seconds == 0.0
    raise KeyboardInterrupt
