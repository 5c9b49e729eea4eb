"use strict";
// Reads the data, fills the plain parts of the page, and redraws what depends on the chosen task.
const root = document.documentElement;
addEventListener("error", (event) => { root.dataset.error = event.message; });
const data = JSON.parse(document.getElementById("data").textContent);
const ALL = "all tasks";
const find = (id) => document.getElementById(id);

function make(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const points = (value, digits = 1) => (value === null ? "–" : (100 * value).toFixed(digits));

function duration(seconds) {
  if (!seconds) return null;
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function amount(value, name) {
  if (value === null) return "–";
  if (name === "parameters") return `${(value / 1e6).toFixed(1)} M`;
  return value.toFixed(value < 10 ? 2 : 1);
}

function fillHeader() {
  find("title").textContent = data.title;
  const { complete, failed, pruned } = data.counts;
  const parts = [`${complete} finished trials`];
  if (failed) parts.push(`${failed} failed`);
  if (pruned) parts.push(`${pruned} stopped early`);
  const spent = duration(data.seconds);
  if (spent) parts.push(`${spent} of training in all`);
  find("summary").textContent = parts.join(" · ");
  const top = data.importance[ALL].components.find((one) => one.factors.length === 1);
  const pair = data.importance[ALL].components.find((one) => one.factors.length === 2);
  const tiles = [[`${data.tasks.length}`, data.tasks.length === 1 ? "task" : "tasks"]];
  const students = data.varied.find((one) => one.name === "student");
  if (students) tiles.push([`${students.levels.length}`, students.levels.length === 1 ? "student" : "students"]);
  if (top) tiles.push([top.name, `matters most alone: ${points(top.mean, 0)} % of the variance`]);
  if (pair) tiles.push([pair.name, `matters most together: ${points(pair.mean, 0)} %`]);
  for (const [big, small] of tiles) {
    const tile = make("div");
    tile.append(make("b", big), make("span", small));
    find("tiles").append(tile);
  }
  find("footer").textContent = `Written by Distiller, ${data.created}. This page loads nothing from the network.`;
}

function fillTasks() {
  const names = data.tasks.length > 1 ? [ALL, ...data.tasks] : data.tasks;
  for (const name of names) find("task").append(make("option", name));
  find("task").addEventListener("change", draw);
}

const chosen = () => find("task").value;

function fillBest() {
  const tasks = chosen() === ALL ? data.tasks : [chosen()];
  const length = tasks.length > 1 ? 3 : data.top;
  const every = tasks.flatMap((task) => data.best[task].slice(0, length).map((one, rank) => ({ ...one, rank: rank + 1 })));
  const varies = (name) => new Set(every.map((one) => one[name])).size > 1;
  const models = ["teacher", "student"].filter(varies);
  const costs = ["parameters", "milliseconds"].filter((name) => every.some((one) => one[name] !== null));
  const head = make("tr");
  const titles = { parameters: "parameters", milliseconds: "ms/example" };
  const names = ["task", "#", ...models, ...data.factors, "score", "ratio", ...costs.map((name) => titles[name]), "runs"];
  const numeric = new Set(["#", "score", "ratio", "runs", ...Object.values(titles)]);
  for (const name of names) head.append(make("th", name, numeric.has(name) ? { class: "number" } : {}));
  const body = make("tbody");
  for (const one of every) {
    const score = points(one.score) + (one.sd === null ? "" : ` ± ${points(one.sd)}`);
    const ratio = one.ratio === null ? "–" : one.ratio.toFixed(3);
    const cells = [one.task, one.rank, ...models.map((name) => one[name]), ...data.factors.map((name) => one.levels[name] || "–"),
      score, ratio, ...costs.map((name) => amount(one[name], name)), one.runs];
    const row = make("tr", null, { tabindex: "0", title: "Show the configuration" });
    cells.forEach((cell, position) => row.append(make("td", cell, numeric.has(names[position]) ? { class: "number" } : {})));
    const select = () => showYaml(one, row);
    row.addEventListener("click", select);
    row.addEventListener("keydown", (event) => { if (event.key === "Enter") select(); });
    body.append(row);
  }
  const header = make("thead");
  header.append(head);
  find("best-table").replaceChildren(header, body);
  if (every.length) showYaml(every[0], body.firstElementChild);
}

function showYaml(one, row) {
  for (const other of row.parentElement.children) other.setAttribute("aria-selected", String(other === row));
  const what = one.runnable ? "run" : "levels (the table of trials has no run)";
  find("copy-title").textContent = `${one.task}, rank ${one.rank}: ${what}`;
  find("yaml").textContent = one.yaml;
  find("copy").hidden = false;
}

async function copyYaml() {
  const text = find("yaml").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // pages from a file may not use the clipboard: select the text and ask the older way
    const range = document.createRange();
    range.selectNodeContents(find("yaml"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
  }
  find("copy-button").textContent = "Copied";
  setTimeout(() => { find("copy-button").textContent = "Copy"; }, 1500);
}

function fillCounts() {
  find("counts-title").textContent = `Among the best ${data.top} of each task`;
  const scale = Math.max(1, ...data.top_counts.flatMap((one) => [one.count, one.expected]));
  for (const factor of data.factors) {
    const block = make("div");
    block.append(make("h3", factor));
    const rows = data.top_counts.filter((one) => one.factor === factor && (one.count || one.expected >= 0.5));
    for (const one of rows) {
      const told = `${one.level}: ${one.count} among the best, ${one.expected.toFixed(1)} expected, ${one.tried} tried`;
      const bar = make("div", null, { class: "bar", title: told });
      const track = make("span", null, { class: "track" });
      const fill = make("span", null, { class: "fill" });
      fill.style.width = `${(100 * one.count) / scale}%`;
      const tick = make("span", null, { class: "tick" });
      tick.style.left = `calc(${(100 * one.expected) / scale}% - 1px)`;
      track.append(fill, tick);
      bar.append(make("span", one.level), track, make("span", one.count));
      block.append(bar);
    }
    if (rows.length) find("bars").append(block);
  }
}

function fillVaried() {
  for (const one of data.varied) {
    const list = make("dd");
    for (const [level, count] of one.levels) {
      const button = make("button", level, { class: "level", type: "button" });
      button.append(make("i", count));
      button.addEventListener("click", () => {
        find("filter").value = `${one.name}=${level}`;
        find("filter").dispatchEvent(new Event("input"));
        find("trials").scrollIntoView();
      });
      list.append(button);
    }
    find("levels").append(make("dt", one.name), list);
  }
}

function fillFailures() {
  if (!data.failures.length) return;
  find("failures").hidden = false;
  const body = make("tbody");
  for (const one of data.failures) {
    const row = make("tr");
    const numbers = one.trials.slice(0, 20).join(", ") + (one.trials.length > 20 ? ", …" : "");
    row.append(make("td", one.trials.length, { class: "number" }), make("td", one.reason), make("td", `trials ${numbers}`));
    body.append(row);
  }
  find("failures-table").append(body);
}

function setTheme(theme) {
  root.dataset.theme = theme;
}

function draw() {
  fillBest();
  drawCharts(chosen());
}

addEventListener("DOMContentLoaded", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => { setTheme(dark.matches ? "dark" : "light"); draw(); });
  find("theme").addEventListener("click", () => { setTheme(root.dataset.theme === "dark" ? "light" : "dark"); draw(); });
  find("copy-button").addEventListener("click", copyYaml);
  fillHeader();
  fillTasks();
  fillCounts();
  fillVaried();
  fillFailures();
  fillTable();
  draw();
  root.dataset.ready = "yes";
});
