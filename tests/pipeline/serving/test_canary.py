"""A canary: which version answers, what is compared, and that nothing of it harms a client."""

import asyncio
import concurrent.futures
import json
import shutil
import threading
from pathlib import Path

import pytest
import requests

from helpers.made_pictures import encoded
from helpers.served import serving, until
from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.pipeline.serving.canary import Agreement, Canary, Comparisons
from inception_finetune.pipeline.serving.metrics import Metrics

NAME = "digits"
HEADER = "X-Model-Version"


def push(model, folder, number: int, *, swapped: bool = False) -> None:
    """As Pusher does; one that is `swapped` calls light pictures dark, and dark ones light."""
    shutil.copytree(model, folder / ".pushing")
    if swapped:
        labels = folder / ".pushing/assets.extra/labels.txt"
        labels.write_text("0:dark\n1:[/]\n2:[red]\n")
    (folder / ".pushing").rename(folder / str(number))


def metric(url: str, name: str) -> dict[str, float]:
    """The values of a metric by its labels."""
    lines = requests.get(f"{url}/metrics", timeout=30).text.splitlines()
    prefix = f"inception_finetune_{name}"
    found = [line.removeprefix(prefix).rpartition(" ") for line in lines if line.startswith(prefix)]
    return {labels: float(value) for labels, _, value in found}


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_a_share_of_the_requests_goes_to_the_canary_and_always_the_same_ones(share):
    bodies = [str(number).encode() for number in range(4000)]
    canary = Canary(version=7, share=share)
    taken = [canary.takes(body) for body in bodies]
    assert sum(taken) / 4000 == pytest.approx(share, abs=0.03)
    assert taken == [canary.takes(body) for body in bodies]
    other = [Canary(version=8, share=share).takes(body) for body in bodies]
    assert (taken == other) is (share == 1)


def test_disagreements_are_counted_by_the_classes_of_pictures_that_both_could_read():
    agreement = Agreement(9, 8)
    assert agreement.facts()["share"] is None
    assert agreement.add(["cat", "dog", "", "owl"], ["cat", "cat", "cat", ""]) == (1, 1)
    assert agreement.add(["dog", "cat"], ["cat", "dog"]) == (0, 2)
    assert agreement.facts() == {
        "version": 9, "canary": 8, "compared": 4, "disagreements": 3, "share": 0.75,
        "changes": [
            {"version": "dog", "canary": "cat", "pictures": 2},
            {"version": "cat", "canary": "dog", "pictures": 1},
        ],
    }  # fmt: skip
    assert str(agreement).endswith("another class for 3 of 4 pictures (75.00%)")


def test_what_cannot_be_compared_is_counted_and_lets_the_version_go():
    closed: list[str] = []

    async def compare() -> None:
        metrics = Metrics()
        comparisons = Comparisons(metrics, most=1)
        waiting = asyncio.Event()

        async def answer():
            await waiting.wait()
            raise RuntimeError("a broken model")

        def start(name: str, labels) -> None:
            from contextlib import ExitStack

            held = ExitStack()
            held.callback(closed.append, name)
            comparisons.start((9, 8), labels, answer, held, canary_answered=True)

        start("no classes", None)
        assert closed == ["no classes"]
        start("failed", ["cat"])
        start("skipped", ["cat"])
        assert closed == ["no classes", "skipped"] and comparisons.under_way == 1
        waiting.set()
        while comparisons.under_way:
            await asyncio.sleep(0.01)
        assert closed == ["no classes", "skipped", "failed"]
        text = metrics.text().decode()
        for result in ("no_classes", "failed", "skipped"):
            assert f'canary_comparisons_total{{result="{result}"}} 1.0' in text
        assert comparisons.agreements == []

    asyncio.run(compare())


