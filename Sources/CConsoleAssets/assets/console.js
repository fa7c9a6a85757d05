// SPDX-License-Identifier: Apache-2.0
// The first page: everything comes from one stream of snapshots. Values are shown through textContent only.
"use strict";

const byID = id => document.getElementById(id);

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  for (const child of children) made.append(child);
  return made;
}

function fill(id, ...children) { byID(id).replaceChildren(...children); }

function table(header, rows) {
  const head = element("tr", "", ...header.map(text => element("th", text.startsWith("#") ? "number" : "", text.replace("#", ""))));
  const body = rows.map(row => element("tr", "", ...row.map((cell, at) => {
    const made = element("td", header[at].startsWith("#") ? "number" : "");
    made.append(cell);
    return made;
  })));
  return element("table", "", element("thead", "", head), element("tbody", "", ...body));
}

const stateClass = state => ({
  SUCCEEDED: "good", READY: "good", FAILED: "bad", LOST: "bad", RUNNING: "run", PENDING: "soft", CANCELLED: "warn", RETRYING: "warn",
  DRAINING: "warn", STARTING: "run",
}[state] || "soft");

const pill = (text, kind) => element("span", `pill ${kind || stateClass(text)}`, text);
const megabytes = bytes => bytes >= 1e9 ? (bytes / 1e9).toFixed(1) + " GB" : (bytes / 1e6).toFixed(0) + " MB";

function seconds(from, to) {
  if (!from) return "";
  const value = Math.max(0, ((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000);
  return value < 60 ? value.toFixed(value < 10 ? 1 : 0) + " s" : Math.floor(value / 60) + "m" + Math.floor(value % 60) + "s";
}

const openRuns = new Map();

function showRuns(runs) {
  if (runs.length === 0) return;
  fill("runs", ...runs.map((run, index) => {
    const box = element("details", "");
    box.open = openRuns.has(run.run_id) ? openRuns.get(run.run_id) : index === 0;
    box.addEventListener("toggle", () => openRuns.set(run.run_id, box.open));
    const done = run.tasks.filter(task => task.state === "SUCCEEDED").length;
    box.append(element("summary", "", element("b", "", run.name), element("span", "soft", `run ${run.run_id}`), pill(run.state),
      element("span", "soft", `${done}/${run.tasks.length} tasks`),
      element("span", "soft", seconds(run.started_at || run.submitted_at, run.ended_at))));
    if (box.open) {
      box.append(dagChart(run.tasks.map(task => ({
        key: task.task_key, depends: task.depends_on, state: task.state,
        label: [task.workers.join("+"), seconds(task.started_at, task.ended_at)].filter(Boolean).join(" · ") || task.state.toLowerCase(),
      }))));
      box.append(table(["Task", "State", "Where", "#Units", "#Time", "Result"], run.tasks.map(task => [
        task.task_key, pill(task.state), task.workers.join(" + "),
        task.units_total ? `${task.units_done}/${task.units_total}` : "", seconds(task.started_at, task.ended_at),
        task.error ? task.error.message : task.summary,
      ])));
    }
    return box;
  }));
}

function showLoss(loss) {
  if (!loss || loss.points.length < 2) return;
  const last = loss.points[loss.points.length - 1];
  fill("loss", lineChart([loss.points], { xLabel: "steps" }),
    element("div", "legend", element("span", "", `run ${loss.run_id}`), element("span", "", `loss ${last[1].toFixed(3)}`),
      element("span", "", loss.tokens_per_second ? `${shortNumber(loss.tokens_per_second)} tokens/s` : "")));
}

function showTraffic(traffic) {
  if (!traffic || traffic.total === 0) return;
  const rate = traffic.seconds.map((count, at) => [at - traffic.seconds.length + 1, count]);
  fill("traffic", lineChart([rate], { xLabel: "s", floor: 0, height: 130 }),
    table(["Last 15 minutes", "#p50", "#p95", "#p99"], [
      ["first token (ms)", ...["p50", "p95", "p99"].map(key => shortNumber(traffic.first_token_ms[key]))],
      ["whole answer (ms)", ...["p50", "p95", "p99"].map(key => shortNumber(traffic.total_ms[key]))],
    ]));
}

function showEndpoints(endpoints) {
  if (endpoints.length === 0) return;
  fill("endpoints", table(["Endpoint", "Kind", "Model", "Replicas", "On", "#Requests", "#Errors", "#In flight"], endpoints.map(one => {
    const ready = one.replicas.filter(replica => replica.state === "READY").length;
    return [one.name, one.kind, one.model, pill(`${ready}/${one.desired_replicas}`, ready >= one.desired_replicas ? "good" : "warn"),
      one.replicas.map(replica => replica.node).join(" + "), String(one.requests), String(one.errors),
      String(one.replicas.reduce((sum, replica) => sum + replica.outstanding, 0))];
  })));
}

function showNodes(nodes) {
  fill("nodes", table(["Node", "State", "#Slots", "#Memory", "Running"], nodes.map(node =>
    [node.name, pill(node.state), String(node.slots), megabytes(node.resident_bytes), node.running.join(", ")])));
}

function showDrift(drift) {
  if (drift.length === 0) return;
  fill("drift", table(["Table", "Column", "#PSI", "#KS", "#JS", ""], drift.map(one => [one.table, one.column,
    ...["psi", "ks", "js"].map(key => one[key] === null || one[key] === undefined ? "-" : one[key].toFixed(3)),
    one.alert ? pill("drift", "bad") : pill("ok", "good")])));
}

function show(data) {
  const nodesReady = data.nodes.filter(node => node.state === "READY").length;
  const running = data.runs.filter(run => run.state === "RUNNING").length;
  const fact = (label, value) => element("span", "", label + " ", element("b", "", value));
  fill("strip", fact("Nodes", `${nodesReady}/${data.nodes.length}`), fact("Runs", `${running} running`),
    fact("Endpoints", String(data.endpoints.length)), fact("Requests", String(data.traffic.total)),
    fact("Free", megabytes(data.storage_free_bytes)));
  const attention = byID("attention");
  attention.hidden = data.alerts.length === 0;
  attention.replaceChildren(element("h2", "", "Needs attention"), ...data.alerts.map(text => element("div", "warn", text)));
  showRuns(data.runs);
  showLoss(data.loss);
  showTraffic(data.traffic);
  showEndpoints(data.endpoints);
  showNodes(data.nodes);
  showDrift(data.drift);
  fill("foot", `version ${data.version} · epoch ${data.epoch} · ${new Date(data.time).toLocaleTimeString()}`);
}

function connect() {
  const source = new EventSource("/api/2.0/console/events");
  const live = byID("live");
  source.addEventListener("dashboard", event => {
    live.textContent = "live";
    live.className = "pill good";
    show(JSON.parse(event.data));
  });
  source.addEventListener("error", () => {
    live.textContent = "reconnecting";
    live.className = "pill warn";
    // A refused stream is not retried by the browser.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  });
}

connect();
