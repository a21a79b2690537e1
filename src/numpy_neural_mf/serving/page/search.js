// The search box: a combobox whose list follows the input (WAI-ARIA authoring practices, "combobox").
import * as api from "./api.js";
import { element, titled } from "./elements.js";

const SHOWN = 8;

export function search(input, list, onChoose, onFound, onError) {
  let found = [], at = -1, pending;

  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    at = -1;
  };
  const choose = (one) => {
    input.value = "";
    close();
    onChoose(one);
  };
  const mark = (next) => {
    at = next;
    list.querySelectorAll("[role=option]").forEach((option, i) => option.setAttribute("aria-selected", i === at));
    if (at < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", `found-${at}`);
    document.getElementById(`found-${at}`).scrollIntoView({ block: "nearest" });
  };
  const show = (answer) => {
    found = answer.items;
    list.replaceChildren(
      ...found.map((one, i) => {
        const option = titled("li", one.title);
        Object.assign(option, { id: `found-${i}`, role: "option", ariaSelected: "false" });
        option.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays
        option.addEventListener("click", () => choose(one));
        return option;
      }),
    );
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(found.length > 0));
    mark(-1);
    onFound(answer.total);
  };

  input.addEventListener("input", async () => {
    pending?.abort();
    if (!input.value.trim()) return close();
    pending = new AbortController();
    try {
      show(await api.items(input.value.trim(), SHOWN, pending.signal));
    } catch (error) {
      if (error.name !== "AbortError") onError(error);
    }
  });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") {
      if (!list.hidden) event.preventDefault(); // the text stays
      close();
    } else if (event.key === "Enter" && found.length && !list.hidden) {
      event.preventDefault();
      choose(found[Math.max(at, 0)]);
    } else if (step && !list.hidden) {
      event.preventDefault();
      mark((at + step + found.length + (at < 0 && step < 0 ? 1 : 0)) % found.length);
    }
  });
  input.addEventListener("blur", close);
}
