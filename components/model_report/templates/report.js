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
  const right = shown.truth === shown.said;
  caption.textContent = right
    ? `${facts.labels[shown.truth]}, ${percent(shown.shares[shown.said])}`
    : `${facts.labels[shown.truth]}, taken for ${facts.labels[shown.said]}, ${percent(shown.shares[shown.said])}`;
  caption.append(Object.assign(document.createElement("small"), { textContent: shown.id }));
  figure.querySelector("details").addEventListener("toggle", (event) => {
    const list = event.target.querySelector("ol");
    if (event.target.open && !list.childElementCount) list.append(...shares(shown));
  });
  return figure;
}

function shares(shown) {
  const order = shown.shares.map((_, label) => label).sort((a, b) => shown.shares[b] - shown.shares[a]);
  return order.map((label) => {
    const item = document.createElement("li");
    item.classList.toggle("truth", label === shown.truth);
    const meter = Object.assign(document.createElement("meter"), { value: shown.shares[label] });
    const name = Object.assign(document.createElement("span"), { textContent: facts.labels[label] });
    const share = Object.assign(document.createElement("span"), { textContent: percent(shown.shares[label]) });
    item.append(name, share, meter);
    return item;
  });
}

function fill(place, indices, otherwise) {
  if (indices.length) document.getElementById(place).replaceChildren(...indices.map(picture));
  else document.getElementById(place).textContent = otherwise;
}

function openCell(button) {
  const [truth, said] = button.dataset.cell.split(",").map(Number);
  const images = facts.confusion[truth][said];
  if (!images) return;
  document.querySelectorAll("#matrix [aria-pressed]").forEach((other) => other.removeAttribute("aria-pressed"));
  button.setAttribute("aria-pressed", "true");
  const shown = facts.cells[button.dataset.cell] ?? [];
  const some = shown.length < images ? `, the ${shown.length} most confident of them` : "";
  document.getElementById("cell-title").textContent =
    `${facts.labels[truth]} taken for ${facts.labels[said]}: ${images}${some}`;
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

document.getElementById("matrix").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) openCell(button);
});
for (const choice of document.querySelectorAll("[name=unit]")) {
  choice.addEventListener("change", () => {
    for (const button of document.querySelectorAll("#matrix button")) button.textContent = button.dataset[choice.value];
  });
}
fill("mistake-pictures", facts.mistakes, "There is none: every test image was classified right.");
fill("doubt-pictures", facts.doubts, "There is none: no test image was classified right.");
drawCharts();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
