"""The page in a browser: a rating updates the list, all is accessible, and nothing leaves the origin."""

import json
import re
from contextlib import contextmanager

import pytest
from browser import chromium, serving

from numpy_neural_mf import NeuralMF, read_ratings, simulate_ratings
from numpy_neural_mf.serving import ServerSettings, create_app

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
HOSTILE = "<img src=x onerror=\"document.title='owned'\"> & 'Film' (1999)"
SIDE = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 320, "height": 800}},
    "Spanish": {"locale": "es-ES"},
}
# Elements that a user can operate: radio buttons are as large as their labels.
TARGETS = "a[href], button, select, summary, input:not([hidden])"


@pytest.fixture(scope="module")
def halves():
    """Ratings from 0.5 to 5 in halves."""
    whole = simulate_ratings(n_users=150, n_items=60, n_ratings=4_000)
    values = whole.values - 0.5 * (whole.items % 2)
    return read_ratings({"user": whole.raw_users, "item": whole.raw_items, "rating": values})


@pytest.fixture(scope="module")
def address(tmp_path_factory, halves):
    """Return the address of a service of two models; the title of the first starter is hostile."""
    folder = tmp_path_factory.mktemp("page")
    for name, layers in (("network", (4,)), ("factors", ())):
        model = NeuralMF(embedding_dim=4, hidden_layer_sizes=layers, epochs=4).fit(halves)
        model.save(folder / f"{name}.safetensors")
    titles = [[item, f"Film {item}, The (19{item:02})"] for item in halves.item_ids]
    titles[0][1] = HOSTILE
    rows = ["movieId,title", *('{},"{}"'.format(item, title.replace('"', '""')) for item, title in titles)]
    (folder / "movies.csv").write_text("\n".join(rows), "utf-8")
    about = {
        "data": "Films of nobody",
        "items": "films",
        "licence": "free of all",
        "citation": "Nobody, 2001",
    }
    (folder / "about.json").write_text(json.dumps(about))
    models = tuple(str(folder / f"{name}.safetensors") for name in ("network", "factors"))
    app = create_app(ServerSettings(models, titles=f"{folder}/movies.csv", about=f"{folder}/about.json"))
    with serving(app) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser, address):
    """Return a function that opens the page in a new profile; check for errors and requests elsewhere."""
    contexts, faults = [], []

    def visit(has_diversity=True, **options):
        def with_diversity(route):
            answer = route.fetch()
            found = answer.json()
            for model in found["models"]:
                model["has_diversity"] = has_diversity
            route.fulfill(response=answer, json=found)

        context = browser.new_context(**options)
        contexts.append(context)
        context.route("**/v1/models", with_diversity)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.on("request", lambda sent: sent.url.startswith((address, "blob:")) or faults.append(sent.url))
        with listed(page):
            page.goto(address)
        page.wait_for_selector("#offered li")
        return page

    visit.faults = faults
    yield visit
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def page(visit):
    return visit(locale="en-GB")


@contextmanager
def listed(page, model="network"):
    """Wait for the list that follows the actions inside the block."""
    with page.expect_response(
        lambda answer: answer.url.endswith("recommend") and answer.request.post_data_json["model"] == model
    ) as found:
        yield found
    found.value.finished()
    expect(page.locator("#lists")).to_have_attribute("aria-busy", "false")


def stars(page, at=0):
    """Return the radio buttons of one of the items to rate."""
    return page.locator("#offered li").nth(at).get_by_role("radio")


def rate(page, value, at=0):
    with listed(page) as found:
        page.locator("#offered li").nth(at).locator(f"input[value='{value}']").check(force=True)
    return found.value.json()


def suggested(page):
    return page.locator(".suggestion h4 .title").all_inner_texts()


def said(page):
    return page.locator("#status").inner_text().replace("\xa0", " ")


# What is rated, and the list