@pytest.fixture(scope="module")
def pushed(brightness_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("canary")
    push(brightness_model, folder, 1)
    push(brightness_model, folder, 2, swapped=True)
    return folder


def test_answers_are_split_and_say_who_gave_them(pushed):
    pictures = [encoded(number) for number in range(20)]
    canary = Canary(version=2, share=0.4)
    expected = [2 if canary.takes(one) else 1 for one in pictures]
    assert 1 in expected and 2 in expected
    labels = {number: labels_of(pushed / str(number), pictures) for number in (1, 2)}
    with serving(pushed, "--canary=2", "--canary-share=0.4") as served:
        served.wait_for("version 2 is the canary")
        assert any("version 1 serves" in line for line in served.lines)
        answers = []
        for place, picture in enumerate(pictures, start=1):
            answers.append(requests.post(f"{served.url}/classify", picture, timeout=30))
            # No more than two are compared at a time.
            until(lambda: compared_of(served.url) == expected[:place].count(2) or None)  # noqa: B023
        assert [int(one.headers[HEADER]) for one in answers] == expected
        assert [one.json()["version"] for one in answers] == expected
        assert [one.json()["classes"][0]["label"] for one in answers] == [
            labels[number][place] for place, number in enumerate(expected)
        ]
        compared = expected.count(2)
        changed = sum(
            labels[1][place] != labels[2][place] for place in range(20) if expected[place] == 2
        )
        assert changed
        shown = canary_of(served.url)
        assert (shown["version"], shown["share"], shown["shadow"]) == (2, 0.4, False)
        [agreement] = shown["comparisons"]
        assert (agreement["version"], agreement["canary"]) == (1, 2)
        assert agreement["disagreements"] == changed
        same = 'canary="2",same="{}",version="1"'
        assert metric(served.url, "canary_compared_pictures_total") == {
            f"{{{same.format('no')}}}": changed, f"{{{same.format('yes')}}}": compared - changed
        }  # fmt: skip
        assert metric(served.url, "answers_total") == {
            '{version="1"}': expected.count(1), '{version="2"}': expected.count(2)
        }  # fmt: skip
        # TensorFlow Serving's routes: a version that is named answers, and nothing is compared.
        for number in (1, 2, 1, 2):
            answer = ask(served.url, pictures, f"/versions/{number}")
            assert answer.headers[HEADER] == str(number)
            names = [one["label_name"] for one in answer.json()["predictions"]]
            assert len(names) == 20
        assert canary_of(served.url)["comparisons"][0]["compared"] == compared
        assert ask(served.url, pictures, "/versions/3").status_code == 404
        metadata = requests.get(f"{served.url}/v1/models/{NAME}/versions/2/metadata", timeout=30)
        assert metadata.json()["model_spec"]["version"] == "2"
        assert served.end() == 0
    assert f"version 2 beside 1: another class for {changed} of {compared}" in served.lines[-1]


def labels_of(version: Path, pictures: list[bytes]) -> list[str]:
    model = PushedModel(version)
    return [model.label_names[shares.argmax()] for shares in model.answer(pictures).shares]


def compared_of(url: str) -> int:
    return sum(one["compared"] for one in canary_of(url)["comparisons"])


def canary_of(url: str) -> dict:
    return requests.get(f"{url}/canary", timeout=30).json()


def ask(url: str, pictures, version: str = "") -> requests.Response:
    import base64

    rows = [{"b64": base64.b64encode(one).decode()} for one in pictures]
    body = json.dumps({"signature_name": "predict_images", "instances": rows})
    return requests.post(f"{url}/v1/models/{NAME}{version}:predict", body, timeout=60)


def test_a_shadow_answers_nobody_and_is_asked_all_the_same(pushed):
    pictures = [encoded(number) for number in range(6)]
    with serving(pushed, "--canary=2", "--canary-share=1", "--shadow") as served:
        answer = ask(served.url, pictures)
        assert answer.headers[HEADER] == "1"
        shown = until(lambda: (told := canary_of(served.url))["comparisons"] and told or None)
        [agreement] = shown["comparisons"]
        named = [labels_of(pushed / number, pictures) for number in "12"]
        changed = sum(one != other for one, other in zip(*named, strict=True))
        assert changed and agreement["disagreements"] == changed
        assert agreement["compared"] == 6
        # Signatures without classes, and requests that are refused, are not compared.
        body = {"signature_name": "embed_images", "instances": [{"b64": ""}]}
        requests.post(f"{served.url}/v1/models/{NAME}:predict", json=body, timeout=30)
        until(lambda: metric(served.url, "canary_comparisons_total").get('{result="no_classes"}'))
        assert requests.post(f"{served.url}/classify", b"no", timeout=30).status_code == 400
        assert canary_of(served.url)["comparisons"][0]["compared"] == 6
        assert metric(served.url, "answers_total") == {'{version="1"}': 3}


def test_versions_come_and_go_beside_a_canary_without_a_failed_request(brightness_model, tmp_path):
    """A push, a rollback (a higher number), a canary that comes late, and one that is removed."""
    push(brightness_model, tmp_path, 1)
    with serving(tmp_path, "--canary=5", "--canary-share=0.5", "--max-requests=64") as served:
        assert any("no version 5 can be loaded" in line for line in served.lines)
        assert canary_of(served.url)["loaded"] is False
        stop, seen = threading.Event(), []

        def poll(first: int) -> None:
            with requests.Session() as session:
                number = first
                while not stop.is_set():
                    number += 3
                    picture = encoded(number % 60)
                    answer = session.post(f"{served.url}/classify", picture, timeout=30)
                    seen.append((answer.status_code, answer.headers.get(HEADER)))

        def more() -> set[str]:
            at = len(seen)
            until(lambda: len(seen) > at + 40 or None)
            return {version for _, version in seen[at + 10 :]}

        with concurrent.futures.ThreadPoolExecutor(3) as clients:
            polling = [clients.submit(poll, number) for number in range(3)]
            try:
                assert more() == {"1"}
                push(brightness_model, tmp_path, 5, swapped=True)
                served.wait_for("version 5 is the canary")
                assert more() == {"1", "5"}
                push(brightness_model, tmp_path, 9)  # the highest of the others takes over
                served.wait_for("version 1 is unloaded")
                assert more() == {"9", "5"}
                shutil.rmtree(tmp_path / "5")
                served.wait_for("version 5 is unloaded")
                assert more() == {"9"}
            finally:
                stop.set()
        for one in polling:
            one.result()
        assert {status for status, _ in seen} == {200}
        assert {one["version"] for one in canary_of(served.url)["comparisons"]} == {1, 9}


def test_without_a_canary_its_route_says_so_and_its_options_are_refused(pushed, run_command):
    with serving(pushed) as served:
        answer = requests.get(f"{served.url}/canary", timeout=30)
        assert answer.status_code == 404 and "serve --canary" in answer.json()["error"]
        assert (
            requests.post(f"{served.url}/classify", encoded(1), timeout=30).headers[HEADER] == "2"
        )
    for options, said in (
        (["--shadow"], "--shadow has no canary. Give --canary VERSION."),
        (["--canary=2", "--canary-share=0"], "--canary-share=0 gives the canary nothing."),
    ):
        status, _, error = run_command("serve", *options, "--versions", pushed)
        assert status == 1 and said in error
