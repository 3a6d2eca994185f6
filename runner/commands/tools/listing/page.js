
"use strict";
(() => {
  const body = document.querySelector("#runs tbody");
  const rows = Array.from(body.rows);
  rows.forEach((row, number) => { row.number = number; });

  // The table: a click on a head sorts by its column, a second one the other way round; missing values stay last.
  const value = (row, column) => {
    const text = row.cells[column].dataset.value;
    if (text === undefined || text === "nan") return null;
    const wide = {"inf": Infinity, "-inf": -Infinity};
    const number = text in wide ? wide[text] : Number(text);
    return text.trim() === "" || Number.isNaN(number) ? text : number;
  };
  const compare = (one, other) => {
    if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
    return one < other ? -1 : one > other ? 1 : 0;
  };
  const sort = (column, head) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const pairs = rows.map((row) => [value(row, column), row]);
    pairs.sort(([one, a], [other, b]) => {
      if (one === null || other === null) return (one === null) - (other === null) || a.number - b.number;
      return (down ? -1 : 1) * compare(one, other) || a.number - b.number;
    });
    body.append(...pairs.map(([, row]) => row));
  };
  Array.from(document.querySelectorAll("#runs th")).forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(column, head));
  });

  // The curves of one metric, each run in a colour of its own.
  const data = JSON.parse(document.getElementById("data").textContent);
  const metrics = Object.keys(data.curves);
  if (!metrics.length) return;
  const section = document.getElementById("plot");
  section.hidden = false;
  const make = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, one] of Object.entries(attributes)) element.setAttribute(key, one);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const colour = (number) => `hsl(${(number * 137.5) % 360} 65% 50%)`;
  const hidden = new Set();
  const select = document.createElement("select");
  for (const metric of metrics) select.append(new Option(metric, metric));
  select.value = ["val/accuracy", "val/loss"].find((name) => metrics.includes(name)) || metrics[0];
  const logarithmic = document.createElement("input");
  logarithmic.type = "checkbox";
  const label = (text, element) => {
    const one = document.createElement("label");
    one.append(text, " ", element);
    return one;
  };
  const svg = make("svg", {viewBox: "0 0 900 420", role: "img"});
  const said = document.createElement("p");
  said.id = "said";
  section.append(label("metric", select), label("logarithmic", logarithmic), svg, said);

  const ticks = (from, to, count) => {
    const rough = (to - from) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const found = [];
    for (let place = Math.ceil(from / step) * step; place <= to + step / 1e6; place += step) found.push(place);
    return found;
  };
  const short = (number) => String(Number(number.toPrecision(4)));

  const draw = () => {
    const log = logarithmic.checked;
    const up = (number) => (log ? Math.log10(number) : number);
    const lines = data.curves[select.value].filter((line) => !hidden.has(line.run)).map((line) => ({
      run: line.run,
      points: line.steps.map((step, place) => [step, line.values[place]]).filter((point) => !log || point[1] > 0),
    })).filter((line) => line.points.length);
    svg.replaceChildren();
    svg.setAttribute("aria-label", `${select.value} over steps`);
    const points = lines.flatMap((line) => line.points);
    if (!points.length) { said.textContent = "nothing to draw"; return; }
    const range = (values) => {
      let low = Infinity, high = -Infinity;
      for (const one of values) { low = Math.min(low, one); high = Math.max(high, one); }
      return low < high ? [low, high] : [low - 1, high + 1];
    };
    const [left, right] = range(points.map((point) => point[0]));
    const [low, high] = range(points.map((point) => up(point[1])));
    const x = (step) => 70 + 815 * (step - left) / (right - left);
    const y = (number) => 380 - 360 * (up(number) - low) / (high - low);
    for (const tick of ticks(left, right, 7)) {
      svg.append(make("line", {class: "axis", x1: x(tick), x2: x(tick), y1: 20, y2: 380}));
      svg.append(make("text", {x: x(tick), y: 398, "text-anchor": "middle"}, short(tick)));
    }
    for (const tick of ticks(low, high, 6)) {
      const place = 380 - 360 * (tick - low) / (high - low);
      svg.append(make("line", {class: "axis", x1: 70, x2: 885, y1: place, y2: place}));
      svg.append(make("text", {x: 62, y: place + 4, "text-anchor": "end"}, short(log ? 10 ** tick : tick)));
    }
    svg.append(make("text", {x: 478, y: 415, "text-anchor": "middle"}, "step"));
    for (const line of lines) {
      const drawn = line.points.map(([step, number]) => `${x(step).toFixed(1)},${y(number).toFixed(1)}`);
      if (drawn.length === 1) drawn.push(drawn[0].replace(/^[\d.]+/, (first) => String(Number(first) + 3)));
      const curve = make("polyline", {points: drawn.join(" "), stroke: colour(line.run)});
      curve.append(make("title", {}, data.runs[line.run]));
      const [, last] = line.points[line.points.length - 1];
      curve.addEventListener("pointerenter", () => {
        curve.classList.add("chosen");
        said.textContent = `${data.runs[line.run]}: ${short(last)} at the end`;
      });
      curve.addEventListener("pointerleave", () => curve.classList.remove("chosen"));
      svg.append(curve);
    }
    said.textContent = `${lines.length} runs; point at a curve to see which run it is`;
  };
  for (const row of rows.slice(0, data.runs.length)) {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.style.accentColor = colour(row.number);
    box.setAttribute("aria-label", "draw this run");
    box.addEventListener("change", () => {
      box.checked ? hidden.delete(row.number) : hidden.add(row.number);
      row.classList.toggle("dim", !box.checked);
      draw();
    });
    row.cells[0].prepend(box);
  }
  select.addEventListener("change", draw);
  logarithmic.addEventListener("change", draw);
  draw();
})();
