"use strict";
const drop = document.getElementById("drop");
const answers = document.getElementById("answers");
const waiting = [];
let busy = false;

function add(files) {
  for (const file of files) {
    const card = document.getElementById("answer").content.cloneNode(true).firstElementChild;
    card.classList.add("waits");
    card.querySelector(".file").textContent = file.name;
    preview(card.querySelector("img"), file);
    answers.prepend(card);
    waiting.push([file, card]);
  }
  work();
}

function preview(image, file) {
  const address = URL.createObjectURL(file);
  image.addEventListener("load", () => {
    image.hidden = false;
    image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= 96);
    image.alt = file.name;
    URL.revokeObjectURL(address);
  });
  image.addEventListener("error", () => URL.revokeObjectURL(address));
  image.src = address;
}

/* One picture at a time, in the order in which they came. */
async function work() {
  if (busy) return;
  busy = true;
  while (waiting.length) {
    const [file, card] = waiting.shift();
    try {
      const response = await fetch("classify", { method: "POST", body: file });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error);
      show(card, answer);
    } catch (error) {
      card.classList.add("failed");
      const message = error instanceof TypeError ? "the server does not answer" : error.message;
      card.querySelector(".verdict").textContent = `Not read: ${message}`;
    }
    card.classList.remove("waits");
  }
  busy = false;
}

function percent(share) {
  if (share >= 0.9995 && share < 1) return "> 99.9 %";
  return share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

function show(card, answer) {
  card.querySelector(".verdict").textContent = answer.classes[0].label;
  for (const { label, probability } of answer.classes) {
    const row = document.createElement("li");
    const name = row.appendChild(document.createElement("span"));
    const share = row.appendChild(document.createElement("span"));
    const bar = row.appendChild(document.createElement("div"));
    name.textContent = label;
    share.textContent = percent(probability);
    share.className = "share";
    bar.className = "bar";
    bar.setAttribute("aria-hidden", "true");
    bar.appendChild(document.createElement("i")).style.width = `${100 * probability}%`;
    card.querySelector("ol").append(row);
  }
  const notes = [];
  if (answer.unknown) notes.push("Unlike the pictures of the training: it may be none of these.");
  const set = answer.prediction_set;
  if (set && set.length > 1) notes.push(`Not sure: one of ${set.join(", ")}.`);
  card.querySelector(".notes").textContent = notes.join(" ");
  card.querySelector(".version").textContent = `${answer.model}, version ${answer.version}`;
}

/* What the server counts of its canary, where it has one. */
const comparisons = document.getElementById("comparisons");
let counted = "";

async function count() {
  const response = await fetch("canary").catch(() => null);
  const text = response && response.ok ? await response.text() : counted;
  if (text === counted) return; // nor where the server does not answer
  counted = text;
  const { loaded, comparisons: pairs } = JSON.parse(text);
  const lines = pairs.reverse().flatMap(describe);
  if (!pairs.length) lines.unshift(line("No picture was compared yet."));
  if (!loaded) lines.unshift(line("It is not loaded: the other version answers all requests."));
  comparisons.replaceChildren(...lines);
}

function line(words) {
  return Object.assign(document.createElement("p"), { textContent: words });
}

function describe({ version, canary, compared, disagreements, share, changes }) {
  const of = `${disagreements.toLocaleString("en")} of ${compared.toLocaleString("en")} pictures`;
  const rate = share === null ? "" : ` (${percent(share)})`;
  const words = line(`Another class than version ${version} for ${of}${rate}`);
  if (!changes.length) return [words];
  const table = document.createElement("table");
  const heads = table.createTHead().insertRow();
  for (const head of [`version ${version}`, `version ${canary}`, "pictures"]) {
    heads.append(Object.assign(document.createElement("th"), { textContent: head, scope: "col" }));
  }
  const body = table.createTBody();
  for (const change of changes) {
    const row = body.insertRow();
    for (const cell of [change.version, change.canary, change.pictures.toLocaleString("en")]) {
      row.insertCell().textContent = cell;
    }
    row.lastChild.className = "n";
  }
  heads.lastChild.className = "n";
  return [words, table];
}

if (comparisons) {
  count();
  setInterval(() => document.hidden || count(), 2000);
}

document.getElementById("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  add(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => add(event.clipboardData.files));
