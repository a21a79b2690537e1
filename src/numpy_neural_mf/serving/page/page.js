// The page: what is rated goes to the service at once, and its lists are shown.
import * as api from "./api.js";
import { button, element, nameOf, titled } from "./elements.js";
import { focusIn, row } from "./list.js";
import { parsed, Ratings } from "./ratings.js";
import { search } from "./search.js";
import { stars, stepsOf } from "./stars.js";
import { textsOf } from "./texts.js";

const STARTERS = 6, KNOWN_STARTERS = 120, LISTED = 10, REASONS = 3, COVERAGE = 0.8;
const COUNTS = [0, 1, 2, 5, 10, 20, 50, 100, 200]; // of the slider for the number of ratings
const $ = (id) => document.getElementById(id);
const setting = (key, value) => {
  try {
    if (value !== undefined) localStorage.setItem(`numpy-neural-mf-${key}`, value);
    return localStorage.getItem(`numpy-neural-mf-${key}`);
  } catch {
    return value ?? null;
  }
};

let text, known, served, pending, starters = [], offered = [];
const open = new Set();
const mine = new Ratings(changed);

const say = (what) => ($("status").textContent = what);
const failed = (error) => error.name !== "AbortError" && say(text.failed(error.message));

function chosen() {
  const names = [$("model").value, $("second").value].filter(Boolean);
  return [...new Set(names)].map((name) => served.models.find((one) => one.name === name));
}

// Ask every chosen model for its list, and show them together.
async function refresh(first = "") {
  pending?.abort();
  pending = new AbortController();
  const asked = {
    ratings: mine.list, n: LISTED, exclude: [...mine.hidden.keys()], reasons: REASONS,
    min_ratings: COUNTS[$("popularity").value],
  };
  const of = (model) => ({
    ...asked, model: model.name,
    ...(model.has_intervals && { interval: COVERAGE }),
    ...(model.has_diversity && { diversity: Number($("diversity").value) }),
  });
  $("lists").ariaBusy = "true";
  try {
    show(await Promise.all(chosen().map((model) => api.recommend(of(model), pending.signal))), asked);
    const [best] = document.querySelectorAll(".suggestion");
    const top = best && { title: best.querySelector(".title").firstChild.data, score: Number(best.dataset.score) };
    say([first, text.updated(document.querySelector("ol")?.children.length ?? 0, top?.title, top?.score)].filter(Boolean).join(" "));
    $("lists").ariaBusy = "false";
  } catch (error) {
    failed(error);
  }
}

function show(answers, asked) {
  const lists = $("lists"), restore = focusIn(lists), models = chosen();
  const on = { rate: offer, drop, error: failed };
  lists.replaceChildren(
    ...answers.map((answer, i) => {
      const heading = element("h3", { textContent: models[i].name, className: models.length < 2 ? "spoken" : "" });
      const context = { model: models[i], text, open, asked, on };
      return element("section", {}, heading, element("ol", {}, ...answer.items.map((one) => row(one, context))));
    }),
  );
  lists.classList.toggle("two", models.length > 1);
  restore();
}

function drop(one) {
  said = text.hid(nameOf(one.title));
  mine.hide(one);
}

let said = "";
function changed() {
  $("undo").disabled = !mine.past.length;
  entries($("rated"), text.allRated, mine.rated, ({ title, rating }, item) => [
    titled("span", title), element("span", { className: "value", textContent: text.number(rating) }),
    button(text.change, text.changeOf(nameOf(title)), () => offer({ item, title }), { className: "quiet" })]);
  entries($("hidden"), text.allHidden, mine.hidden, ({ title }, item) => [
    titled("span", title), button(text.back, text.backOf(nameOf(title)), () => mine.show(item), { className: "quiet" })]);
  refresh(said);
  said = "";
}

function entries(details, summary, entries, cells) {
  details.hidden = !entries.size;
  details.firstElementChild.textContent = summary(entries.size);
  details.lastElementChild.replaceChildren(...Array.from(entries, ([item, one]) => element("li", {}, ...cells(one, item))));
}

const rateRow = (one) =>
  element("li", {}, titled("span", one.title),
    stars(one.title, mine.rated.get(one.item)?.rating, stepsOf(known), text, (rating) => mine.rate(one, rating)));

function draw() {
  $("offered").replaceChildren(...offered.map(rateRow));
}

// Put an item on top of those to rate, and the focus on its stars.
function offer(one) {
  offered = [one, ...offered.filter(({ item }) => item !== one.item)];
  draw();
  say(text.offered(nameOf(one.title)));
  $("offered").querySelector("input:checked").focus();
}

