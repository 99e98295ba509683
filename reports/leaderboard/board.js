"use strict";
// Sorts tables by a click on a column's head, and filters the rows of the front page.

const key = (row, column) => {
  const cell = [...row.cells].reduce(
    (found, one) => found.cell ? found : { left: found.left - one.colSpan, cell: found.left < one.colSpan ? one : null },
    { left: column, cell: null }).cell;
  return (cell.dataset.sort ?? cell.textContent).trim();
};
const missing = (text) => text === "" || text === "-" || text === "?";
const number = (text) => (text === "" || Number.isNaN(Number(text)) ? null : Number(text));

// Rows without a value come last in either direction.
function compare(one, other, sign) {
  if (missing(one) || missing(other)) return missing(one) - missing(other);
  const [a, b] = [number(one), number(other)];
  return sign * (a !== null && b !== null ? a - b : one.localeCompare(other, "en", { numeric: true }));
}

// Within each group of rows: quoted rows stay below measured ones.
function sort(table, column, sign) {
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("section"));
    rows.map((row) => [key(row, column), row])
      .sort((one, other) => compare(one[0], other[0], sign))
      .forEach(([, row]) => body.append(row));
  }
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const falling = before === "none" ? head.classList.contains("number") : before === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      sort(table, column, falling ? -1 : 1);
    });
  });
}

function filter(form) {
  const kinds = new Set(new FormData(form).getAll("kind"));
  const words = form.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let [shown, all] = [0, 0];
  for (const board of document.querySelectorAll(".board")) {
    const here = !form.suite.value || board.dataset.suite === form.suite.value;
    let left = 0;
    for (const row of board.querySelectorAll("tr[data-kind]")) {
      const text = `${board.dataset.suite} ${row.textContent}`.toLowerCase();
      row.hidden = !(here && kinds.has(row.dataset.kind) && words.every((word) => text.includes(word)));
      left += !row.hidden;
      all += 1;
    }
    for (const line of board.querySelectorAll("tr.section")) {
      line.hidden = ![...line.parentNode.rows].some((row) => row.dataset.kind && !row.hidden);
    }
    board.hidden = left === 0;
    shown += left;
  }
  for (const track of document.querySelectorAll(".track")) {
    track.hidden = ![...track.querySelectorAll(".board")].some((board) => !board.hidden);
  }
  form.querySelector("output").value = `${shown} of ${all} rows`;
}

const form = document.getElementById("filters");
if (form) {
  form.hidden = false;
  form.addEventListener("input", () => filter(form));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(form);
}
