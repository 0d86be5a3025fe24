"""The page of days: what its charts and its table hold, and that a browser draws it."""

import re

import pytest

from inception_finetune.components.timeline.charts import charts
from inception_finetune.components.timeline.days import Day, RunMade
from inception_finetune.components.timeline.page import ROWS, render

NAME = "<b>owls</b>"


def day(number: int, **changes) -> Day:
    quiet = {
        **{"span": f"2026-11-{number:02}", "pictures": 100 + number, "look": number - 1},
        **{"smallest_p": 0.2, "test": "contrast", "level": 1e-4, "alarms": "", "note": ""},
        **{"model": "17", "runs": False, "reason": "no drift, and nothing else asks for a run"},
        **{"verdict": "", "run": 0, "version": "", "accuracy": None, "why": ""},
    }
    return Day(**quiet | changes)


DAYS = [
    day(1, model="", runs=True, reason="no model is in service", verdict="pushed", run=1,
        version="17", accuracy=0.75),
    day(2),
    day(3, smallest_p=0.0, test=f"new class {NAME}", alarms=f"new class {NAME}", runs=True,
        reason=f"drift: new class {NAME} in 2026-11-03", verdict="refused", run=2, accuracy=0.6,
        why="accuracy 0.6000 is below 0.7"),
    day(4, note="features were not compared", runs=True, reason="400 new pictures"),
]  # fmt: skip
RUNS = [RunMade(1, "2026-11-01", 0.75, "17"), RunMade(2, "2026-11-03", 0.6, "")]


def layer(chart, place):
    """The values of a layer; of data that layers share, the chart's."""
    layer = chart["layer"][place]
    return layer.get("data", chart.get("data"))["values"]


def test_charts_have_each_look_its_level_and_what_it_triggered():
    found = charts(DAYS, RUNS)
    triggers, levels, points = (layer(found["drift"], place) for place in range(3))
    assert [row["span"] for row in triggers] == ["2026-11-01", "2026-11-03", "2026-11-04"]
    assert triggers[-1]["and then"] == "not ended"
    assert levels == points and [row["look"] for row in points] == [1, 2, 3]
    assert [row["found"] for row in points] == ["no alarm", "alarm", "no alarm"]
    assert [row["p"] for row in points] == [0.2, 1e-12, 0.2]  # none at minus infinity
    of_runs = layer(found["accuracy"], 1)
    assert [(row["run"], row["accuracy"], row["model"]) for row in of_runs] == [
        (1, 0.75, "pushed"),
        (2, 0.6, "not pushed"),
    ]
    assert [row["pictures"] for row in layer(found["pictures"], 0)] == [101, 102, 103, 104]


def test_charts_without_looks_and_runs_are_left_out():
    assert set(charts([day(1)], [])) == {"pictures"}
    assert set(charts([day(1), day(2)], [RunMade(1, "2026-11-01", None, "")])) == {
        "pictures",
        "drift",
    }


def test_runs_of_before_the_days_give_no_empty_chart():
    assert "accuracy" not in charts(DAYS[1:2], RUNS)
    assert len(layer(charts(DAYS[2:], RUNS)["accuracy"], 1)) == 1


def test_the_table_says_what_was_decided_the_newest_first():
    page = render("birds", DAYS, RUNS, "the golden set")
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    assert re.findall(r'scope="row">([^<]+)', table) == [one.span for one in reversed(DAYS)]
    text = " ".join(re.sub("<[^>]+>", " ", table).split())
    assert "104 3 0.2 contrast 1.0e-04 run : 400 new pictures features were not compared" in text
    assert "refused run 2 accuracy 0.6000 is below 0.7 0.6000" in text
    assert "101 – – – run : no model is in service pushed run 1, version 17 0.7500" in text
    assert NAME not in page.replace("\\u003c", "<").partition("<script>")[0]
    assert "&lt;b&gt;owls&lt;/b&gt;" in table


def test_a_long_life_is_cut():
    days = [day(number, span=f"s{number}") for number in range(ROWS + 12)]
    page = render("birds", days, [], "the golden set")
    assert page.count('scope="row"') == ROWS and "and 12 older spans" in page


@pytest.mark.review
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 380])
def test_a_browser_draws_it(browser, tmp_path, scheme, width):
    target = tmp_path / "timeline.html"
    target.write_text(render("birds", DAYS, RUNS, "the golden set"), "utf-8")
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    problems, requests = [], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(target.as_uri())
    page.wait_for_function("document.querySelectorAll('[data-chart] svg').length === 3")
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("tbody tr").count() == len(DAYS)
    page.close()
