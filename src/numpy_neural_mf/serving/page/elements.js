// Elements made with textContent: whatever is data stays text.

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function button(text, label, onClick, properties = {}) {
  const made = element("button", { type: "button", textContent: text, ...properties });
  made.setAttribute("aria-label", label);
  made.addEventListener("click", onClick);
  return made;
}

// "Matrix, The (1999)" as people say it, and its year.
export function named(title) {
  const [, name, year = ""] = /^(.*?)(?:\s*\((\d{4})\))?\s*$/s.exec(title);
  return [name.replace(/^(.*), (The|An?|Les?|La|Las|Los|El|Il|Der|Die|Das)(?= \(|$)/, "$2 $1"), year];
}

export const nameOf = (title) => named(title)[0];

export function titled(tag, title) {
  const [name, year] = named(title);
  const made = element(tag, { className: "title" }, name);
  if (year) made.append(" ", element("span", { className: "year", textContent: year }));
  return made;
}
