"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function picture(index) {
  const shown = facts.pictures[index];
  const figure = document.getElementById("picture").content.cloneNode(true).firstElementChild;
  const image = figure.querySelector("img");
  image.classList.toggle("small", shown.source.startsWith("data:image/png"));
  image.src = shown.source;
  image.alt = `test image ${shown.id}`;
  const caption = figure.querySelector("figcaption");
  const right = shown.truth === shown.predicted;
  caption.textContent = right
    ? `${facts.labels[shown.truth]}, ${percent(shown.shares[0][1])}`
    : `${facts.labels[shown.truth]}, taken for ${facts.labels[shown.predicted]}, ${percent(shown.shares[0][1])}`;
  caption.append(Object.assign(document.createElement("small"), { textContent: shown.id }));
  if (shown.map) explain(figure, image, caption, shown);
  figure.querySelector("details").addEventListener("toggle", (event) => {
    const list = event.target.querySelector("ol");
    if (event.target.open && !list.childElementCount) list.append(...shares(shown));
  });
  return figure;
}

function explain(figure, image, caption, { map }) {
  const words = map.source ? `what speaks for ${map.class}` : `no part speaks for ${map.class}`;
  caption.append(Object.assign(document.createElement("small"), { textContent: words, className: "map" }));
  if (!map.source) return;
  const over = Object.assign(document.createElement("img"), { src: map.source, alt: words, className: "map" });
  // The picture stands in the middle of a square; the map covers a part of the picture.
  image.addEventListener("load", () => {
    const longest = Math.max(image.naturalWidth, image.naturalHeight);
    const [wide, high] = [image.naturalWidth / longest, image.naturalHeight / longest];
    const [top, left, bottom, right] = map.box;
    Object.assign(over.style, {
      left: `${100 * ((1 - wide) / 2 + left * wide)}%`,
      top: `${100 * ((1 - high) / 2 + top * high)}%`,
      width: `${100 * (right - left) * wide}%`,
      height: `${100 * (bottom - top) * high}%`,
    });
  });
  figure.querySelector(".frame").append(over);
}

function shares(shown) {
  return shown.shares.map(([label, value]) => {
    const item = document.createElement("li");
    item.classList.toggle("truth", label === shown.truth);
    const meter = Object.assign(document.createElement("meter"), { value });
    const name = Object.assign(document.createElement("span"), { textContent: facts.labels[label] });
    const share = Object.assign(document.createElement("span"), { textContent: percent(value) });
    item.append(name, share, meter);
    return item;
  });
}

function fill(place, indices, otherwise) {
  if (indices.length) document.getElementById(place).replaceChildren(...indices.map(picture));
  else document.getElementById(place).textContent = otherwise;
}

function openCell(truth, predicted, images) {
  if (!images) return;
  const shown = facts.cells[`${truth},${predicted}`] ?? [];
  const some = shown.length < images ? `, the ${shown.length} most confident of them` : "";
  document.getElementById("cell-title").textContent =
    `${facts.labels[truth]} taken for ${facts.labels[predicted]}: ${images}${some}`;
  fill("cell-pictures", shown, "The page has no room for pictures of this cell.");
  document.getElementById("cell").hidden = false;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) => style.getPropertyValue(name).trim());
  const text = { labelColor: soft, titleColor: ink, titleFontWeight: 500, labelFontSize: 12, titleFontSize: 12 };
  return {
    background: "transparent",
    font: getComputedStyle(document.body).fontFamily,
    view: { stroke: null },
    axis: { ...text, gridColor: line, domainColor: soft, tickColor: soft },
    legend: { ...text, symbolType: "circle" },
  };
}

function drawCharts() {
  for (const place of document.querySelectorAll("[data-chart]")) {
    const specification = { ...facts.charts[place.dataset.chart], config: theme() };
    vegaEmbed(place, specification, { actions: false, renderer: "svg" });
  }
}