// The next starters that are neither rated nor hidden; after the last, the first again.
function others() {
  const isNew = ({ item }) => !mine.rated.has(item) && !mine.hidden.has(item);
  offered = starters.filter(isNew).slice(0, STARTERS);
  starters = [...starters.filter((one) => !offered.includes(one)), ...offered];
  draw();
}

function undo() {
  said = text.undone;
  mine.undo();
  draw();
  if ($("undo").disabled) $("list").focus();
}

function save() {
  const url = URL.createObjectURL(new Blob([mine.csv()], { type: "text/csv" }));
  element("a", { href: url, download: "my-ratings.csv" }).click();
  URL.revokeObjectURL(url);
}

async function read(file) {
  const rows = parsed(await file.text());
  $("file").value = "";
  if (!rows.length || !("item" in rows[0] && "rating" in rows[0])) return say(text.notRatings);
  const good = new Map(), [low, high] = known.rating_scale;
  for (const { item, rating, title } of rows) {
    const value = Number(rating || NaN), id = known.item_ids === "text" ? item : Number(item);
    if (value >= low && value <= high && !Number.isNaN(id)) good.set(id, { title: title || item, rating: value });
  }
  const ratings = Array.from(good, ([item, { rating }]) => ({ item, rating }));
  const { unknown = [] } = await api.recommend({ ratings, n: 1, model: known.name });
  unknown.forEach((item) => good.delete(item));
  said = text.opened(good.size, rows.length - good.size);
  mine.change(() => good.forEach((one, item) => mine.rated.set(item, one)));
  draw();
}

function sliders() {
  const least = COUNTS[$("popularity").value];
  $("diversity-value").textContent = text.percent(Number($("diversity").value));
  $("popularity-value").textContent = least ? text.times(least) : text.never;
  for (const id of ["diversity", "popularity"]) $(id).setAttribute("aria-valuetext", $(`${id}-value`).textContent);
}

// Everything that is in words, again in another language.
function speak(language) {
  const { lang } = Object.assign(document.documentElement, { lang: language });
  text = textsOf(lang, served.about.items, "stars");
  document.querySelectorAll("[data-text]").forEach((one) => (one.textContent = text[one.dataset.text]));
  document.title = text.heading;
  $("legend").textContent = served.models.some((one) => one.has_intervals) ? text.legend(COVERAGE) : "";
  $("second").options[0].textContent = text.none;
  const { data, licence, citation } = served.about;
  $("source").textContent = text.source({ data, ratings: known.n_ratings, users: known.n_users, items: known.n_items });
  $("licence").textContent = licence && text.licence(licence);
  $("citation").textContent = citation && text.citation(citation);
  sliders();
  draw();
  changed();
}

function listen() {
  $("language").addEventListener("change", () => speak(setting("language", $("language").value)));
  $("theme").addEventListener("change", () => (document.documentElement.dataset.theme = setting("theme", $("theme").value)));
  for (const id of ["diversity", "popularity"]) $(id).addEventListener("input", () => (sliders(), refresh()));
  for (const id of ["model", "second"]) $(id).addEventListener("change", () => refresh());
  $("others").addEventListener("click", others);
  $("undo").addEventListener("click", undo);
  $("export").addEventListener("click", save);
  $("import").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => read($("file").files[0]).catch(failed));
  search($("search"), $("found"), offer, (n) => say(text.found(n)), failed);
}

async function start() {
  document.documentElement.dataset.theme = $("theme").value = setting("theme") ?? "";
  $("language").value = setting("language") ?? (navigator.language.startsWith("es") ? "es" : "en");
  served = await api.models();
  served.models = served.models.filter((one) => one.rating_scale); // others predict no ratings
  known = served.models[0];
  const names = served.models.map(({ name }) => element("option", { textContent: name, value: name }));
  $("model").append(...names);
  $("second").append(element("option", { value: "" }), ...names.map((one) => one.cloneNode(true)));
  document.querySelectorAll(".models").forEach((one) => (one.hidden = names.length < 2));
  document.querySelector(".search").hidden = !known.has_titles;
  $("diversity").parentElement.hidden = !served.models.some((one) => one.has_diversity);
  speak($("language").value);
  listen();
  starters = await api.starters(KNOWN_STARTERS);
  others();
}

start().catch((error) => {
  text ??= textsOf($("language").value, "items", "stars");
  failed(error);
});
