"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const change = ([before, after]) => (before === null || after === null ? null : after - before);
const written = (value) => (value === null ? "–" : value.toFixed(4));
const columns = [{ title: "class", value: (row) => row[0], kind: "name" }];
facts.scores.forEach((score, place) => {
  facts.runs.forEach((run, side) => {
    columns.push({ title: `${score} ${run}`, value: (row) => row[place + 1][side], show: written });
  });
  columns.push({
    title: "change",
    value: (row) => change(row[place + 1]),
    show: (value) => (value > 0 ? "+" : "") + written(value),
    tone: (value) => (value > 0 ? "yes" : value < 0 ? "no" : ""),
  });
});
makeTable(document.getElementById("classes"), columns, facts.classes);
