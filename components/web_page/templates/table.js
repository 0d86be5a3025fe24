"use strict";
/* A table that may have many rows: sorted by its headings, filtered by names, some rows at a time.
   A column: title, value(row), show(value), and perhaps kind: "name", "number", "bar" or "button". */
const ROWS = 50;

function makeTable(place, columns, rows, { sorted = -1, falling = false, press } = {}) {
  const make = (name, properties = {}) => Object.assign(document.createElement(name), properties);
  const number = new Intl.NumberFormat("en");
  const filter = make("input", { type: "search", placeholder: "part of a name" });
  const label = make("label", { className: "filter", hidden: rows.length <= ROWS });
  label.append("Filter ", filter);
  const wide = make("div", { className: "wide" });
  const table = make("table");
  const head = table.createTHead().insertRow();
  const body = table.createTBody();
  const count = make("span", { className: "soft" });
  const more = make("button", { type: "button", textContent: "Show more" });
  const foot = make("p", { hidden: rows.length <= ROWS });
  foot.append(count, " ", more);
  let shown = ROWS;

  columns.forEach((column, index) => {
    const heading = make("th", { className: column.kind === "name" ? "" : "n" });
    const button = make("button", { type: "button", textContent: column.title });
    button.addEventListener("click", () => {
      falling = sorted === index ? !falling : column.kind !== "name";
      sorted = index;
      draw();
    });
    heading.append(button);
    head.append(heading);
  });

  function cell(column, row) {
    const value = column.value(row);
    const place = make(column.kind === "name" ? "th" : "td");
    if (column.kind !== "name") place.className = `n ${column.tone?.(value) ?? ""}`;
    if (column.kind === "bar") {
      place.classList.add("bar");
      place.style.setProperty("--share", value ?? 0);
    }
    const text = column.show ? column.show(value) : column.kind === "name" ? value : number.format(value);
    if (column.kind === "button") {
      const button = make("button", { type: "button", textContent: text });
      button.addEventListener("click", () => press(row));
      place.append(button);
    } else place.textContent = text;
    return place;
  }

  function draw() {
    const part = filter.value.toLowerCase();
    const names = columns.filter((column) => column.kind === "name");
    const chosen = rows.filter((row) => names.some((name) => name.value(row).toLowerCase().includes(part)));
    if (sorted >= 0) {
      const { value, kind } = columns[sorted];
      if (kind === "name") chosen.sort((a, b) => value(a).localeCompare(value(b)));
      else chosen.sort((a, b) => (value(a) ?? Infinity) - (value(b) ?? Infinity));
      if (falling) chosen.reverse();
    }
    head.querySelectorAll("th").forEach((heading, index) => {
      heading.setAttribute("aria-sort", index !== sorted ? "none" : falling ? "descending" : "ascending");
    });
    body.replaceChildren(...chosen.slice(0, shown).map((row) => {
      const line = make("tr");
      line.append(...columns.map((column) => cell(column, row)));
      return line;
    }));
    count.textContent = `${number.format(Math.min(shown, chosen.length))} of ${number.format(chosen.length)} rows.`;
    more.hidden = chosen.length <= shown;
  }

  filter.addEventListener("input", () => { shown = ROWS; draw(); });
  more.addEventListener("click", () => { shown *= 4; draw(); });
  wide.append(table);
  place.append(label, wide, foot);
  draw();
}