function drawClasses() {
  const share = (part, whole) => (whole ? part / whole : null);
  const written = (value) => (value === null ? "–" : value.toFixed(4));
  const bar = (title, value) => ({ title, value, kind: "bar", show: written });
  const rows = facts.classes.map(([images, predicted, correct, train], label) => {
    const precision = share(correct, predicted);
    const recall = share(correct, images);
    // As scikit-learn has it: not defined where the class neither occurs nor is ever predicted.
    const f1 = share(2 * correct, images + predicted);
    return { name: facts.labels[label], label, images, predicted, train, precision, recall, f1 };
  });
  const columns = [
    { title: "class", value: (row) => row.name, kind: "name" },
    { title: "images", value: (row) => row.images },
    { title: "predicted", value: (row) => row.predicted },
    { title: "in train", value: (row) => row.train },
    bar("precision", (row) => row.precision),
    bar("recall", (row) => row.recall),
    bar("F1", (row) => row.f1),
  ];
  const order = facts.whole ? { sorted: -1 } : { sorted: 5 };
  makeTable(document.getElementById("class-table"), columns, rows, order);
}

function drawPairs() {
  const columns = [
    { title: "truth", value: ([truth]) => facts.labels[truth], kind: "name" },
    { title: "taken for", value: ([, predicted]) => facts.labels[predicted], kind: "name" },
    { title: "images", value: ([, , images]) => images, kind: "button" },
    { title: "of the class", value: ([truth, , images]) => images / facts.classes[truth][0], show: percent },
  ];
  const press = (row) => {
    openCell(...row);
    document.getElementById("cell").scrollIntoView({ block: "nearest" });
  };
  makeTable(document.getElementById("pair-table"), columns, facts.confusion, { sorted: 2, falling: true, press });
}

function drawMatrix(matrix) {
  const counts = facts.classes.map(([, , correct], label) => facts.labels.map((_, predicted) => (predicted === label ? correct : 0)));
  for (const [truth, predicted, images] of facts.confusion) counts[truth][predicted] = images;
  const head = matrix.createTHead().insertRow();
  head.insertCell();
  for (const name of facts.labels) {
    const heading = Object.assign(document.createElement("th"), { scope: "col" });
    heading.append(Object.assign(document.createElement("span"), { textContent: name }));
    head.append(heading);
  }
  const body = matrix.createTBody();
  counts.forEach((row, truth) => {
    const line = body.insertRow();
    line.append(Object.assign(document.createElement("th"), { scope: "row", textContent: facts.labels[truth] }));
    row.forEach((images, predicted) => {
      const rate = facts.classes[truth][0] ? images / facts.classes[truth][0] : 0;
      const button = Object.assign(document.createElement("button"), {
        type: "button",
        textContent: images,
        className: `${truth === predicted ? "hit" : "miss"}${images ? "" : " none"}`,
        ariaLabel: `${facts.labels[truth]} taken for ${facts.labels[predicted]}: ${images}`,
      });
      Object.assign(button.dataset, { cell: `${truth},${predicted}`, counts: images, rates: (100 * rate).toFixed(0) });
      button.style.setProperty("--share", rate.toFixed(3));
      button.addEventListener("click", () => {
        if (!images) return;
        matrix.querySelectorAll("[aria-pressed]").forEach((other) => other.removeAttribute("aria-pressed"));
        button.setAttribute("aria-pressed", "true");
        openCell(truth, predicted, images);
      });
      line.insertCell().append(button);
    });
  });
}

drawClasses();
if (facts.whole) drawMatrix(document.getElementById("matrix"));
else drawPairs();
for (const choice of document.querySelectorAll("[name=unit]")) {
  choice.addEventListener("change", () => {
    for (const button of document.querySelectorAll("#matrix button")) button.textContent = button.dataset[choice.value];
  });
}
const switches = document.querySelectorAll(".map-switch input");
for (const one of switches) {
  one.addEventListener("change", () => {
    document.body.classList.toggle("maps", one.checked);
    for (const other of switches) other.checked = one.checked;
  });
}
fill("mistake-pictures", facts.mistakes, "There is none: every test image was classified right.");
fill("doubt-pictures", facts.least_confident, "There is none: no test image was classified right.");
drawCharts();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
