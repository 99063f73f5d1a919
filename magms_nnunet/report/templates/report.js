"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  const compare = new Intl.Collator("en", {numeric: true}).compare;
  headers.forEach((header, column) => header.firstElementChild.addEventListener("click", () => {
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    for (const other of headers) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const keyed = [...table.tBodies[0].rows].map(row => {
      const cell = row.cells[column];
      const text = cell.dataset.value ?? cell.textContent.trim();
      const isNumber = cell.dataset.value !== undefined || cell.classList.contains("number");
      return {row, text, number: isNumber && text !== "" ? Number(text) : NaN, isNumber};
    });
    // What has no number comes last in either order.
    keyed.sort((a, b) => {
      if (!a.isNumber) return ascending ? compare(a.text, b.text) : compare(b.text, a.text);
      if (isNaN(a.number) || isNaN(b.number)) return isNaN(a.number) - isNaN(b.number);
      return ascending ? a.number - b.number : b.number - a.number;
    });
    table.tBodies[0].append(...keyed.map(key => key.row));
  }));
}
