// A row of radio buttons that looks like stars, or like numbers where the scale has no stars.
import { element, nameOf } from "./elements.js";

let groups = 0;

// Stars are steps that begin with a whole or a half one and are as far apart: 1 to 5, or 0.5 to 5.
export function perStar(steps) {
  const even = steps.every((step, i) => Math.abs(step - steps[0] * (i + 1)) < 1e-6);
  return even && steps.length <= 10 && { 1: 1, 0.5: 2 }[steps[0]];
}

// What can be chosen: the ratings that the model learned from, or eleven of a scale with many.
export function stepsOf({ rating_steps: steps, rating_scale: [low, high] }) {
  return steps.length ? steps : Array.from({ length: 11 }, (_, i) => low + (i * (high - low)) / 10);
}

export function stars(title, rating, steps, text, onRate) {
  const halves = perStar(steps);
  const group = element("div", { className: halves ? "stars" : "stars numbers", role: "radiogroup" });
  const name = `stars-${(groups += 1)}`;
  group.setAttribute("aria-label", text.rating(nameOf(title)));
  const cells = element("div", { className: "cells" });
  cells.style.setProperty("--cells", steps.length);
  cells.style.setProperty("--halves", halves || 1);
  const said = element("span", { className: "value", ariaHidden: "true" });
  const fill = (value) => {
    const at = value === undefined ? 0 : steps.indexOf(value) + 1;
    cells.style.setProperty("--filled", at / steps.length);
    said.textContent = value === undefined ? "" : text.number(value);
  };
  const cell = (value, label) => {
    const input = element("input", { type: "radio", name, checked: value === rating, value: value ?? "" });
    input.setAttribute("aria-label", label);
    input.addEventListener("change", () => {
      fill(value);
      onRate(value);
    });
    return element("label", { title: label }, input, element("span", { textContent: value === undefined ? "×" : text.number(value) }));
  };
  const none = cell(undefined, text.notRated);
  none.className = "none";
  cells.append(...steps.map((step) => cell(step, text.stars(step))));
  group.append(none, cells, said);
  fill(rating);
  return group;
}
