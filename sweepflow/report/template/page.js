"use strict";

// Tables: a click on a header sorts by it, a second click turns the order round. Cells without a value stay last.
(() => {
  const table = document.getElementById("table");
  if (!table) return;
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const order = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? order.compare(a, b) : a - b);
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [row.cells[column].dataset.v, row]);
      rows.sort(([a], [b]) => {
        if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
        return sign * compare(a, b);
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
})();

// Legends: a line with its dash and its marker, as the figures draw them.
(() => {
  const dashes = { solid: "", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4", longdashdot: "11 3 2 3" };
  const shapes = {
    circle: "M22 2a5 5 0 1 0 .01 0z",
    "circle-open": "M22 2a5 5 0 1 0 .01 0zM22 4a3 3 0 1 1 -.01 0z",
    square: "M17.5 2.5h9v9h-9z",
    diamond: "M22 1l6 6-6 6-6-6z",
    "triangle-up": "M22 1.5l6 10.5h-12z",
    "triangle-down": "M22 12.5l6-10.5h-12z",
    cross: "M20 2h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
    pentagon: "M22 1.5l5.5 4-2.1 6.5h-6.8l-2.1-6.5z",
    star: "M22 1l1.8 4.2 4.4.4-3.3 3 1 4.4-3.9-2.3-3.9 2.3 1-4.4-3.3-3 4.4-.4z",
    "x-thin": "M17.6 3.3l.9-.9 3.5 3.6 3.5-3.6.9.9-3.5 3.7 3.5 3.7-.9.9-3.5-3.6-3.5 3.6-.9-.9 3.5-3.7z",
    x: "M18.5 2l3.5 3 3.5-3 2 2-3.2 3 3.2 3-2 2-3.5-3-3.5 3-2-2 3.2-3-3.2-3z",
  };
  document.querySelectorAll(".legend svg").forEach((svg) => {
    const { symbol, dash, colour, marks } = svg.dataset;
    const add = (name, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
      svg.append(element);
    };
    if (marks !== "markers" && dash !== "none") {
      add("path", { d: "M0 7h44", stroke: colour, "stroke-width": 2, "stroke-dasharray": dashes[dash], fill: "none" });
    }
    if (marks !== "lines") add("path", { d: shapes[symbol], fill: colour });
  });
})();

// Figures: one after another, so that the page can be read and scrolled from the start.
(async () => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const config = {
    responsive: true,
    displayModeBar: false,
  };
  for (const plot of document.querySelectorAll(".plot")) {
    const { data, layout } = figures[plot.dataset.figure];
    await Plotly.newPlot(plot, data, layout, config);
    await new Promise((done) => setTimeout(done));
  }
  document.body.dataset.drawn = "yes";
})();
