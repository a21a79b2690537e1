"""The page of a running service: milliseconds from a rating to the list, and pictures of the page.

    numpy-neural-mf demo
    python -m benchmarks.page http://127.0.0.1:8000 --pictures docs/page

Needs Playwright's Python package and a Chromium of the system. Each rating is a click on a star; its time
ends when the list has been replaced, before the browser draws it.
"""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.harness import Parser, Results

WIDE = {"width": 1120, "height": 1120}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": WIDE, "locale": "en"},
    "dark": {"viewport": WIDE, "locale": "en", "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 320, "height": 900}, "locale": "en"},
    "spanish": {"viewport": WIDE, "locale": "es"},
    "two-models": {"viewport": WIDE, "locale": "en"},
}
# Ratings of the starters, as shares of the scale; the first is the highest rating.
GIVEN = (1.0, 0.2, 0.7)
# Milliseconds from a click on a star to the list.
CLICK = """async (input) => {
  const lists = document.getElementById("lists");
  const made = new Promise((done) => new MutationObserver(done).observe(lists, { childList: true }));
  const begun = performance.now();
  input.click();
  await made;
  return performance.now() - begun;
}"""


def opened(browser: Any, address: str, **look: Any) -> Any:
    """Open the page with its starters."""
    page = browser.new_context(**look).new_page()
    page.goto(address)
    page.locator("#offered li").first.wait_for()
    page.locator(".suggestion").first.wait_for()
    return page


def rated(page: Any, at: int, share: float) -> float:
    """Rate a starter, differently from before; return the milliseconds until the list is new."""
    choices = page.locator("#offered li").nth(at).get_by_role("radio")
    chosen = choices.nth(max(1, round(share * (choices.count() - 1))))
    if chosen.is_checked():
        chosen = choices.first  # not rated
    return float(chosen.evaluate(CLICK))


def measured(browser: Any, given: Any, results: Results) -> None:
    """Measure ratings one after another, for each model."""
    rng = np.random.default_rng(0)
    page = opened(browser, given.address)
    for model in page.locator("#model option").all_inner_texts():
        page.select_option("#model", model)
        rated(page, 0, 0.5)
        times = [rated(page, int(rng.integers(6)), share) for share in rng.random(given.ratings)]
        median, slow = np.percentile(times, (50, 95))
        results.add(
            "from a rating to the list", model=model, median_ms=median, p95_ms=slow, most_ms=max(times)
        )


def picture(browser: Any, address: str, look: str, folder: Path) -> None:
    """Take a picture of some ratings and their list with the first reason open."""
    from PIL import Image

    page = opened(browser, address, **LOOKS[look])
    for at, share in enumerate(GIVEN):
        rated(page, at, share)
    if look == "two-models":
        page.locator("#second").select_option(index=2)
        page.locator("ol").nth(1).wait_for()
    else:
        page.locator(".suggestion button").first.click()
        page.locator(".panel td").first.wait_for()
    if look == "narrow":
        page.locator("#list").scroll_into_view_if_needed()
        page.locator("#legend").evaluate("one => one.scrollIntoView()")
    page.mouse.move(0, 0)
    image = Image.open(io.BytesIO(page.screenshot()))
    folder.mkdir(parents=True, exist_ok=True)
    image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(folder / f"{look}.png", optimize=True)


def main() -> None:
    """Measure, and take pictures on request."""
    parser = Parser(__doc__, ratings=3)
    parser.add_argument("address", help="of the service")
    parser.add_argument("--pictures", type=Path, help="folder for pictures, by default none are made")
    parser.add_options(ratings=40)
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    results = Results("page", given)
    with sync_playwright() as started:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        measured(browser, given, results)
        for look in LOOKS if given.pictures else ():
            picture(browser, given.address, look, given.pictures)


if __name__ == "__main__":
    main()
