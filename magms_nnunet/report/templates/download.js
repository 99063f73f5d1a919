"use strict";
const save = (text, type, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
// As storage/csv_files.py: no cell is a formula to a spreadsheet.
const csvCell = text => {
  const isNumber = text !== "" && !isNaN(Number(text));
  const plain = isNumber || !/^['=+\-@\t\r]/.test(text) ? text : "'" + text;
  return /[",\n]/.test(plain) ? '"' + plain.replaceAll('"', '""') + '"' : plain;
};
const csvOf = table => [...table.rows].map(row => [...row.cells]
  .map(cell => csvCell(cell.dataset.value !== undefined && cell.cellIndex > 0 ? cell.dataset.value
    : (cell.querySelector("button") ?? cell).textContent.trim().replace(/\s+/g, " ")))
  .join(",")).join("\n") + "\n";
for (const button of document.querySelectorAll("button[data-csv]")) {
  button.addEventListener("click", () =>
    save(csvOf(document.getElementById(button.dataset.csv)), "text/csv", button.dataset.file));
}
for (const button of document.querySelectorAll("button[data-svg]")) {
  button.addEventListener("click", () => save(
    '<?xml version="1.0" encoding="UTF-8"?>\n' + new XMLSerializer().serializeToString(button.parentElement.querySelector("svg")) + "\n",
    "image/svg+xml", button.dataset.file));
}
