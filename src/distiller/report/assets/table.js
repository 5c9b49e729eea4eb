// The table of every trial: a click on a heading sorts, words in the box filter.
const SCORES = new Set(["score", "teacher_score", "baseline_score"]);
const sorting = { column: -1, descending: false };
let trialRows = [];

function shownCell(value, column) {
  if (value === null || value === "") return "";
  if (!column.number) return value;
  if (SCORES.has(column.name)) return points(value, 2);
  if (column.name === "parameters") return value.toLocaleString("en");
  return Number.isInteger(value) ? String(value) : value.toFixed(column.name === "ratio" ? 3 : 2);
}

function fillTable() {
  const { columns, rows } = data.table;
  const head = make("tr");
  columns.forEach((column, position) => {
    const cell = make("th", null, { scope: "col", "data-name": column.name, ...(column.number ? { class: "number" } : {}) });
    const button = make("button", column.name, { type: "button" });
    button.addEventListener("click", () => sortBy(position));
    cell.append(button);
    head.append(cell);
  });
  find("rows").tHead.append(head);
  trialRows = rows.map((values) => {
    const row = make("tr");
    values.forEach((value, position) => {
      const column = columns[position];
      const cell = make("td", shownCell(value, column), column.number ? { class: "number" } : {});
      if (value === "failed") cell.className = "failed";
      if (typeof value === "string" && value.length > 32) cell.title = value;
      row.append(cell);
    });
    const words = values.map((value) => (value === null ? "" : String(value).toLowerCase()));
    const marked = words.map((word, position) => `${columns[position].name.toLowerCase()}=${word}`);
    return { row, values, text: words.join("\n"), marked: new Set(marked) };
  });
  // Equal columns are not in the table: a level that every trial has filters nothing.
  const hidden = new Set(data.varied.filter((one) => !columns.some((column) => column.name === one.name)).map((one) => one.name));
  find("filter").addEventListener("input", () => filterRows(hidden));
  const score = columns.findIndex((column) => column.name === "score");
  sortBy(score);
  filterRows(hidden);
}

function sortBy(position) {
  const column = data.table.columns[position];
  sorting.descending = sorting.column === position ? !sorting.descending : column.number && column.name !== "trial";
  sorting.column = position;
  const sign = sorting.descending ? -1 : 1;
  const missing = (value) => value === null || value === "";
  const order = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => {
    const [x, y] = [a.values[position], b.values[position]];
    if (missing(x) || missing(y)) return missing(x) - missing(y); // unknown ones stay last, whichever way
    return sign * (column.number ? x - y : order.compare(x, y));
  };
  trialRows.sort(compare);
  find("rows").tBodies[0].append(...trialRows.map((one) => one.row));
  for (const cell of find("rows").tHead.rows[0].cells) {
    if (cell.cellIndex === position) cell.setAttribute("aria-sort", sorting.descending ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  }
}

function filterRows(hidden) {
  const query = find("filter").value.trim().toLowerCase();
  const [name] = query.split("=");
  const whole = data.table.columns.some((column) => column.name.toLowerCase() === name) && query.includes("=");
  const words = hidden.has(name) ? [] : query.split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const one of trialRows) {
    const kept = whole ? one.marked.has(query) : words.every((word) => one.text.includes(word));
    one.row.hidden = !kept;
    shown += kept;
  }
  find("shown").textContent = `${shown} of ${trialRows.length} trials`;
}
