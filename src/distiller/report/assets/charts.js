// The charts. Colours come from the style sheet, so that they follow the theme.
const QUIET = { displaylogo: false, responsive: true, displayModeBar: false };
const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

function layout(more) {
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("faint"), linecolor: colour("line"), automargin: true };
  const { xaxis, yaxis, ...rest } = more;
  for (const one of [xaxis, yaxis]) if (one && one.title) one.title.font = { size: 13, color: colour("muted") };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hoverlabel: { align: "left" },
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
    margin: { l: 8, r: 16, t: 16, b: 44 }, legend: { orientation: "h", y: -0.22, x: 0 },
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
  };
}

function empty(id, text) {
  Plotly.purge(id);
  const node = find(id);
  node.classList.add("empty");
  node.textContent = text;
}

function plot(id, traces, shape) {
  const node = find(id);
  if (node.classList.contains("empty")) {
    node.classList.remove("empty");
    node.textContent = "";
  }
  Plotly.react(node, traces, shape, QUIET);
}

function drawTradeOff(id, task, cost, title, scale) {
  const found = data.points[task];
  const known = found.score.map((_, n) => n).filter((n) => found[cost][n] !== null);
  if (!found.score.length) {
    return empty(id, task === ALL ? "No configuration ran on every task: choose a task above." : "No finished trial.");
  }
  if (!known.length) return empty(id, `${title.split(" (")[0]} is not known for these trials.`);
  const together = task === ALL;
  const unit = together ? 1 : 100;
  const pick = (numbers) => ({
    x: numbers.map((n) => found[cost][n] * scale), y: numbers.map((n) => found.score[n] * unit),
    text: numbers.map((n) => found.label[n]),
  });
  const hovertemplate = `%{text}<br>%{x:.3~g} · <b>%{y:.${together ? 3 : 1}f}</b><extra></extra>`;
  const front = known.filter((n) => found.front[cost][n]).sort((a, b) => found[cost][a] - found[cost][b]);
  const traces = [
    { ...pick(known.filter((n) => !found.front[cost][n])), mode: "markers", name: "configurations", hovertemplate,
      marker: { color: colour("faint"), size: 7, opacity: 0.75 } },
    { ...pick(front), mode: "lines+markers", name: "front", hovertemplate, line: { color: colour("accent"), shape: "hv", width: 2 },
      marker: { color: colour("accent"), size: 10 } },
  ];
  const lines = Object.entries(together ? { teacher: 0.01 } : data.references[task]);
  const shapes = lines.map(([, value]) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: value * 100, y1: value * 100,
    line: { color: colour("second"), dash: "dot", width: 1.5 } }));
  const annotations = lines.map(([name, value]) => ({ xref: "paper", x: 0, xanchor: "left", y: value * 100, yanchor: "bottom",
    text: name, showarrow: false, font: { color: colour("second"), size: 12 } }));
  const metric = together ? "mean distillation ratio" : `${data.metrics[task] || "score"} × 100`;
  plot(id, traces, layout({ height: 380, shapes, annotations, showlegend: false, margin: { l: 8, r: 16, t: 16, b: 52 },
    xaxis: { title: { text: title }, type: spreadOut(known.map((n) => found[cost][n])) ? "log" : "linear" },
    yaxis: { title: { text: metric } } }));
}

const spreadOut = (values) => Math.max(...values) > 8 * Math.min(...values) && Math.min(...values) > 0;

function drawImportance(task) {
  const found = data.importance[task];
  const note = find("importance-note");
  const method = "Share of the variance of the score that each choice explains, alone and in pairs beyond that (fANOVA of a "
    + "random forest). Bars: mean over trees, whiskers their standard deviation. Diamonds: PED-ANOVA, another method, which "
    + "asks what the best tenth has in common and knows no pairs. ";
  if (found.refusal || !found.components.length) {
    note.textContent = method;
    return empty("shares", found.refusal ? `Not interpreted: ${found.refusal}.` : "No task has a forest that explains anything.");
  }
  const left = task === ALL ? data.tasks.filter((name) => !found.averaged.includes(name)) : [];
  note.textContent = method + (task === ALL
    ? `Mean of ${found.averaged.length} task(s)` + (left.length ? `; left out, because their forest explains nothing: ${left.join(", ")}.` : ".")
    : `${found.rows} trials; out-of-bag R² ${found.r2.toFixed(2)}. ${found.notes.join(". ")}`);
  const shown = found.components.filter((one) => one.mean >= 0.001).slice(0, 24).reverse();
  const names = shown.map((one) => one.name);
  const single = shown.map((one) => one.factors.length === 1);
  const second = names.filter((name) => name in found.second);
  const traces = [
    { type: "bar", orientation: "h", y: names, x: shown.map((one) => 100 * one.mean), name: "fANOVA",
      error_x: { type: "data", array: shown.map((one) => 100 * one.sd), arrayminus: shown.map((one) => 100 * Math.min(one.sd, one.mean)),
        symmetric: false, color: colour("muted"), thickness: 1.2, width: 3 },
      marker: { color: single.map((alone) => colour(alone ? "accent" : "faint")) }, hovertemplate: "%{y}: %{x:.1f} %<extra>fANOVA</extra>" },
    { type: "scatter", mode: "markers", y: second, x: second.map((name) => 100 * found.second[name]), name: "PED-ANOVA",
      marker: { symbol: "diamond", size: 9, color: colour("second") }, hovertemplate: "%{y}: %{x:.1f} %<extra>PED-ANOVA</extra>" },
  ];
  plot("shares", traces, layout({ height: 90 + 28 * shown.length, bargap: 0.35, showlegend: false,
    xaxis: { title: { text: "% of the variance" }, rangemode: "tozero" }, yaxis: { ticksuffix: "  ", gridcolor: "rgba(0,0,0,0)" } }));
}

function drawEffects() {
  const shown = data.effects.filter((one) => one.low !== null).reverse();
  const rare = data.effects.length - shown.length;
  find("effects-note").textContent = rare ? `${rare} level(s) were tried too rarely for an interval.` : "";
  if (!shown.length) return empty("changes", "No level was tried often enough to compare.");
  const names = shown.map((one) => `${one.factor}: <b>${one.level}</b> – ${one.reference}`);
  const difference = shown.map((one) => 100 * one.difference);
  const traces = [{ type: "scatter", mode: "markers", y: names, x: difference,
    text: shown.map((one) => (one.how === "paired" ? `${one.n} pairs` : `${one.n} trials`)),
    hovertemplate: "%{y}<br>%{x:+.2f} points, %{text}<extra></extra>",
    error_x: { type: "data", symmetric: false, array: shown.map((one, n) => 100 * one.high - difference[n]),
      arrayminus: shown.map((one, n) => difference[n] - 100 * one.low), color: colour("accent"), thickness: 1.6, width: 4 },
    marker: { size: 9, color: shown.map((one) => colour(one.how === "paired" ? "accent" : "card")), line: { color: colour("accent"), width: 2 } } }];
  plot("changes", traces, layout({ height: 90 + 26 * shown.length, showlegend: false,
    xaxis: { title: { text: "points" }, zeroline: true, zerolinewidth: 1.5 }, yaxis: { ticksuffix: "  " } }));
}

function drawCharts(task) {
  drawTradeOff("size", task, "parameters", "Size (million parameters)", 1e-6);
  drawTradeOff("latency", task, "milliseconds", "Latency (ms per example)", 1);
  drawImportance(task);
  drawEffects();
}