def test_a_rating_makes_a_list_with_stars_interval_and_reason(page):
    answer = rate(page, 5)
    best, first = answer["items"][0], page.locator(".suggestion").first
    assert len(suggested(page)) == len(answer["items"]) == 10
    assert first.locator(".number").inner_text() == f"{best['score']:.1f}"
    assert first.locator(".bounds").inner_text() == f"{best['low']:.1f} – {best['high']:.1f}"
    spoken = first.locator(".spoken").inner_text().replace("\xa0", " ")
    assert re.fullmatch(r"[\d.]+ stars?, probably from [\d.]+ to [\d.]+", spoken)
    assert said(page).startswith("10 films. First: “")
    title = page.locator("#offered .title").first.inner_text()
    reasons = page.locator(".reason").all_inner_texts()
    assert {reason for reason in reasons if reason != "Well liked by others"} == {
        f"Because you gave “{re.sub(r' [0-9]{4}$', '', title)}” 5\xa0stars"
    }


def test_stars_are_radio_buttons_in_halves_with_not_rated(page):
    labels = [one.get_attribute("aria-label") for one in stars(page).all()]
    assert labels[:4] == ["Not rated", "0.5\xa0stars", "1\xa0star", "1.5\xa0stars"]
    assert labels[-1] == "5\xa0stars"
    assert stars(page).first.is_checked()
    rate(page, "3.5")
    assert page.locator("#offered .value").first.inner_text() == "3.5"
    with listed(page) as found:
        stars(page).first.check(force=True)
    assert found.value.request.post_data_json["ratings"] == []


def test_the_amounts_behind_the_disclosure_add_up(page):
    rate(page, 4.5)
    why = page.get_by_role("button", name="Why").first
    assert why.get_attribute("aria-expanded") == "false"
    why.click()
    assert why.get_attribute("aria-expanded") == "true"
    parts = page.locator(".panel table").first.locator("td")
    parts.last.wait_for()
    *numbers, total = (float(text.replace("−", "-")) for text in parts.all_inner_texts())
    assert sum(numbers) == pytest.approx(total, abs=0.03)
    assert "What each of your ratings adds to it" in page.locator(".panel").first.inner_text()


def test_open_disclosures_stay_open_when_the_list_is_new(page):
    before = suggested(page)
    for why in page.get_by_role("button", name="Why").all():
        why.click()
    rate(page, 3)
    rows = page.locator(".suggestion", has=page.locator("[aria-expanded=true]"))
    kept = [name for name in suggested(page) if name in before]
    assert 0 < len(kept) < len(before)
    assert rows.locator("h4 .title").all_inner_texts() == kept


def test_similar_items_can_be_rated(page):
    page.get_by_role("button", name="Similar to").first.click()
    other = page.locator(".panel li").first
    name = other.locator(".title").inner_text()
    other.get_by_role("button").click()
    assert page.locator("#offered .title").first.inner_text() == name
    assert stars(page).first.evaluate("one => one === document.activeElement")


def test_a_hidden_item_is_gone_until_it_is_undone(page):
    before = suggested(page)
    with listed(page):
        page.get_by_role("button", name="Not this one").nth(1).click()
    assert before[1] not in suggested(page)
    assert len(suggested(page)) == 10
    assert "will not be suggested" in said(page)
    with listed(page):
        page.get_by_role("button", name="Undo").click()
    assert suggested(page) == before
    assert said(page).startswith("Undone.")
    assert page.locator("#undo").is_disabled()


def test_hidden_items_can_be_shown_again_after_a_reload(page):
    name = suggested(page)[0]
    with listed(page):
        page.get_by_role("button", name="Not this one").first.click()
    with listed(page):
        page.reload()
    assert name not in suggested(page)
    page.get_by_text("Not for you (1)").click()
    with listed(page):
        page.get_by_role("button", name="Show", exact=False).last.click()
    assert name in suggested(page)


def test_undo_takes_a_rating_back(page):
    rate(page, 4)
    rate(page, 2)
    with listed(page):
        page.get_by_role("button", name="Undo").click()
    assert page.locator("#offered .value").first.inner_text() == "4"
    with listed(page):
        page.get_by_role("button", name="Undo").click()
    assert stars(page).first.is_checked()


