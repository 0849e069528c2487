"""The report in a real browser: no errors, controls that do what they say, accessible. Skipped without a Chromium."""

import os
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from helpers.report_runs import make_run
from playwright.sync_api import Page, sync_playwright

from pneumo_batch import report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
WIDE, NARROW = 1280, 400
A4 = 703  # pixels between the usual margins


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    root = tmp_path_factory.mktemp("browser")
    run = make_run(root, curves=True)
    report.build(run)
    return (root / "run" / "report" / "index.html").as_uri()


@pytest.fixture(scope="module")
def chromium():
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """Opens the page, and in the end holds it to having written no error and asked for nothing."""
    opened: list[Page] = []
    trouble: list[str] = []

    def visit(width: int = WIDE, fragment: str = "") -> Page:
        page = chromium.new_page(viewport={"width": width, "height": 900})
        opened.append(page)
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: trouble.append(request.url[:80]) if is_outside(request.url) else None)
        page.goto(address + fragment)
        return page

    def is_outside(url: str) -> bool:
        return not url.startswith("data:") and url.partition("#")[0] != address

    yield visit
    for page in opened:
        page.close()
    assert trouble == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_sticks_out_of_the_window(visit, width):
    page = visit(width)
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_axe_finds_no_barrier(visit, width):
    page = visit(width)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    found = Axe().run(page).response
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]] == []
    assert {"color-contrast", "image-alt", "heading-order"} <= {one["id"] for one in found["passes"]}


def test_the_answer_fits_the_first_screen(visit):
    page = visit(1400)
    answers = page.locator(".lead, [alt^='What two true models agree on'], [data-table='arms'], .finding")
    assert answers.count() == 5
    assert all(box["y"] + box["height"] <= 900 for box in (one.bounding_box() for one in answers.all()))
    assert page.evaluate("[...document.querySelectorAll('details')].some((fold) => fold.open)") is False


def test_a_phone_gets_the_first_figure_in_its_own_width(visit):
    drawn = "document.querySelector('picture img').currentSrc.length"
    scale = "((one) => one.getBoundingClientRect().width / one.naturalWidth)(document.querySelector('picture img'))"
    assert visit(NARROW).evaluate(drawn) != visit(WIDE).evaluate(drawn)
    assert visit(NARROW).evaluate(scale) > 0.9  # not shrunk: its words can be read


@pytest.mark.parametrize("width", [800, 1100, 1400])
def test_the_first_figure_is_not_shrunk_beside_its_words(visit, width):
    page = visit(width)
    picture = page.locator("picture img")
    assert picture.evaluate("(one) => one.getBoundingClientRect().width / one.naturalWidth") > 0.85
    table = page.locator("[data-table='arms'] .scroll")
    assert table.evaluate("(one) => one.scrollWidth <= one.clientWidth") is True


def test_paper_gets_what_is_folded(visit):
    page = visit()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('details')].every((fold) => fold.open)") is True


def test_nothing_is_cut_off_on_paper(visit):
    page = visit(A4)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    inside = "(all) => all.every((one) => one.getBoundingClientRect().right <= innerWidth + 1)"
    for name in ("img", "table", "pre"):
        assert page.locator(name).evaluate_all(inside) is True, name
    heights = "(all) => all.every((one) => one.scrollHeight <= one.clientHeight + 1)"
    assert page.locator(".scroll, .code").evaluate_all(heights) is True
    film = page.locator(".case .stack").first
    assert film.evaluate("(one) => getComputedStyle(one).printColorAdjust") == "exact"  # a film is a background


def test_tables_are_narrowed_down_and_opened_again(visit):
    page = visit()
    page.get_by_text("All similarities, and the test of every method").click()
    table = page.locator('[data-table="summary"]')
    shown = table.locator("tbody tr:visible")
    total = table.locator("tbody tr").count()
    assert shown.count() == 2 * 8  # methods x kinds, over all images, of the primary measure
    assert table.locator(".count").inner_text() == f"16 of {total} rows"
    table.get_by_label("method").select_option("grad_cam")
    assert shown.count() == 8
    for name in ("class name", "method", "view", "scale", "metric"):
        table.get_by_label(name).select_option("all rows")
    assert shown.count() == total


def test_arrows_step_through_the_images_and_v_switches_the_view(visit):
    page = visit()
    page.locator("#gallery").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('gallery').scrollIntoView()")
    assert page.locator(".case:visible").get_attribute("id") == "case-0"
    page.keyboard.press("ArrowRight")
    assert page.locator(".case:visible").get_attribute("id") == "case-1"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    last = page.locator(".case").count()
    assert page.locator("#place").inner_text() == f"{last} of {last}"
    layers = page.locator(".case:visible .layer:visible")
    assert "magnitude" in layers.first.get_attribute("class")
    page.keyboard.press("v")
    assert "signed" in layers.first.get_attribute("class")


def test_the_slider_fades_the_maps(visit):
    page = visit()
    layer = page.locator(".case:visible .layer:visible").first
    slider = page.get_by_label("Maps over the film")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert layer.evaluate("(map) => getComputedStyle(map).opacity") == "0.7"
    assert page.locator("#opacity-shown").inner_text() == "70 %"


def test_a_rule_and_a_class_filter_the_images(visit):
    page = visit()
    thumbs = page.locator(".thumb:visible")
    before = thumbs.count()
    page.get_by_label("Rule").select_option(index=2)
    rules = page.locator(".case").evaluate_all("(all) => all.map((one) => one.dataset.rules)")
    assert thumbs.count() == sum(" 1 " in rule for rule in rules) < before
    assert " 1 " in page.locator(".case:visible").get_attribute("data-rules")


def test_the_address_sets_image_view_and_opacity(visit):
    page = visit(fragment="#case=2&view=signed&opacity=40")
    assert page.locator(".case:visible").get_attribute("id") == "case-2"
    assert page.locator("#gallery").get_attribute("data-view") == "signed"
    assert page.locator("#opacity-shown").inner_text() == "40 %"


def test_the_keyboard_alone_reaches_the_verdict_and_shows_where_it_is(visit):
    page = visit()
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the verdict"
    assert focused.bounding_box()["x"] >= 0
    page.keyboard.press("Tab")
    assert focused.inner_text() == "Verdict"
    assert focused.evaluate("(link) => getComputedStyle(link).outlineStyle") == "solid"


def test_files_are_beside_the_page(address):
    names = {path.name for path in Path(address.removeprefix("file://")).parent.rglob("*") if path.is_file()}
    assert {"index.html", "counts.svg", "summary.csv", "examples_normal.png", "model_card_true_0.md"} <= names


def test_a_film_its_six_maps_and_their_difference_stand_in_one_row(visit):
    tops = (
        visit()
        .locator(".case:not([hidden]) .tiles")
        .first.locator(".tile")
        .evaluate_all("tiles => tiles.map(tile => tile.offsetTop)")
    )
    assert len(tops) == 1 + 6 + 1
    assert len(set(tops)) == 1
