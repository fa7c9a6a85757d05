// SPDX-License-Identifier: Apache-2.0
// Small SVG drawings. Text is only ever set through textContent.
"use strict";

const svgSpace = "http://www.w3.org/2000/svg";

function svg(name, attributes, ...children) {
  const element = document.createElementNS(svgSpace, name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  for (const child of children) element.append(child);
  return element;
}

function svgText(x, y, text, attributes) {
  const element = svg("text", { x, y, ...(attributes || {}) });
  element.textContent = text;
  return element;
}

function shortNumber(value) {
  if (!isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size >= 1e6) return (value / 1e6).toFixed(1) + "M";
  if (size >= 1e4) return (value / 1e3).toFixed(1) + "k";
  return size >= 100 || Number.isInteger(value) ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/// points: [[x, y], ...]; further series share the x axis and scale.
function lineChart(series, { height = 180, xLabel = "", floor = null } = {}) {
  const width = 640, left = 44, right = 8, top = 8, bottom = 22;
  const all = series.flat();
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img" });
  if (all.length === 0) return chart;
  const xs = all.map(point => point[0]), ys = all.map(point => point[1]);
  const x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1);
  const y0 = floor === null ? Math.min(...ys) : floor, y1 = Math.max(...ys, y0 + (floor === null ? 1e-9 : 1));
  const px = x => left + (x - x0) / (x1 - x0) * (width - left - right);
  const py = y => height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom);
  for (let tick = 0; tick <= 4; tick++) {
    const value = y0 + (y1 - y0) * tick / 4;
    chart.append(svg("line", { x1: left, x2: width - right, y1: py(value), y2: py(value), class: "grid" }));
    chart.append(svgText(left - 6, py(value) + 4, shortNumber(value), { "text-anchor": "end" }));
  }
  chart.append(svgText(left, height - 5, shortNumber(x0)));
  chart.append(svgText(width - right, height - 5, `${shortNumber(x1)} ${xLabel}`, { "text-anchor": "end" }));
  series.forEach((points, index) => {
    const path = points.map((point, at) => `${at ? "L" : "M"}${px(point[0]).toFixed(1)} ${py(point[1]).toFixed(1)}`).join("");
    chart.append(svg("path", { d: path, class: index ? "line2" : "line" }));
  });
  return chart;
}

/// A task graph, left to right by depth. tasks: [{key, depends, state, label}]
function dagChart(tasks) {
  const byKey = new Map(tasks.map(task => [task.key, task]));
  const depths = new Map();
  const depth = (key, seen) => {
    if (depths.has(key)) return depths.get(key);
    if (seen.has(key) || !byKey.has(key)) return 0;
    seen.add(key);
    const value = Math.max(-1, ...byKey.get(key).depends.map(up => depth(up, seen))) + 1;
    depths.set(key, value);
    return value;
  };
  tasks.forEach(task => depth(task.key, new Set()));
  const columns = [];
  tasks.forEach(task => (columns[depths.get(task.key)] ||= []).push(task));
  const boxWidth = 148, boxHeight = 40, gapX = 36, gapY = 12;
  const rows = Math.max(1, ...columns.map(column => column.length));
  const width = columns.length * (boxWidth + gapX) - gapX + 4, height = rows * (boxHeight + gapY) - gapY + 4;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "dag", role: "img" });
  chart.style.maxWidth = width + "px";
  const place = new Map();
  columns.forEach((column, x) => column.forEach((task, y) => {
    const offset = (rows - column.length) * (boxHeight + gapY) / 2;
    place.set(task.key, { x: 2 + x * (boxWidth + gapX), y: 2 + offset + y * (boxHeight + gapY) });
  }));
  for (const task of tasks) for (const up of task.depends) {
    const from = place.get(up), to = place.get(task.key);
    if (!from) continue;
    const a = from.x + boxWidth, b = from.y + boxHeight / 2, c = to.x, d = to.y + boxHeight / 2;
    chart.append(svg("path", { d: `M${a} ${b}C${a + gapX / 2} ${b} ${c - gapX / 2} ${d} ${c} ${d}` }));
  }
  for (const task of tasks) {
    const at = place.get(task.key);
    chart.append(svg("g", { class: `node ${task.state}` },
      svg("rect", { x: at.x, y: at.y, width: boxWidth, height: boxHeight, rx: 7 }),
      svgText(at.x + 10, at.y + 17, task.key.slice(0, 20)),
      svgText(at.x + 10, at.y + 32, task.label.slice(0, 25), { class: "sub" })));
  }
  return chart;
}
