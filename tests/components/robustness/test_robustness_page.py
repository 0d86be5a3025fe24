"""The page of robustness in a real browser: both colour schemes, narrow and wide."""

import numpy as np
import pytest

from inception_finetune.components.robustness import page as robustness_page
from inception_finetune.components.robustness.measure import LabelledPicture, measure

pytestmark = pytest.mark.review


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    pictures = [LabelledPicture(f"made:{number}", picture, number % 2) for number in range(4)]
    places = {"name": "made", "model": "m" * 90, "other": "o" * 90, "not_compared": None}
    found = measure(
        pictures,
        [lambda encoded: np.zeros(len(encoded), int), lambda encoded: np.arange(len(encoded)) % 2],
        places,
        seed=0,
        advance=lambda n, note="": None,
    )
    target = tmp_path_factory.mktemp("page") / "robustness.html"
    target.write_text(robustness_page.render(found, pictures[0], "cat"))
    return target


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 360)])
def test_everything_fits_and_nothing_is_asked_for(browser, written, scheme, width):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{written}")
    assert page.inner_text("#mean") == "50.0 %" and page.inner_text("#change") == "-50.0"
    assert page.locator("#cells img").count() == 46
    widths = page.locator("#cells img").evaluate_all("all => all.map((one) => one.naturalWidth)")
    assert set(widths) == {32} and said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()
