"""The review page in a real browser: both colour schemes, narrow and wide, cells clicked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.reports import dense, earliest
from inception_finetune.components.model_report.facts import Facts

pytestmark = [pytest.mark.review, pytest.mark.e2e]


@pytest.fixture(scope="module")
def report(smallest_config, first_run) -> Path:
    return earliest(smallest_config, "ModelReport", "model_report")


@pytest.fixture(scope="module")
def facts(report) -> Facts:
    return Facts.model_validate_json((report / "facts.json").read_text())


@pytest.fixture(params=[("light", 1400), ("dark", 360), ("light", 360), ("dark", 1400)])
def page(request, browser, report) -> Iterator:
    """The page, opened; at the end nothing was logged, asked for or out of the window."""
    scheme, width = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{report}/report.html")
    page.wait_for_selector("[data-chart=labels] svg")
    yield page
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()


def test_the_page_says_what_the_facts_say(page, facts):
    assert page.inner_text("#verdict") == "Blessed"
    assert page.inner_text("#accuracy") == f"{100 * facts.accuracy.value:.2f} %"
    assert page.inner_text("#ece") == f"{facts.calibration.expected_error:.4f}"
    rows = page.locator("#classes tbody tr")
    assert rows.count() == 10
    recall = rows.nth(4).locator("td").nth(4).inner_text()
    assert recall == f"{facts.classes[4].recall:.4f}"
    cells = page.locator("#matrix button").all_inner_texts()
    assert [int(text) for text in cells] == dense(facts).flatten().tolist()


def test_a_cell_shows_its_images_with_all_probabilities(page, facts):
    truth, said = next(
        (row, column)
        for row in range(10)
        for column in range(10)
        if row != column and dense(facts)[row][column]
    )
    page.click(f"[data-cell='{truth},{said}']")
    title = page.inner_text("#cell-title")
    names = facts.label_names
    assert title.startswith(f"{names[truth]} taken for {names[said]}: {dense(facts)[truth][said]}")
    shown = page.locator("#cell-pictures img:not(.map)")
    assert shown.count() == min(12, dense(facts)[truth][said])
    widths = shown.evaluate_all("images => images.map((image) => image.naturalWidth)")
    assert set(widths) == {32}
    page.locator("#cell-pictures summary").first.click()
    page.wait_for_selector("#cell-pictures li")
    shares = page.locator("#cell-pictures figure").first.locator("li span:nth-child(2)")
    assert sum(float(text.split()[0]) for text in shares.all_inner_texts()) == pytest.approx(
        100, abs=0.6
    )
    assert page.locator("#cell-pictures li.truth").first.inner_text().startswith(names[truth])


def test_rates_are_shares_of_the_rows(page, facts):
    page.check("[name=unit][value=rates]")
    cell = page.locator("[data-cell='3,3']")
    assert int(cell.inner_text()) == round(100 * dense(facts)[3][3] / sum(dense(facts)[3]))


def test_charts_follow_the_colour_scheme(page):
    def colour() -> str:
        return page.locator("[data-chart=calibration] svg text").first.get_attribute("fill")

    before = colour()
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    page.emulate_media(color_scheme="light" if dark else "dark")
    page.wait_for_function(
        "before => document.querySelector('[data-chart=calibration] svg text')"
        "?.getAttribute('fill') !== before",
        arg=before,
    )
    assert colour() != before


def test_maps_lie_over_mistakes_where_they_are_asked_for(page, facts):
    over = page.locator("#mistake-pictures img.map")
    assert over.count() == page.locator("#mistake-pictures figure").count() > 0
    assert not over.first.is_visible() and page.locator("#doubt-pictures .map").count() == 0
    page.locator("#mistakes .map-switch input").check()
    assert page.locator("#cell .map-switch input").is_checked()
    page.wait_for_function("document.querySelector('#mistake-pictures img.map').style.width")
    picture = page.locator("#mistake-pictures img:not(.map)").first.bounding_box()
    found = over.first.bounding_box()
    margin = (1 - facts.lineage.config["image"]["central_crop"]) / 2
    for place, length in (("x", "width"), ("y", "height")):
        start, side = picture[place] + margin * picture[length], (1 - 2 * margin) * picture[length]
        assert (found[place], found[length]) == pytest.approx((start, side), abs=1)
    caption = page.locator("#mistake-pictures figcaption").first.inner_text()
    predicted = caption.split("taken for ")[1].split(",")[0]
    assert f"what speaks for {predicted}" in caption
