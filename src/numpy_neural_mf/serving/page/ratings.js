// What somebody rated and hid: kept in the browser, undone step by step, saved to a file and read from one.

const KEY = "numpy-neural-mf";

export class Ratings {
  constructor(onChange) {
    this.onChange = onChange;
    this.past = [];
    try {
      const kept = JSON.parse(localStorage.getItem(KEY)) ?? {};
      this.rated = new Map(kept.rated);
      this.hidden = new Map(kept.hidden);
    } catch {
      this.rated = new Map();
      this.hidden = new Map();
    }
  }

  change(how) {
    this.past.push([new Map(this.rated), new Map(this.hidden)]);
    how();
    this.keep();
  }

  keep() {
    try {
      localStorage.setItem(KEY, JSON.stringify({ rated: [...this.rated], hidden: [...this.hidden] }));
    } catch {
      // A browser without storage forgets the ratings when the page is closed.
    }
    this.onChange();
  }

  undo() {
    [this.rated, this.hidden] = this.past.pop();
    this.keep();
  }

  rate({ item, title }, rating) {
    this.change(() => (rating === undefined ? this.rated.delete(item) : this.rated.set(item, { title, rating })));
  }

  hide({ item, title }) {
    this.change(() => this.hidden.set(item, { title }));
  }

  show(item) {
    this.change(() => this.hidden.delete(item));
  }

  // As fold_in and its command take them.
  get list() {
    return Array.from(this.rated, ([item, { rating }]) => ({ item, rating }));
  }

  csv() {
    const rows = Array.from(this.rated, ([item, { title, rating }]) => [item, rating, title]);
    return [["item", "rating", "title"], ...rows].map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
  }
}

const quoted = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

// The rows of a CSV file as objects by the names in its first line.
export function parsed(text) {
  const rows = [[]];
  for (const [, whole, bare, end] of text.replace(/^\ufeff/, "").matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1).push(whole?.replaceAll('""', '"') ?? bare);
    if (end !== ",") rows.push([]);
  }
  const [names, ...lines] = rows;
  return lines.filter((line) => line.some(Boolean)).map((line) => Object.fromEntries(names.map((name, i) => [name.trim(), line[i]])));
}
