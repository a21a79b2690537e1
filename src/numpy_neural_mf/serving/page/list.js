// One list of suggestions: each with its interval, the reason, and what can be done with it.
import * as api from "./api.js";
import { button, element, named, nameOf, titled } from "./elements.js";

const SIMILAR = 5;
const REASONS = 8;

// The prediction as a dot and its interval as a bar, on the scale of the ratings.
function range(one, [low, high]) {
  const graph = element("div", { className: "range", ariaHidden: "true" });
  const share = (value) => (Math.min(Math.max(value, low), high) - low) / (high - low);
  graph.style.setProperty("--at", share(one.score));
  graph.style.setProperty("--low", share(one.low ?? one.score));
  graph.style.setProperty("--high", share(one.high ?? one.score));
  graph.append(element("i"), element("b"));
  return graph;
}

function table(caption, rows, text) {
  const signed = (value) => (value < 0 ? "−" : "+") + text.fixed(Math.abs(value), 2);
  const body = rows.map(([name, value, kind = ""]) =>
    element("tr", { className: kind },
      element("th", { scope: "row", textContent: name }),
      element("td", { textContent: kind ? text.fixed(value, 2) : signed(value) })));
  return element("table", {}, element("caption", { textContent: caption }), element("tbody", {}, ...body));
}

function amounts(found, text) {
  const parts = [[text.mean, found.mean, "first"], [text.userBias, found.user_bias], [text.itemBias, found.item_bias],
    [text.interaction, found.interaction], [text.clipped, found.clipped]];
  const shown = parts.filter(([, value], i) => i === 0 || Math.abs(value) >= 0.005);
  const made = [table(text.parts, [...shown, [text.prediction, found.prediction, "total"]], text)];
  if (!found.reasons.length) return [...made, element("p", { className: "note", textContent: text.noReasons })];
  const given = found.reasons.map((one) => [text.rated(nameOf(one.title), one.rating), one.weight]);
  if (found.others) given.push([text.otherRatings, found.others]);
  return [...made, table(text.reasons, [...given, [text.rest, found.rest]], text)];
}

function alike(found, text, onRate) {
  if (!found.length) return [element("p", { className: "note", textContent: text.noSimilar })];
  const rows = found.map((one) =>
    element("li", {}, titled("span", one.title), button(text.rate, text.rateOf(nameOf(one.title)), () => onRate(one), { className: "quiet" })));
  return [element("ul", { className: "plain compact" }, ...rows)];
}

let panels = 0;

// A button that shows or hides a panel, which is filled when it is first shown; `open` keeps what is shown.
function disclosure(label, spoken, key, open, fill, onError) {
  const panel = element("div", { className: "panel", hidden: true, id: `panel-${(panels += 1)}` });
  const toggle = button(label, spoken, () => set(panel.hidden), { className: "quiet" });
  toggle.setAttribute("aria-controls", panel.id);
  const set = (shown) => {
    panel.hidden = !shown;
    toggle.setAttribute("aria-expanded", String(shown));
    open[shown ? "add" : "delete"](key);
    if (shown && !panel.childElementCount) fill().then((made) => panel.replaceChildren(...made), onError);
  };
  set(open.has(key));
  return [toggle, panel];
}

export function row(one, { model, text, open, asked, on }) {
  const name = nameOf(one.title);
  const [why, parts] = disclosure(text.why, text.whyOf(name), `why ${model.name} ${one.item}`, open,
    async () => amounts(await api.explain({ ratings: asked.ratings, item: one.item, model: model.name, n: REASONS }), text), on.error);
  const [like, others] = disclosure(text.similar, text.similarOf(name), `like ${model.name} ${one.item}`, open,
    async () => alike(await api.similar({ item: one.item, n: SIMILAR, min_ratings: asked.min_ratings, model: model.name }), text, on.rate), on.error);
  const reason = one.reasons.find(({ weight }) => weight > 0.005);
  const said = text.predicted(one.score, one.low, one.high);
  const made = element("li", { className: "suggestion" },
    element("h4", {}, titled("span", one.title)),
    element("p", { className: "score", title: said },
      element("span", { ariaHidden: "true", className: "number", textContent: text.fixed(one.score) }),
      element("span", { className: "spoken", textContent: said })),
    range(one, model.rating_scale),
    one.low === undefined ? "" : element("p", { className: "bounds", ariaHidden: "true", textContent: text.bounds(one.low, one.high) }),
    element("p", { className: "reason", textContent: reason ? text.because(nameOf(reason.title), reason.rating) : text.liked }),
    element("div", { className: "actions" }, why, like,
      button(text.rate, text.rateOf(name), () => on.rate(one), { className: "quiet" }),
      button(text.drop, text.dropOf(name), () => on.drop(one), { className: "quiet" })),
    parts, others);
  Object.assign(made.dataset, { item: one.item, score: one.score });
  return made;
}

// Where the focus was, so that it can be put back into a list that has been made again.
export function focusIn(list) {
  const from = document.activeElement, at = from?.closest?.(".suggestion");
  if (!at || !list.contains(at)) return () => {};
  const buttons = (one) => [...one.querySelectorAll("button")];
  const row = [...list.querySelectorAll(".suggestion")].indexOf(at), column = buttons(at).indexOf(from);
  const { item } = at.dataset;
  return () => {
    const rows = [...list.querySelectorAll(".suggestion")];
    const next = rows.find((one) => one.dataset.item === item) ?? rows[Math.min(row, rows.length - 1)];
    (next ? buttons(next)[column] ?? buttons(next)[0] : document.getElementById("list")).focus();
  };
}
