"""The page at `/` in a real browser: both colour schemes, narrow and wide."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from helpers.served import serving

pytestmark = pytest.mark.review


@pytest.fixture(scope="module")
def server(brightness_model, tmp_path_factory) -> Iterator:
    folder = tmp_path_factory.mktemp("serving")
    shutil.copytree(brightness_model, folder / "3")
    with serving(folder) as served:
        yield served


@pytest.fixture(scope="module")
def canary_server(brightness_model, tmp_path_factory) -> Iterator:
    """Its canary calls dark pictures light."""
    folder = tmp_path_factory.mktemp("canary")
    for number in ("1795870649", "1795870843"):
        shutil.copytree(brightness_model, folder / number)
    labels = folder / "1795870843/assets.extra/labels.txt"
    labels.write_text(labels.read_text().replace(":dark", ":" + "<i>light" * 4))
    with serving(folder, "--canary=1795870843", "--canary-share=1") as served:
        served.wait_for("version 1795870843 is the canary")
        yield served


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    Image.new("RGB", (640, 480), (20, 30, 90)).save(folder / "night.jpg")
    Image.new("RGB", (32, 32), (250, 250, 250)).save(folder / "snow <b>.png")
    (folder / "notes.png").write_bytes(b"no picture")
    return [folder / name for name in ("night.jpg", "snow <b>.png", "notes.png")]


@pytest.fixture(params=[("light", 1200), ("dark", 360), ("light", 360), ("dark", 1200)])
def page(request, browser, server) -> Iterator:
    """The page, opened; at the end nothing was asked of others, and nothing is out of the window.

    With SCREENSHOTS=FOLDER it is drawn as it was left.
    """
    scheme, width = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    yield page
    assert [line for line in said if "400 (Bad Request)" not in line] == []
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} <= {
        f"{server.url}/",
        f"{server.url}/classify",
    }
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if folder := os.environ.get("SCREENSHOTS"):
        name = f"{request.node.originalname}-{scheme}-{width}.png"
        page.screenshot(path=Path(folder, name), full_page=True)
    page.close()


def shown(page) -> list[tuple[str, str]]:
    expect(page.locator(".waits")).to_have_count(0)  # by no script, which the policy refuses
    cards = page.locator("article").all()
    return [(card.locator(".file").inner_text(), card.locator("h2").inner_text()) for card in cards]


def test_chosen_pictures_are_answered_in_order(page, pictures):
    page.set_input_files("#files", pictures)
    assert shown(page) == [
        (
            "notes.png",
            "Not read: a picture must be a whole PNG or JPEG of at most 67,108,864 pixels, with "
            "few scans and texts",
        ),
        ("snow <b>.png", "[red]"),
        ("night.jpg", "dark"),
    ]
    card = page.locator("article").nth(2)
    labels = card.locator("li span:first-child").all_inner_texts()
    texts = card.locator(".share").all_inner_texts()
    shares = [float(text.removesuffix(" %").removeprefix("< ")) for text in texts]
    assert labels == ["dark", "[/]", "[red]"]
    assert sum(shares) == pytest.approx(100, abs=0.2) and shares == sorted(shares, reverse=True)
    widths = card.locator(".bar i").evaluate_all("bars => bars.map((bar) => bar.offsetWidth)")
    full = card.locator(".bar").first.evaluate("bar => bar.offsetWidth")
    assert [width / full for width in widths] == pytest.approx([s / 100 for s in shares], abs=0.02)
    assert card.locator("img").evaluate("image => image.naturalWidth") == 640
    assert page.locator("article").nth(0).locator("img").is_hidden()
    assert card.locator(".version").inner_text() == "digits, version 3"
    assert (
        "Unlike the pictures of the training" in card.locator(".notes").inner_text()
    )  # it is blue
    assert page.locator("article").nth(1).locator(".notes").is_hidden()


def test_a_doubtful_picture_gets_the_names_that_it_may_have(page, tmp_path):
    Image.new("RGB", (32, 32), (127, 128, 127)).save(tmp_path / "grey.png")
    page.set_input_files("#files", tmp_path / "grey.png")
    page.wait_for_selector("article")
    assert len(shown(page)) == 1
    said = page.locator(".notes").inner_text()
    assert said == "Not sure: one of [red], [/], dark."


def test_a_dropped_picture_is_answered(page):
    page.evaluate("""async () => {
        const canvas = document.createElement("canvas");
        const blob = await new Promise((done) => canvas.toBlob(done));
        const data = new DataTransfer();
        data.items.add(new File([blob], "dropped.png", { type: "image/png" }));
        document.getElementById("drop").dispatchEvent(
            new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        );
    }""")
    page.wait_for_selector("article")
    assert shown(page) == [("dropped.png", "[red]")]  # transparent pixels are white


def test_what_is_counted_of_a_canary_is_shown(browser, canary_server, tmp_path):
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(canary_server.url)
    section = page.locator("#canary")
    assert section.locator("h2").inner_text() == "Canary: version 1795870843"
    expect(section.locator("p").first).to_contain_text("It answers 100 % of the requests.")
    expect(section.locator("#comparisons")).to_have_text("No picture was compared yet.")
    for place, shade in enumerate((20, 30, 128)):
        Image.new("RGB", (40, 30), (shade, shade, shade)).save(tmp_path / f"{place}.png")
        page.set_input_files("#files", tmp_path / f"{place}.png")
        expect(section.locator("#comparisons p")).to_contain_text(f"of {place + 1} pictures")
    expect(section.locator("#comparisons p")).to_have_text(
        "Another class than version 1795870649 for 2 of 3 pictures (66.7 %)"
    )
    heads = section.locator("th").all_inner_texts()
    assert heads == ["version 1795870649", "version 1795870843", "pictures"]
    assert section.locator("td").all_inner_texts() == ["dark", "<i>light" * 4, "2"]
    for scheme, width in (("light", 1200), ("dark", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=Path(folder, f"canary-{scheme}-{width}.png"), full_page=True)
    assert said == []
    page.close()


def test_a_server_without_a_canary_shows_none(page):
    assert page.locator("#canary").count() == 0


def test_nothing_but_its_own_script_runs(browser, server):
    page = browser.new_page()
    page.goto(server.url)
    blocked: list[str] = []
    page.on("console", lambda message: blocked.append(message.text))
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.hijacked = true";
        document.body.append(script);
        return fetch("http://127.0.0.1:9/").catch(() => null);
    }""")
    assert page.evaluate("window.hijacked") is None
    assert "script-src" in blocked[0] and "connect-src" in blocked[1]
    page.close()
