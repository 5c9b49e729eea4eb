"use strict";

// Every text is set as text: whatever a data set or a folder's name holds, it is never markup.
function made(tag, text = "", kind = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
}

const view = document.getElementById("view");
const number = (value, digits = 4) => (value === null || value === undefined ? "–" : value.toFixed(digits));

async function call(path, options) {
  const reply = await fetch(path, options);
  const data = await reply.json().catch(() => ({ error: `the server answered ${reply.status}` }));
  if (!reply.ok) throw new Error(data.error + (data.hint ? ` – ${data.hint}` : ""));
  return data;
}

function table(columns, rows, numeric) {
  const whole = made("div", "", "scroll"), shown = made("table"), head = made("tr");
  columns.forEach((name, n) => head.append(made("th", name, numeric.includes(n) ? "number" : "")));
  const top = made("thead"), body = made("tbody");
  top.append(head);
  for (const row of rows) {
    const line = made("tr");
    row.forEach((cell, n) => {
      const place = made("td", cell instanceof Node ? "" : String(cell), numeric.includes(n) ? "number" : "");
      if (cell instanceof Node) place.append(cell);
      line.append(place);
    });
    body.append(line);
  }
  shown.append(top, body);
  whole.append(shown);
  return whole;
}

function copying(text) {
  const button = made("button", "Copy the run");
  button.type = "button";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy it below";
    }
  });
  return button;
}

function section(title, ...parts) {
  const whole = made("section");
  whole.append(made("h3", title), ...parts);
  return whole;
}

function failed(error) {
  view.replaceChildren(made("p", error.message, "error"));
  view.dataset.ready = "error";
}

function shares(answer) {
  const whole = made("div");
  const listed = Object.entries(answer.shares).sort((a, b) => b[1] - a[1]).slice(0, 5);
  for (const [name, share] of listed) {
    const line = made("div"), bar = made("span", "", "bar");
    bar.style.width = `${Math.round(60 * share)}px`;
    line.append(bar, made("small", `${name} ${number(share, 3)}`));
    whole.append(line);
  }
  return whole;
}

function asking(run) {
  const form = made("form"), first = made("label", run.kind === "qa" ? "Question" : "Text");
  const text = made("textarea"), pair = made("textarea"), button = made("button", "Ask every model", "main");
  const answers = made("div");
  answers.id = "answers";
  text.id = "text";
  pair.id = "pair";
  first.append(text);
  form.append(first);
  if (run.pairs) {
    const second = made("label", run.kind === "qa" ? "Context" : "Second text");
    second.append(pair);
    form.append(second);
  }
  form.append(button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    answers.replaceChildren(made("p", "The models are loaded at the first question …", "muted"));
    try {
      const found = await call(`/api/ask?folder=${encodeURIComponent(run.folder)}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ text: text.value, pair: run.pairs ? pair.value : null }),
      });
      const rows = found.answers.map((one) => [
        one.name, one.engine, one.error ? made("span", one.error, "error") : one.said, shares(one),
        number(one.milliseconds, 2),
      ]);
      answers.replaceChildren(
        table(["", "engine", "says", "", "ms"], rows, [4]),
        made("small", "Milliseconds of a pass over the tokens, the median of five."),
        ...found.notes.map((note) => made("p", note, "muted")),
      );
      answers.dataset.ready = "yes";
    } catch (error) {
      answers.replaceChildren(made("p", error.message, "error"));
      answers.dataset.ready = "error";
    }
    button.disabled = false;
  });
  return section("Ask", form, answers);
}

async function showRun(entry) {
  const run = await call(`/api/run?folder=${encodeURIComponent(entry.folder)}`);
  const rows = run.models.map((one) => [
    one.name, number(one.score), one.parameters.toLocaleString("en"), number(one.megabytes, 1),
    number(one.milliseconds, 2),
  ]);
  view.replaceChildren(
    section(
      `${run.task}: ${run.rows.toLocaleString("en")} development examples`,
      table(["", run.metric, "parameters", "MB", "ms/text"], rows, [1, 2, 3, 4]),
      ...run.words.map((words) => made("p", words, "muted")),
    ),
    asking(run),
    section("The run", copying(run.yaml), made("pre", run.yaml), made("pre", `distiller run run.yaml`)),
  );
  view.dataset.ready = "run";
}

async function showStudy(entry) {
  const study = await call(`/api/study?folder=${encodeURIComponent(entry.folder)}`);
  const counts = Object.entries(study.trials).map(([name, count]) => `${count} ${name}`).join(", ");
  const parts = [section(entry.name, made("p", counts || "no trial has ended yet", "muted"))];
  for (const one of study.best) {
    const levels = Object.entries(one.levels).map(([name, level]) => `${name} ${level}`).join(", ");
    parts.push(section(
      `${one.task}: ${number(one.score)}`,
      made("p", `${levels || "no factor"}${one.student ? ` · ${one.student}` : ""} · ${one.runs} run(s)` +
        (one.ratio === null ? "" : ` · ${number(one.ratio, 3)} of the teacher`), "muted"),
      copying(one.yaml), made("pre", one.yaml),
    ));
  }
  view.replaceChildren(...parts);
  view.dataset.ready = "study";
}

function listed(list, entries, show, label) {
  list.replaceChildren(...entries.map((entry) => {
    const line = made("li"), button = made("button", label(entry));
    button.type = "button";
    button.append(made("br"), made("small", entry.error || entry.folder));
    button.disabled = Boolean(entry.error);
    button.addEventListener("click", () => {
      document.querySelectorAll("nav button").forEach((one) => one.setAttribute("aria-current", String(one === button)));
      view.dataset.ready = "";
      show(entry).catch(failed);
    });
    line.append(button);
    return line;
  }));
  if (!entries.length) list.append(made("li", "none", "muted"));
}

async function look() {
  const found = await call("/api/list");
  listed(document.getElementById("runs"), found.runs, showRun, (one) =>
    one.error ? "cannot be read" : `${one.task}: ${one.metric} ${number(one.score)}`);
  listed(document.getElementById("studies"), found.studies, showStudy, (one) => one.name);
  document.body.dataset.ready = "yes";
}

document.getElementById("reload").addEventListener("click", () => look().catch(failed));
look().catch(failed);