def test_ratings_stay_after_a_reload_and_are_not_offered_again(page):
    title = page.locator("#offered .title").first.inner_text()
    rate(page, 4)
    with listed(page) as found:
        page.reload()
    assert [one["rating"] for one in found.value.request.post_data_json["ratings"]] == [4]
    page.wait_for_selector("#offered li")
    assert title not in page.locator("#offered .title").all_inner_texts()
    page.get_by_text("Your ratings (1)").click()
    page.get_by_role("button", name="Change").click()
    assert page.locator("#offered .title").first.inner_text() == title
    assert stars(page).nth(8).is_checked()


def test_other_starters_are_shown_without_rated_items(page):
    first = page.locator("#offered .title").all_inner_texts()
    rate(page, 4)
    shown = set()
    for _ in range(20):
        page.get_by_role("button", name="Show me other films").click()
        shown |= set(page.locator("#offered .title").all_inner_texts())
    assert first[0] not in shown
    assert len(shown) == 59


def test_sliders_are_part_of_the_request(page):
    with listed(page) as found:
        page.get_by_role("slider", name="Rated at least").fill("6")
    assert found.value.request.post_data_json["min_ratings"] == 50
    assert page.locator("#popularity").get_attribute("aria-valuetext") == "50 times"
    page.route("**/recommend", lambda route: route.fulfill(json={"model": "network", "items": []}))
    with listed(page) as found:
        page.get_by_role("slider", name="Variety").fill("0.3")
    assert found.value.request.post_data_json["diversity"] == 0.3
    assert page.locator("#diversity").get_attribute("aria-valuetext") == "30%"
    assert said(page) == "No films are left: lower a slider."


def test_a_slider_that_no_model_supports_is_not_shown(visit):
    page = visit(has_diversity=False, locale="en-GB")
    assert page.get_by_role("slider").count() == 1
    with listed(page) as found:
        page.get_by_role("slider").fill("5")
    assert "diversity" not in found.value.request.post_data_json


def test_two_models_are_shown_side_by_side(page):
    with listed(page, "factors"):
        page.get_by_label("Compare with").select_option("factors")
    expect(page.locator("ol")).to_have_count(2)
    assert page.locator("#lists h3").all_inner_texts() == ["network", "factors"]
    first, second = (page.locator("ol").nth(at).bounding_box() for at in (0, 1))
    assert first["x"] + first["width"] <= second["x"]
    assert abs(first["y"] - second["y"]) < 1


# Search


def test_the_search_completes_and_the_keyboard_chooses(page):
    box = page.get_by_role("combobox", name="Look for a film")
    box.press_sequentially("film 1")
    page.wait_for_selector("[role=option]")
    box.press("ArrowDown")
    box.press("ArrowDown")
    marked = page.locator("[role=option][aria-selected=true]")
    assert box.get_attribute("aria-activedescendant") == marked.get_attribute("id") == "found-1"
    name = marked.inner_text()
    box.press("Enter")
    assert page.locator("#offered .title").first.inner_text() == name
    assert stars(page).first.evaluate("one => one === document.activeElement")
    assert box.get_attribute("aria-expanded") == "false"


def test_escape_closes_the_completions_and_keeps_the_text(page):
    box = page.get_by_role("combobox", name="Look for a film")
    box.press_sequentially("film")
    page.wait_for_selector("[role=option]")
    box.press("Escape")
    assert page.locator("[role=listbox]").is_hidden()
    assert box.input_value() == "film"


def test_the_number_of_films_found_is_announced(page):
    box = page.get_by_role("combobox", name="Look for a film")
    for text, expected in (("nothing has this name", "Nothing found"), ("film 59", "1 film found")):
        box.fill(text)
        expect(page.locator("#status")).to_have_text(expected)


# Files


def test_saved_ratings_can_be_opened_again(page, visit, tmp_path):
    rate(page, 4.5)
    rate(page, 1, at=1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save my ratings").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.read_text().startswith("item,rating,title\n")
    other = visit(locale="en-GB")
    with listed(other):
        with other.expect_file_chooser() as chooser:
            other.get_by_role("button", name="Open saved ratings").click()
        chooser.value.set_files(file)
    expect(other.locator("#status")).to_contain_text("2 ratings opened.")
    other.get_by_text("Your ratings (2)").click()
    assert set(other.locator("#rated .title").all_inner_texts()) == set(
        page.locator("#offered .title").all_inner_texts()[:2]
    )


def test_lines_that_the_model_cannot_use_are_skipped_and_counted(page, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text('item,rating,title\r\n3,4.5,"A, ""B"""\r\n4,9,x\r\n999,3,x\r\nabc,3,x\r\n5,,x\r\n')
    page.locator("#file").set_input_files(file)
    expect(page.locator("#status")).to_contain_text("1 rating opened. Left out: 4 lines")
    page.get_by_text("Your ratings (1)").click()
    assert page.locator("#rated .title").inner_text() == 'A, "B"'


def test_a_file_without_ratings_is_refused_with_a_message(page, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("a,b\n1,2\n")
    page.locator("#file").set_input_files(file)
    expect(page.locator("#status")).to_contain_text("This file has no ratings")
    assert page.locator("#rated").is_hidden()


# Languages and looks


def test_spanish_and_english_have_the_same_texts(page):
    names = page.evaluate("""async () => {
      const { textsOf } = await import("./page/texts.js");
      const texts = (language) => Object.entries(textsOf(language, "films", "stars"));
      return ["en", "es"].map((one) => texts(one).map(([key, text]) => key + typeof text));
    }""")
    assert names[0] == names[1]


def test_spanish_has_its_own_numbers_and_genders(visit):
    page = visit(locale="es-ES")
    assert page.locator("html").get_attribute("lang") == "es"
    assert page.title() == "Valora algunas películas"
    rate(page, 3.5)
    assert page.locator("#offered .value").first.inner_text() == "3,5"
    assert said(page).startswith("10 películas. Primera: «")
    assert re.fullmatch(r"\d,\d", page.locator(".number").first.inner_text())
    items = page.evaluate(
        "async () => (await import('./page/texts.js')).textsOf('es', 'items', 'stars').yours"
    )
    assert items == "¿Qué te parecen estos?"


def test_the_chosen_language_and_colours_persist(page):
    with listed(page):
        page.get_by_label("Language").select_option("es")
    page.get_by_label("Colores").select_option("dark")
    with listed(page):
        page.reload()
    assert page.locator("h1").inner_text() == "Valora algunas películas"
    red = page.evaluate("parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    assert red < 60


def test_the_data_have_their_licence_and_citation(page):
    footer = page.locator("footer").inner_text()
    assert "Films of nobody: 4,000 ratings by 150 people of 60 films." in footer
    assert "Licence of the data: free of all." in footer
    assert "Cite as: Nobody, 2001" in footer


# For everybody


def open_all(page):
    """Open everything that the page can show."""
    rate(page, 4)
    with listed(page):
        page.get_by_role("button", name=re.compile("^(Not this one|Esta no)")).last.click()
    with listed(page, "factors"):
        page.locator("#second").select_option("factors")
    expect(page.locator("ol")).to_have_count(2)
    for name in ("^(Why|¿Por qué)", "^(Similar to|Parecidas a)"):
        page.get_by_role("button", name=re.compile(name)).first.click()
    page.locator(".panel td").first.wait_for()
    page.locator(".panel li").first.wait_for()
    for summary in page.locator("summary").all():
        summary.click()
    page.get_by_role("combobox", name=re.compile("^(Look|Busca)")).fill("film")
    page.wait_for_selector("[role=option]")


@pytest.mark.parametrize("side", SIDE)
def test_axe_finds_nothing(visit, side):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(bypass_csp=True, **SIDE[side])  # axe evaluates a script
    found = axe.run(page).response
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    open_all(page)
    rules = {"rules": {"target-size": {"enabled": True}}}
    found = axe.run(page, options=rules).response
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    assert {"color-contrast", "target-size", "label"} <= {one["id"] for one in found["passes"]}


@pytest.mark.parametrize("language", ["en", "es"])
def test_nothing_is_cut_off_at_320_pixels(visit, language):
    page = visit(locale=language, viewport={"width": 320, "height": 800})
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_targets_have_24_pixels(visit):
    page = visit(**SIDE["narrow"])
    open_all(page)
    targets = page.locator(TARGETS)
    found = targets.evaluate_all("all => all.map(one => [one.outerHTML, one.getBoundingClientRect()])")
    shown = [(html, box) for html, box in found if box["width"] > 1]
    assert len(shown) > 80
    assert [html for html, box in shown if min(box["width"], box["height"]) < 24] == []


def test_one_live_region_is_polite(page):
    open_all(page)
    live = page.locator("[aria-live], [role=status], [role=alert], [role=log], output")
    assert [one.get_attribute("id") for one in live.all()] == ["status"]


def test_nothing_moves(visit):
    page = visit(reduced_motion="reduce")
    rate(page, 4)
    assert page.evaluate("document.getAnimations().length") == 0
    assert page.evaluate(
        "[...document.querySelectorAll('*')].every(one => getComputedStyle(one).transitionDuration === '0s')"
    )


def test_the_keyboard_operates_everything_and_the_focus_is_visible(page):
    def tab(n=1):
        for _ in range(n):
            page.keyboard.press("Tab")
        return page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent")

    assert tab() == "Go to the list"
    tab(3)
    assert page.evaluate("document.activeElement.id") == "search"
    assert tab() == "Not rated"
    with listed(page):
        page.keyboard.press("ArrowLeft")  # wraps around to the last
    assert stars(page).last.is_checked()
    ring = page.evaluate("getComputedStyle(document.activeElement.parentElement).outline")
    assert "solid 2px" in ring
    page.locator("#diversity").focus()
    tab(4)
    assert page.evaluate("document.activeElement.id") == "undo"
    assert tab().startswith("Why")
    page.keyboard.press("Enter")
    page.locator(".panel td").first.wait_for()
    assert tab(3).startswith("Not this one")
    with listed(page):
        page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("Not this one")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.ariaLabel") == "Not rated"


def test_the_way_to_the_list_is_short(page):
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "diversity"


# Safety


def test_titles_are_text_whatever_they_contain(page):
    box = page.get_by_role("combobox", name="Look for a film")
    box.fill("img onerror")
    page.locator("[role=option]").click()
    rate(page, 5)
    assert HOSTILE.removesuffix(" (1999)") in page.locator("#offered .title").first.inner_text()
    assert any(HOSTILE[:4] in reason for reason in page.locator(".reason").all_inner_texts())
    assert page.locator("main img").count() == 0
    assert page.title() == "Rate a few films"


def test_the_browser_runs_no_other_scripts(page, visit, address):
    policy = page.request.get(address).headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert page.evaluate("""() => {
      try { document.body.innerHTML = "<p>"; return false; } catch { return true; }
    }""")
    visit.faults.clear()  # the browser logs what it refused


def test_errors_are_announced(page, visit):
    problem = {"title": "Unprocessable", "status": 422, "detail": "n: expected less"}
    page.route("**/recommend", lambda route: route.fulfill(status=422, json=problem))
    page.locator("#offered input[value='4']").first.check(force=True)
    expect(page.locator("#status")).to_contain_text("n: expected less")
    visit.faults.clear()  # the browser logs the status


def test_a_late_answer_does_not_replace_a_newer_one(page):
    held = []
    page.route("**/recommend", lambda route: held.append(route), times=1)
    page.locator("#offered input[value='1']").first.check(force=True)
    answer = rate(page, 5)
    held[0].fulfill(json={"model": "network", "items": []})  # ignored: the request was cancelled
    page.get_by_role("button", name="Why").first.click()
    page.locator(".panel td").first.wait_for()  # a later response has arrived
    assert len(suggested(page)) == len(answer["items"])
    assert said(page).startswith("10 films")


def test_the_openapi_page_is_complete_without_another_server(visit):
    page, sent = visit(), []
    page.on("request", lambda request: sent.append(request.url))
    page.goto(page.url + "docs")
    page.get_by_text("/v1/recommend").wait_for()
    assert page.locator(".opblock").count() > 10
    assert all(url.startswith((page.url.removesuffix("docs"), "data:")) for url in sent)
