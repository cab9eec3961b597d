"use strict";
const $ = (id) => document.getElementById(id);
const about = JSON.parse($("about").textContent);
const { sources, scores, ranges, classes } = about;
const DAY = 86400000;
const dayOf = (text) => Date.parse(`${text}T00:00:00Z`) / DAY;
const textOf = (day) => new Date(Math.round(day) * DAY).toISOString().slice(0, 10);
const MISSING = NaN;

// Scales rise or fall in lightness alone, so that they can be read in grey; warm is dry.
const LOOKS = {
  soil_moisture: { label: "Soil moisture", unit: "m³ m⁻³", digits: 3, ends: ["dry", "wet"], range: ranges.soil_moisture,
    colours: ["#fbf3d3", "#e6dca0", "#a9cfa0", "#5fb0a8", "#2f84a3", "#25558c", "#1b2558"] },
  soil_moisture_percentile: { label: "Percentile", unit: "%", digits: 0, ends: ["dry", "wet"], range: [0, 100],
    colours: ["#3d1705", "#7d3a0e", "#b9722c", "#dcae6c", "#ecdcb4", "#e6efe6", "#e8f6fb"] },
  drought_class: { label: "Drought class", unit: "", digits: 0, range: [-1, classes.length - 1],
    steps: ["#f4f6f6", "#f7de5a", "#f0b04c", "#dc7a2c", "#b3302a", "#54101f"], names: ["none", ...classes.map((of) => of.name)] },
  soil_moisture_std: { label: "Spread", more: "standard deviation of the forecast", unit: "m³ m⁻³", digits: 3, ends: ["sure", "unsure"], range: ranges.soil_moisture_std,
    colours: ["#f6f3f8", "#d9cfe6", "#b3a1cf", "#8a70b2", "#633f91", "#3a1760"] },
  error: { label: "Error", more: "forecast − observed", unit: "m³ m⁻³", digits: 3, ends: ["too dry", "too wet"], range: [-0.1, 0.1],
    colours: ["#42200a", "#7f4a20", "#a98a6c", "#b9b9b9", "#bcd3e2", "#d6ecf8", "#f1fbff"] },
};
const SCORES = { pearson_r: ["Correlation R", [0, 1]], ubrmse: ["ubRMSE", [0, 0.1]], rmse: ["RMSE", [0, 0.15]], bias: ["Bias", [-0.1, 0.1]],
  skill_persistence: ["Skill against persistence", [-0.5, 1]], skill_climatology: ["Skill against climatology", [-0.5, 1]] };
const SCORE_COLOURS = ["#00204c", "#31446b", "#666970", "#958f78", "#cbba69", "#ffe945"];
const WORSE = [...SCORE_COLOURS].reverse();
const KEYS = ["show", "layer", "model", "beside", "issue", "lead", "dots", "along", "at", "view"];
const state = {};

// ---- Data: from this file, or from the server ----
const kept = new Map();
function remembered(key, make) {
  if (!kept.has(key)) {
    kept.set(key, make());
    kept.get(key).catch(() => kept.delete(key));
    if (kept.size > 48) kept.delete(kept.keys().next().value);
  }
  return kept.get(key);
}
const inflate = async (bytes) => new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
const embedded = (id) => inflate(Uint8Array.from(atob($(id).textContent), (c) => c.charCodeAt(0)));
function unpacked(raw, plane) {
  const n = raw.length / 2, codes = new Uint16Array(n);
  for (let i = 0; i < n; i++) codes[i] = raw[i] | (raw[n + i] << 8);
  for (let i = plane; i < n; i++) codes[i] += codes[i - plane];
  return codes;
}
async function asked(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).description || `the server answered ${answer.status}`);
  return answer;
}
const cellsOf = (source) => source.shape[0] * source.shape[1];
const block = (source, name) => remembered(`${source.id} ${name}`, async () =>
  unpacked(await embedded(`data:${source.id}:${name}`), cellsOf(source) * source.leads.length));
async function codesOf(source, name, issue, lead) {
  if (!about.served) {
    const start = (issue * source.leads.length + lead) * cellsOf(source);
    return (await block(source, name)).subarray(start, start + cellsOf(source));
  }
  const path = `maps/${source.id}/${name}?init=${source.issued[issue]}&lead=${source.leads[lead]}`;
  return remembered(path, async () => unpacked(await inflate(await (await asked(path)).arrayBuffer()), cellsOf(source)));
}
const decoded = (code, of) => (code ? of.low + (code - 1) * of.step : MISSING);
async function valuesOf(source, name, issue, lead) {
  const of = source.quantities[name];
  return Float32Array.from(await codesOf(source, name, issue, lead), (code) => decoded(code, of));
}
// Values of all quantities at a cell: along the days of issue at a lead (from `first` on), and along the leads of a day.
async function seriesAt(source, row, column, issue, lead) {
  if (about.served) {
    const path = `series/${source.id}?row=${row * source.every}&column=${column * source.every}&init=${source.issued[issue]}&lead=${source.leads[lead]}`;
    return remembered(path, async () => (await asked(path)).json());
  }
  const found = { first: 0, days: {}, leads: {}, normal: null }, n = cellsOf(source), cell = row * source.shape[1] + column, many = source.leads.length;
  for (const [name, of] of Object.entries(source.quantities)) {
    const codes = await block(source, name);
    found.days[name] = source.issued.map((_, i) => decoded(codes[(i * many + lead) * n + cell], of));
    found.leads[name] = source.leads.map((_, k) => decoded(codes[(issue * many + k) * n + cell], of));
  }
  if (source.normal) {
    const of = new Float32Array((await remembered(`normal ${source.id}`, () => embedded(`normal:${source.id}`))).buffer);
    if (!isNaN(of[cell])) found.normal = [of[cell], of[n + cell], of[2 * n + cell]];
  }
  return found;
}

// ---- Sources, and what of them is shown ----
const observedOf = (source) => sources.find((of) => of.observed && !of.points && of !== source && of.layer === source.layer)
  || sources.find((of) => of.observed && of !== source && of.layer === source.layer);
const stationsOf = (source) => sources.find((of) => of.observed && of.points && of.layer === source.layer);
function shownOf(source) {
  const own = Object.keys(source.quantities).filter((name) => LOOKS[name]);
  if (own.includes("soil_moisture_percentile")) own.push("drought_class");
  if (own.includes("soil_moisture") && !source.observed && observedOf(source)) own.push("error");
  return Object.keys(LOOKS).filter((name) => own.includes(name));
}
const sourceOf = (model, layer) => sources.find((of) => of.model === model && of.layer === layer);
const main = () => sourceOf(state.model, state.layer);
const other = () => (state.beside ? sourceOf(state.beside, state.layer) : undefined);
// Positions of a moment in a source: observations are of the valid day, forecasts of the same day of issue and lead.
function momentOf(source) {
  const valid = dayOf(state.issue) + state.lead;
  if (source.observed) {
    const issue = source.issued.indexOf(source === main() ? state.issue : textOf(valid));
    return issue < 0 ? null : { issue, lead: 0, valid: source === main() ? dayOf(state.issue) : valid };
  }
  const issue = source.issued.indexOf(state.issue), lead = source.leads.indexOf(state.lead);
  return issue < 0 || lead < 0 ? null : { issue, lead, valid };
}
// Nearest position in evenly changing values, -1 outside of them by more than half a step.
function nearest(values, value) {
  const n = values.length, step = n > 1 ? (values[n - 1] - values[0]) / (n - 1) : 0.1;
  let at = Math.min(n - 1, Math.max(0, Math.round((value - values[0]) / step)));
  while (at > 0 && Math.abs(values[at - 1] - value) < Math.abs(values[at] - value)) at--;
  while (at < n - 1 && Math.abs(values[at + 1] - value) < Math.abs(values[at] - value)) at++;
  return Math.abs(values[at] - value) <= Math.abs(step) * 0.75 ? at : -1;
}
function stationNear(source, lat, lon, most) {
  let best = -1, least = most;
  const wide = Math.cos((lat * Math.PI) / 180);
  source.lat.forEach((of, k) => {
    const apart = Math.hypot(of - lat, (source.lon[k] - lon) * wide);
    if (apart <= least) [best, least] = [k, apart];
  });
  return best;
}
// Row and column of a place in a source, null outside of it.
function cellOf(source, [lat, lon]) {
  if (source.points) {
    const row = stationNear(source, lat, lon, 0.02);
    return row < 0 ? null : [row, 0];
  }
  const row = nearest(source.lat, lat), column = nearest(source.lon, lon);
  return row < 0 || column < 0 ? null : [row, column];
}
async function field(source, moment) {
  if (!moment || !shownOf(source).includes(state.show)) return null;
  const { issue, lead } = moment;
  if (state.show === "drought_class" && source.quantities.soil_moisture_percentile)
    return (await valuesOf(source, "soil_moisture_percentile", issue, lead)).map((value) =>
      isNaN(value) ? value : classes.reduce((found, of, k) => (value <= of.below ? k : found), -1));
  if (state.show !== "error") return valuesOf(source, state.show, issue, lead);
  const forecast = await valuesOf(source, "soil_moisture", issue, lead), truth = observedOf(source);
  const day = truth.issued.indexOf(textOf(moment.valid)), found = new Float32Array(forecast.length).fill(MISSING);
  if (day < 0) return found;
  const observed = await valuesOf(truth, "soil_moisture", day, 0);
  if (source.points) return forecast.map((value, k) => {
    const cell = cellOf(truth, [source.lat[k], source.lon[k]]);
    return cell ? value - observed[cell[0] * truth.shape[1] + cell[1]] : MISSING;
  });
  if (truth.points) return found; // drawn as dots
  const rows = source.lat.map((lat) => nearest(truth.lat, lat)), columns = source.lon.map((lon) => nearest(truth.lon, lon));
  rows.forEach((row, i) => columns.forEach((column, k) => {
    const at = i * source.shape[1] + k;
    if (row >= 0 && column >= 0) found[at] = forecast[at] - observed[row * truth.shape[1] + column];
  }));
  return found;
}

// ---- Colours ----
const tables = new Map();
function coloursOf(stops) {
  if (tables.has(stops)) return tables.get(stops);
  const parts = stops.map((hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16))), found = [];
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (parts.length - 1), low = Math.min(Math.floor(at), parts.length - 2);
    found.push(parts[low].map((of, k) => Math.round(of + (parts[low + 1][k] - of) * (at - low))));
  }
  return tables.set(stops, found).get(stops);
}
function colour(look, value) {
  if (look.steps) return coloursOf(look.steps)[Math.round(((value + 1) / (look.steps.length - 1)) * 255)];
  const [low, high] = look.range;
  return coloursOf(look.colours)[Math.max(0, Math.min(255, Math.round(((value - low) / (high - low)) * 255)))];
}
const css = (rgb) => `rgb(${rgb.join(",")})`;
const said = (look, value) => (isNaN(value) ? "no value" : look.names ? look.names[value + 1] : `${value.toFixed(look.digits)} ${look.unit}`.trim());

// ---- Maps ----
const panels = [...document.querySelectorAll(".panel")].map((figure) => ({ figure, canvas: figure.querySelector("canvas"),
  caption: figure.querySelector("figcaption"), readout: figure.querySelector(".readout"), source: null, values: null, image: null, dots: [] }));
// Longitudes and latitudes of the columns and rows that a map has; stations lie on a plain one around them.
function axesOf(source) {
  if (source.axes) return source.axes;
  if (!source.points) return (source.axes = { lat: source.lat, lon: source.lon, tall: source.tall });
  const pad = 0.5, ends = (of, sign) => [Math.min(...of) - pad, Math.max(...of) + pad].sort((a, b) => sign * (a - b));
  const [west, east] = ends(source.lon, 1), [north, south] = ends(source.lat, -1), step = 0.05;
  const along = (first, last) => Array.from({ length: Math.max(2, Math.round(Math.abs(last - first) / step) + 1) }, (_, k) => first + Math.sign(last - first) * step * k);
  return (source.axes = { lat: along(north, south), lon: along(west, east), tall: 1 / Math.cos(((north + south) / 360) * Math.PI) });
}
// Position among values, between and beyond them too.
function between(values, value) {
  const n = values.length;
  if (n < 2) return 0;
  const falls = values[n - 1] < values[0];
  let low = 0, high = n - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] > value === falls) low = middle; else high = middle;
  }
  return low + (value - values[low]) / (values[high] - values[low]);
}
const at = (values, position) => {
  const low = Math.max(0, Math.min(values.length - 2, Math.floor(position)));
  return values.length < 2 ? values[0] : values[low] + (position - low) * (values[low + 1] - values[low]);
};
// How a panel's columns and rows lie on its canvas: all of them, or those of state.view.
function placed(panel) {
  const { lat, lon, tall } = axesOf(panel.source), rect = panel.canvas.getBoundingClientRect();
  let scale = Math.min(rect.width / lon.length, rect.height / lat.length / tall);
  let middle = [(lon.length - 1) / 2, (lat.length - 1) / 2];
  if (state.view) {
    const step = Math.abs(lon[lon.length - 1] - lon[0]) / Math.max(1, lon.length - 1) || 0.1;
    scale = (rect.width * step) / state.view[2];
    middle = [between(lon, state.view[1]), between(lat, state.view[0])];
  }
  const x = (column) => rect.width / 2 + (column - middle[0]) * scale, y = (row) => rect.height / 2 + (row - middle[1]) * scale * tall;
  return { x, y, scale, tall, xOf: (value) => x(between(lon, value)), yOf: (value) => y(between(lat, value)), width: rect.width, height: rect.height,
    place: (px, py) => [at(lat, middle[1] + (py - rect.height / 2) / scale / tall), at(lon, middle[0] + (px - rect.width / 2) / scale)],
    span: (rect.width / scale) * (Math.abs(lon[lon.length - 1] - lon[0]) / Math.max(1, lon.length - 1) || 0.1) };
}
function sized(panel) {
  const { lat, lon, tall } = axesOf(panel.source), width = panel.figure.clientWidth;
  const height = Math.round(Math.max(120, Math.min((width * lat.length * tall) / lon.length, Math.max(280, window.innerHeight * 0.52))));
  const dense = window.devicePixelRatio || 1;
  panel.canvas.style.height = `${height}px`;
  panel.canvas.width = Math.round(width * dense);
  panel.canvas.height = Math.round(height * dense);
  return dense;
}
function imageOf(panel) {
  const [rows, columns] = panel.source.shape, image = new ImageData(columns, rows), look = LOOKS[state.show];
  panel.values.forEach((value, k) => {
    if (!isNaN(value)) image.data.set([...colour(look, value), 255], k * 4);
  });
  const canvas = new OffscreenCanvas(columns, rows);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
function draw(panel) {
  if (!panel.source) return;
  const dense = sized(panel), context = panel.canvas.getContext("2d"), on = placed(panel);
  context.scale(dense, dense);
  context.imageSmoothingEnabled = false;
  if (panel.values && !panel.source.points) {
    panel.image ||= imageOf(panel);
    context.drawImage(panel.image, on.x(-0.5), on.y(-0.5), panel.source.shape[1] * on.scale, panel.source.shape[0] * on.scale * on.tall);
  }
  context.beginPath();
  for (const line of about.borders)
    for (let k = 0; k < line.length; k += 2) context[k ? "lineTo" : "moveTo"](on.xOf(line[k]), on.yOf(line[k + 1]));
  for (const [wide, shade] of [[2.4, "rgba(255,255,255,.35)"], [0.9, "rgba(20,28,34,.75)"]]) {
    context.lineWidth = wide; context.strokeStyle = shade;
    context.stroke();
  }
  for (const dot of panel.dots) {
    context.beginPath();
    context.arc(on.xOf(dot.lon), on.yOf(dot.lat), panel.dots.length > 400 ? 3 : 5, 0, 7);
    context.fillStyle = isNaN(dot.value) ? "#8a8f94" : css(colour(dot.look, dot.value));
    context.fill();
    context.lineWidth = 2.2; context.strokeStyle = "#fff"; context.stroke();
    context.lineWidth = 1; context.strokeStyle = "#11181d"; context.stroke();
  }
  if (state.at) {
    const x = on.xOf(state.at[1]), y = on.yOf(state.at[0]);
    for (const [wide, shade] of [[4, "#fff"], [1.6, "#11181d"]]) {
      context.lineWidth = wide; context.strokeStyle = shade;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { context.moveTo(x + 4 * dx, y + 4 * dy); context.lineTo(x + 13 * dx, y + 13 * dy); }
      context.stroke();
    }
  }
}
// Dots of a panel: scores, the stations of a source, or observations at stations on the valid day.
async function dotsOf(source, moment, values) {
  const look = LOOKS[state.show], error = state.show === "error";
  if (state.dots.startsWith("score ")) {
    const metric = state.dots.slice(6), found = runOf(source);
    if (!found || !found.table.metrics.includes(metric)) return [];
    const { table, run, lead } = found, of = table.value[run][lead][table.metrics.indexOf(metric)], scale = scoreLook(metric);
    return of.map((value, k) => ({ lat: table.lat[k], lon: table.lon[k], name: table.sites[k], value: value ?? MISSING, look: scale }));
  }
  if (source.points && values) return source.lat.map((lat, k) => ({ lat, lon: source.lon[k], name: source.names[k], value: values[k], look }));
  const truth = state.dots === "observed" && stationsOf(source);
  if (!truth || !moment || !(error || state.show === "soil_moisture")) return [];
  const day = truth.issued.indexOf(textOf(moment.valid));
  const observed = day < 0 ? truth.lat.map(() => MISSING) : await valuesOf(truth, "soil_moisture", day, 0);
  const forecast = error && (await valuesOf(source, "soil_moisture", moment.issue, moment.lead));
  return truth.lat.map((lat, k) => {
    const cell = error && cellOf(source, [lat, truth.lon[k]]);
    const value = !error ? observed[k] : cell ? forecast[cell[0] * source.shape[1] + cell[1]] - observed[k] : MISSING;
    return { lat, lon: truth.lon[k], name: truth.names[k], value, look };
  });
}
const scoreLook = (metric) => ({ label: SCORES[metric][0], unit: "", digits: 3, range: SCORES[metric][1],
  colours: metric === "bias" ? LOOKS.error.colours : /rmse/.test(metric) ? WORSE : SCORE_COLOURS });
// Run and lead in the tables of scores that are those of a source.
function runOf(source) {
  for (const table of scores) {
    const lead = table.leads.indexOf(state.lead);
    const run = table.runs.findIndex((of) => source.model === of.model || source.model.startsWith(`${of.model}, ${of.weather}`));
    if (table.layer === source.layer && run >= 0 && lead >= 0) return { table, run, lead };
  }
  return null;
}
const ahead = (days) => `${days} day${days === 1 ? "" : "s"} ahead`;
function captionOf(source, moment) {
  if (!moment) return [source.model, source.observed ? "no observations of this day" : "no forecast of this day and lead"];
  return [`${source.model}, ${textOf(moment.valid)}`, source.observed ? `observed, ${source.layer}`
    : moment.valid === dayOf(source.issued[moment.issue]) ? `${source.layer}, of the day itself` : `${source.layer}; issued ${source.issued[moment.issue]}, ${ahead(moment.valid - dayOf(source.issued[moment.issue]))}`];
}
function legend() {
  const dotted = state.dots.startsWith("score ") ? scoreLook(state.dots.slice(6)) : null, box = $("legend");
  box.replaceChildren(...[LOOKS[state.show], dotted].filter(Boolean).map((look) => {
    const title = make("div", { textContent: `${look === dotted ? "Dots: " : ""}${look.label}${look.more ? `, ${look.more}` : ""}${look.unit ? ` [${look.unit}]` : ""}` });
    if (look.names) return make("div", {}, title, make("div", { className: "classes" }, ...look.names.map((name, k) =>
      make("span", {}, coloured(css(colour(look, k - 1))), name))));
    const [low, high] = look.range, [dry, wet] = look.ends || ["", ""], share = (value) => (value - low) / (high - low);
    return make("div", {}, title, make("div", { className: "bar" }, ...Array.from({ length: 64 }, (_, k) => coloured(css(colour(look, low + ((k + 0.5) / 64) * (high - low)))))),
      make("div", { className: "ticks" }, ...ticksOf(low, high, 5).map((value) => {
        const tick = make("span", { textContent: value.toFixed(look.digits > 2 ? (high - low < 0.06 ? 3 : 2) : look.digits) });
        tick.style.left = `${share(value) * 100}%`;
        return tick;
      })), make("div", { className: "ends" }, make("span", { textContent: dry }), make("span", { textContent: wet })));
  }));
  box.setAttribute("aria-label", `Scale: ${[...box.querySelectorAll(":scope > div")].map((of) => of.textContent).join("; ")}; hatched: no value`);
}
function coloured(shade) {
  const part = document.createElement("i");
  part.style.background = shade;
  return part;
}
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
function table(element, caption, head, rows) {
  const row = (cells, tag) => make("tr", {}, ...cells.map((cell, k) => (k && tag === "td" ? make("td", { textContent: cell }) : make("th", { textContent: cell, scope: tag === "td" ? "row" : "col" }))));
  element.replaceChildren(...(rows.length ? [make("caption", { textContent: caption }), make("thead", {}, row(head, "th")), make("tbody", {}, ...rows.map((cells) => row(cells, "td")))] : []));
}
// Shares of cells in each class, or quantiles over cells: the map for those who do not see it.
function numbers() {
  const look = LOOKS[state.show], shown = panels.filter((panel) => panel.source), lines = [];
  const sorted = shown.map((panel) => Array.from(panel.source.points || !panel.values?.some((v) => !isNaN(v)) ? panel.dots.map((dot) => dot.value) : panel.values).filter((v) => !isNaN(v)).sort((a, b) => a - b));
  const every = (what, of) => lines.push([what, ...sorted.map((values) => (values.length ? of(values) : "no value"))]);
  if (look.names) look.names.forEach((name, k) => every(name, (values) => `${((100 * values.filter((v) => v === k - 1).length) / values.length).toFixed(1)} %`));
  else for (const share of [0, 0.25, 0.5, 0.75, 1])
    every(["lowest", "lower quartile", "median", "upper quartile", "highest"][share * 4], (values) => said(look, values[Math.round(share * (values.length - 1))]));
  lines.push(["cells with a value", ...sorted.map((values) => String(values.length))]);
  table($("numbers"), `${look.label}${look.names ? ", share of cells" : " over cells"}`, ["of the cells", ...shown.map((panel) => panel.source.model)], lines);
}
let drawn = 0;
async function drawMaps() {
  const turn = ++drawn;
  const wanted = [main(), other()];
  const found = await Promise.all(wanted.map(async (source) => {
    if (!source) return null;
    const moment = momentOf(source), values = await field(source, moment);
    return { source, moment, values, dots: await dotsOf(source, moment, values) };
  }));
  if (turn !== drawn) return;
  $("board").classList.toggle("two", Boolean(found[1]));
  panels.forEach((panel, k) => {
    panel.figure.hidden = !found[k];
    Object.assign(panel, { source: null, values: null, dots: [], image: null }, found[k]);
    if (!found[k]) return;
    const [title, more] = captionOf(panel.source, panel.moment);
    panel.caption.replaceChildren(title, make("span", { textContent: panel.values || panel.dots.length ? more : `${more}; it holds no ${LOOKS[state.show].label.toLowerCase()}` }));
    panel.canvas.setAttribute("aria-label", `${LOOKS[state.show].label}, ${title}, ${more}`);
  });
  panels.forEach(draw);
  panels.forEach((panel) => readout(panel));
  legend();
  numbers();
}

// ---- The cross, its value, and moving it ----
const degrees = ([lat, lon]) => `${Math.abs(lat).toFixed(2)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(2)}° ${lon < 0 ? "W" : "E"}`;
function valueAt(panel, place) {
  const cell = panel.source && cellOf(panel.source, place);
  return cell && panel.values ? panel.values[cell[0] * panel.source.shape[1] + cell[1]] : MISSING;
}
function dotAt(panel, place, pixels = 9) {
  const on = placed(panel), apart = (dot) => Math.hypot(on.xOf(dot.lon) - on.xOf(place[1]), on.yOf(dot.lat) - on.yOf(place[0]));
  return panel.dots.reduce((best, dot) => (apart(dot) < (best ? apart(best) : pixels) ? dot : best), null);
}
function wordsAt(panel, place) {
  const look = LOOKS[state.show], dot = dotAt(panel, place), value = valueAt(panel, place);
  const parts = [degrees(place), panel.source.points ? "" : said(look, value), dot ? `${dot.name}: ${dot.look === look ? "" : `${dot.look.label} `}${said(dot.look, dot.value)}` : ""];
  return parts.filter(Boolean).join(" · ");
}
function readout(panel, place = state.at) {
  panel.readout.textContent = panel.source && place ? wordsAt(panel, place) : "";
}
// The centre of the cell, or the station, at a place; null where there is neither.
function snapped(panel, place) {
  const dot = dotAt(panel, place, panel.source.points ? 40 : 9);
  if (dot) return [dot.lat, dot.lon];
  const cell = panel.source.points ? null : cellOf(panel.source, place);
  return cell && [panel.source.lat[cell[0]], panel.source.lon[cell[1]]];
}
function moved(panel, down, right) {
  const source = panel.source;
  if (source.points) {
    const [lat, lon] = state.at || [source.lat[0], source.lon[0]], ahead = (k) => (right ? right * (source.lon[k] - lon) : -down * (source.lat[k] - lat));
    const apart = (k) => Math.hypot(source.lat[k] - lat, source.lon[k] - lon);
    const order = source.lat.map((_, k) => k).filter((k) => ahead(k) > 1e-6 && ahead(k) >= apart(k) / 2).sort((a, b) => apart(a) - apart(b));
    return order.length ? [source.lat[order[0]], source.lon[order[0]]] : state.at;
  }
  const [rows, columns] = source.shape, cell = (state.at && cellOf(source, state.at)) || [rows >> 1, columns >> 1];
  const row = Math.max(0, Math.min(rows - 1, cell[0] + down)), column = Math.max(0, Math.min(columns - 1, cell[1] + right));
  return [source.lat[row], source.lon[column]];
}
function zoomed(panel, by, place) {
  const on = placed(panel), middle = place || state.at || on.place(on.width / 2, on.height / 2), now = on.place(on.width / 2, on.height / 2);
  const span = Math.min(on.span * by, 400);
  // What lies under the pointer stays there.
  state.view = [middle[0] + (now[0] - middle[0]) * by, middle[1] + (now[1] - middle[1]) * by, span];
  const whole = axesOf(panel.source).lon;
  if (span > Math.abs(whole[whole.length - 1] - whole[0]) * 1.3) state.view = null;
  panels.forEach(draw);
  written();
}
for (const panel of panels) {
  const { canvas } = panel;
  let from = null;
  const placeOf = (event) => { const rect = canvas.getBoundingClientRect(); return placed(panel).place(event.clientX - rect.left, event.clientY - rect.top); };
  canvas.addEventListener("pointermove", (event) => {
    if (!panel.source) return;
    if (from && (event.buttons & 1) && Math.hypot(event.clientX - from.x, event.clientY - from.y) > 4) {
      const on = placed(panel), [lat, lon] = on.place(on.width / 2 - (event.clientX - from.x), on.height / 2 - (event.clientY - from.y));
      state.view = [lat, lon, on.span];
      from = { x: event.clientX, y: event.clientY, dragged: true };
      panels.forEach(draw);
    } else panels.forEach((of) => of.source && readout(of, placeOf(event)));
  });
  canvas.addEventListener("pointerleave", () => panels.forEach((of) => readout(of)));
  canvas.addEventListener("pointerdown", (event) => { from = { x: event.clientX, y: event.clientY, dragged: false }; });
  canvas.addEventListener("click", (event) => {
    if (from?.dragged) return written();
    const place = snapped(panel, placeOf(event));
    if (place) choose(place, true);
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.shiftKey && document.activeElement !== canvas) return; // the page scrolls
    event.preventDefault();
    zoomed(panel, event.deltaY > 0 ? 1.25 : 0.8, placeOf(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const far = event.shiftKey ? 10 : 1, by = { ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far] }[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (by) choose(moved(panel, ...by), false, panel);
    else if (event.key === "Enter" || event.key === " ") choose(state.at || moved(panel, 0, 0), true);
    else if (event.key === "+" || event.key === "=") zoomed(panel, 0.7);
    else if (event.key === "-") zoomed(panel, 1.4);
    else if (event.key === "0") whole();
    else if (event.key === "[" || event.key === "]") step(event.key === "[" ? -1 : 1);
    else return;
    event.preventDefault();
  });
}
function whole() { state.view = null; panels.forEach(draw); written(); }
function choose(place, series, panel) {
  state.at = place;
  panels.forEach(draw);
  panels.forEach((of) => readout(of));
  if (panel) announce(panels.filter((of) => of.source).map((of) => wordsAt(of, place)).join("; "));
  written();
  if (series) drawSeries(true);
}
const announce = (text) => { $("live").textContent = text; };

// ---- The series at a place ----
const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
const NORMAL = [[0.05, -1.6449], [0.25, -0.6745], [0.75, 0.6745], [0.95, 1.6449]];
// Rows {valid, lead, mid, q} of a source at a cell: quantiles of the store, or of the normal distribution of mean and deviation.
function rowsOf(source, found, along, issue, lead) {
  const of = found[along], some = of.soil_moisture || of[Object.keys(of).find((name) => name.startsWith("quantile_0.5"))] || [];
  return some.map((_, k) => {
    const day = dayOf(source.issued[along === "days" ? found.first + k : issue]) + source.leads[along === "days" ? lead : k];
    const of0 = (name) => of[name]?.[k] ?? MISSING, mid = isNaN(of0("soil_moisture")) ? of0("quantile_0.5") : of0("soil_moisture");
    const q = NORMAL.map(([level, z]) => (of[`quantile_${level}`] ? of0(`quantile_${level}`) : Math.max(0, mid + z * of0("soil_moisture_std"))));
    return { day, lead: source.leads[along === "days" ? lead : k], mid, q };
  });
}
const TURN = (2 * Math.PI) / 365.2425;
const normalOn = (of, day) => of[0] + of[1] * Math.sin(TURN * day) + of[2] * Math.cos(TURN * day);
async function tracksAt(place) {
  const tracks = [], truths = sources.filter((of) => of.observed && of.layer === state.layer && of !== main() && of !== other());
  for (const [k, source] of [main(), other()].entries()) {
    const cell = source && cellOf(source, place), moment = source && momentOf(source);
    if (!cell || !moment || !(source.quantities.soil_moisture || source.quantities["quantile_0.5"])) continue;
    const found = await seriesAt(source, ...cell, moment.issue, moment.lead), along = source.leads.length > 1 && state.along !== "days" ? "leads" : "days";
    tracks.push({ source, kind: "forecast", shade: k ? "var(--second)" : "var(--accent)", dash: k ? "6 3" : "", along, normal: found.normal,
      rows: rowsOf(source, found, along, moment.issue, moment.lead).filter((row) => !isNaN(row.mid)) });
  }
  const days = tracks.flatMap((track) => track.rows.map((row) => row.day));
  if (!days.length) return tracks;
  const first = tracks.some((track) => track.along === "leads") ? dayOf(state.issue) - 45 : Math.min(...days), last = Math.max(...days);
  for (const source of truths) {
    const cell = source.points ? [stationNear(source, ...place, 0.06), 0] : cellOf(source, place);
    if (!cell || cell[0] < 0) continue;
    const near = source.issued.reduce((best, text, k) => (Math.abs(dayOf(text) - dayOf(state.issue)) < Math.abs(dayOf(source.issued[best]) - dayOf(state.issue)) ? k : best), 0);
    const found = await seriesAt(source, ...cell, near, 0);
    tracks.push({ source, kind: "observed", normal: found.normal, name: source.points ? source.names[cell[0]] : "",
      rows: rowsOf(source, found, "days", near, 0).filter((row) => !isNaN(row.mid) && row.day >= first && row.day <= last) });
  }
  for (const track of tracks.filter((of) => of.normal).slice(0, 1))
    tracks.push({ source: track.source, kind: "normal", rows: Array.from({ length: Math.round(last - first) + 1 }, (_, k) => ({ day: first + k, mid: normalOn(track.normal, first + k) })) });
  return tracks;
}
function ticksOf(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].map((of) => of * power).find((of) => of >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(value);
  return found;
}
const labelOf = (track) => ({ forecast: `${track.source.model}${track.rows.some((row) => row.q && !isNaN(row.q[0])) ? " with 50 and 90 % intervals" : ""}`,
  observed: track.source.model + (track.name ? `, ${track.name}` : ""), normal: `normal of ${track.source.normal}` })[track.kind];
let charted = 0, csv = "";
async function drawSeries(spoken) {
  const turn = ++charted, place = state.at, chart = $("chart");
  if (!place) return;
  const tracks = await tracksAt(place);
  if (turn !== charted) return;
  $("place-title").textContent = `Series at ${degrees(place)}`;
  const days = tracks.flatMap((track) => track.rows.map((row) => row.day)), values = tracks.flatMap((track) => track.rows.flatMap((row) => [row.mid, ...(row.q || [])])).filter((v) => !isNaN(v));
  const words = values.length ? "" : "No series here: no forecast at this place.";
  $("place-note").textContent = words || `Soil moisture, ${state.layer} [m³ m⁻³]${state.along === "days" ? `, ${ahead(state.lead)}, by valid day` : `, issued ${state.issue}`}`;
  chart.replaceChildren();
  chart.setAttribute("aria-label", words || `Soil moisture at ${degrees(place)}: ${tracks.map((track) => `${labelOf(track)}, ${track.rows.length} values`).join("; ")}. The table below holds its numbers.`);
  $("lines").replaceChildren();
  $("twin").hidden = !values.length;
  placeScores(place);
  if (spoken) announce(words || chart.getAttribute("aria-label"));
  if (!values.length) return;
  const width = Math.max(320, Math.min(960, chart.clientWidth || 520)), height = 300, left = 48, right = 12, top = 10, bottom = 28;
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const pad = Math.max(0.01, (Math.max(...values) - Math.min(...values)) * 0.06), low = Math.max(0, Math.min(...values) - pad), high = Math.max(...values) + pad;
  const first = Math.min(...days), last = Math.max(first + 1, ...days);
  const x = (day) => left + ((day - first) / (last - first)) * (width - left - right), y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  for (const tick of ticksOf(low, high, 7)) {
    chart.append(svg("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), stroke: "var(--line)" }), svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(2)));
  }
  const many = Math.max(2, Math.floor(width / 130));
  for (let k = 0; k < many; k++) {
    const day = first + Math.round(((last - first) * k) / (many - 1));
    chart.append(svg("text", { x: x(day), y: height - 8, "text-anchor": k === 0 ? "start" : k === many - 1 ? "end" : "middle" }, textOf(day)));
  }
  const issued = dayOf(state.issue);
  if (tracks.some((track) => track.along === "leads") && issued >= first && issued <= last) {
    chart.append(svg("line", { x1: x(issued), x2: x(issued), y1: top, y2: height - bottom, stroke: "var(--soft)", "stroke-dasharray": "2 3" }), svg("text", { x: x(issued) + 4, y: top + 10 }, "issued"));
  }
  const line = (rows, of) => rows.map((row, k) => `${k ? "L" : "M"}${x(row.day).toFixed(1)} ${y(of(row)).toFixed(1)}`).join("");
  for (const track of tracks) {
    const { rows, shade, dash } = track, marks = [], key = svg("svg", { viewBox: "0 0 27 12", "aria-hidden": "true" });
    if (track.kind === "forecast") {
      const wide = rows.filter((row) => row.q.every((v) => !isNaN(v)));
      for (const [lower, upper, faint] of [[0, 3, 0.16], [1, 2, 0.26]])
        if (wide.length) marks.push(svg("path", { d: `${line(wide, (row) => row.q[lower])}L${line([...wide].reverse(), (row) => row.q[upper]).slice(1)}Z`, fill: shade, opacity: faint }));
      marks.push(svg("path", { d: line(rows, (row) => row.mid), fill: "none", stroke: shade, "stroke-width": 2, "stroke-dasharray": dash }));
      if (rows.length <= 40) marks.push(...rows.map((row) => svg("circle", { cx: x(row.day), cy: y(row.mid), r: 2.8, fill: shade })));
      key.append(svg("rect", { y: 1, width: 27, height: 10, fill: shade, opacity: wide.length ? 0.2 : 0 }), svg("path", { d: "M0 6H27", stroke: shade, "stroke-width": 2, "stroke-dasharray": dash }));
    } else if (track.kind === "observed") {
      const shape = (cx, cy) => (track.source.points ? svg("rect", { x: cx - 2, y: cy - 2, width: 4, height: 4, fill: "var(--ink)" }) : svg("circle", { cx, cy, r: 2.1, fill: "none", stroke: "var(--ink)", "stroke-width": 1.2 }));
      marks.push(...rows.map((row) => shape(x(row.day), y(row.mid))));
      key.append(shape(13, 6));
    } else {
      marks.push(svg("path", { d: line(rows, (row) => row.mid), fill: "none", stroke: "var(--soft)", "stroke-width": 1.4, "stroke-dasharray": "1 3", "stroke-linecap": "round" }));
      key.append(svg("path", { d: "M0 6H27", stroke: "var(--soft)", "stroke-width": 1.6, "stroke-dasharray": "1 3", "stroke-linecap": "round" }));
    }
    chart.append(...marks);
    $("lines").append(make("li", {}, key, labelOf(track)));
  }
  seriesTable(tracks, place);
}
function seriesTable(tracks, place) {
  const shown = (value) => (value === undefined || isNaN(value) ? "" : value.toFixed(3));
  const columns = tracks.flatMap((track) => [[labelOf(track).replace(/ with .*/, ""), track, (row) => row.mid],
    ...(track.kind === "forecast" && track.rows.some((row) => row.q && !isNaN(row.q[0])) ? NORMAL.map(([level], k) => [`${track.source.model} ${level * 100} %`, track, (row) => row.q[k]]) : [])]);
  const byDay = new Map(tracks.map((track) => [track, new Map(track.rows.map((row) => [row.day, row]))]));
  const days = [...new Set(tracks.filter((of) => of.kind !== "normal").flatMap((track) => track.rows.map((row) => row.day)))].sort((a, b) => a - b);
  const rows = days.map((day) => [textOf(day), ...columns.map(([, track, of]) => { const row = byDay.get(track).get(day); return row ? shown(of(row)) : ""; })]);
  const head = ["valid day", ...columns.map(([name]) => name)];
  table($("series"), `Soil moisture [m³ m⁻³] at ${degrees(place)}, ${state.layer}`, head, rows);
  csv = [head, ...rows].map((row) => row.map((cell) => (/[",\n]/.test(cell) ? `"${cell.replace(/"/g, '""')}"` : cell)).join(",")).join("\n");
}
function placeScores(place) {
  const rows = [];
  for (const source of [main(), other()].filter(Boolean)) {
    const found = runOf(source);
    if (!found) continue;
    const { table: of, run, lead } = found, site = stationNear(of, ...place, 0.03);
    if (site < 0) continue;
    of.metrics.forEach((metric, m) => {
      const value = of.value[run][lead][m][site], ends = [of.lower, of.upper].map((end) => end[run][lead][m][site]);
      if (value !== null) rows.push([`${SCORES[metric][0]}, ${source.model}`, value.toFixed(3), ends.every((end) => end !== null) ? `${ends[0].toFixed(3)} to ${ends[1].toFixed(3)}` : "none", String(of.pairs[lead][site])]);
    });
  }
  table($("place-scores"), `Scores at this site, ${ahead(state.lead)}`, ["score", "value", "95 % interval", "days"], rows);
}

// ---- Controls, and the state in the address ----
function settle() {
  const corrected = [], valid = (name, options, otherwise) => {
    if (options.includes(state[name])) return;
    if (state[name] !== undefined && state[name] !== null) corrected.push(`${name} ${state[name]} is not here`);
    state[name] = otherwise;
  };
  const layers = [...new Set(sources.map((of) => of.layer))];
  valid("layer", layers, layers[0]);
  const here = sources.filter((of) => of.layer === state.layer), models = here.map((of) => of.model);
  valid("model", models, (here.find((of) => !of.observed) || here[0]).model);
  valid("beside", ["", ...models.filter((of) => of !== state.model)], "");
  const source = main(), shown = shownOf(source);
  valid("show", shown, shown[0]);
  if (!source.issued.includes(state.issue) && source.issued.length) {
    const wanted = state.issue && !isNaN(dayOf(state.issue)) ? dayOf(state.issue) : Infinity;
    const nearestDay = source.issued.reduce((best, day) => (Math.abs(dayOf(day) - wanted) < Math.abs(dayOf(best) - wanted) ? day : best), source.issued[source.issued.length - 1]);
    valid("issue", source.issued, nearestDay);
  }
  valid("lead", source.leads, source.leads[0]);
  const dots = ["", ...(stationsOf(source) && stationsOf(source) !== source ? ["observed"] : []), ...(runOf(source)?.table.metrics.filter((of) => SCORES[of]).map((of) => `score ${of}`) || [])];
  valid("dots", dots, dots.find(Boolean) || "");
  valid("along", ["leads", "days"], "leads");
  const sane = (of, most) => Array.isArray(of) && of.length === most.length && of.every((v, k) => isFinite(v) && Math.abs(v) <= most[k]);
  if (!sane(state.at, [90, 360])) state.at = source.points ? [source.lat[0], source.lon[0]] : [source.lat[source.shape[0] >> 1], source.lon[source.shape[1] >> 1]];
  if (!sane(state.view, [90, 360, 400]) || state.view[2] <= 0) state.view = null;
  options("layer", layers);
  options("model", models);
  options("beside", ["", ...models.filter((of) => of !== state.model)], (of) => of || "nothing");
  options("show", shown, (of) => LOOKS[of].label);
  options("issue", source.issued);
  options("lead", source.leads, (of) => (of === 0 ? "the day itself" : of === 1 ? "1 day" : `${of} days`));
  options("dots", dots, (of) => (of === "" ? "none" : of === "observed" ? "stations, observed" : SCORES[of.slice(6)][0]));
  $("lead").disabled = source.leads.length < 2;
  const k = source.issued.indexOf(state.issue);
  $("earlier").disabled = k <= 0;
  $("later").disabled = k >= source.issued.length - 1;
  $("along").hidden = [source, other()].every((of) => !of || of.leads.length < 2);
  for (const name of ["lead", "day"]) $(`by-${name}`).setAttribute("aria-pressed", String((state.along === "days") === (name === "day")));
  $("facts").textContent = [source, other()].filter(Boolean).map((of) => `${of.model}: ${[...of.facts, of.every > 1 ? `one of ${of.every} rows and columns is drawn` : ""].filter(Boolean).join("; ")}`).join(". ");
  return corrected;
}
function options(id, values, label = (of) => of) {
  const select = $(id), wanted = values.map(String).join("\n");
  if (select.dataset.values !== wanted) {
    select.replaceChildren(...values.map((value) => make("option", { value, textContent: label(value) })));
    select.dataset.values = wanted;
  }
  select.value = String(state[id]);
}
function written() {
  const parts = KEYS.filter((key) => state[key] !== null && state[key] !== "" && state[key] !== undefined)
    .map((key) => `${key}=${encodeURIComponent(Array.isArray(state[key]) ? state[key].map((v) => +v.toFixed(5)).join(",") : state[key])}`);
  history.replaceState(null, "", `#${parts.join("&")}`);
}
function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const key of KEYS) {
    const text = given.get(key);
    state[key] = text === null ? undefined : key === "lead" ? Number(text) : key === "at" || key === "view" ? text.split(",").map(Number) : text;
  }
}
async function shown() {
  const corrected = settle();
  written();
  try {
    await Promise.all([drawMaps(), drawSeries(false)]);
    if (corrected.length) announce(`Changed: ${corrected.join("; ")}`);
  } catch (error) {
    panels.forEach((panel) => { panel.readout.textContent = `Not drawn: ${error.message}`; });
    announce(`Not drawn: ${error.message}`);
  }
  document.body.dataset.ready = String(Number(document.body.dataset.ready || 0) + 1);
}
function step(by) {
  const days = main().issued, k = days.indexOf(state.issue) + by;
  if (k >= 0 && k < days.length) { state.issue = days[k]; shown().then(() => announce(panels[0].canvas.getAttribute("aria-label"))); }
}
$("controls").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["show", "layer", "model", "beside", "issue", "lead", "dots"])
  $(id).addEventListener("change", (event) => {
    state[id] = id === "lead" ? Number(event.target.value) : event.target.value;
    shown().then(() => announce(panels[0].canvas.getAttribute("aria-label")));
  });
$("earlier").addEventListener("click", () => step(-1));
$("later").addEventListener("click", () => step(1));
$("closer").addEventListener("click", () => zoomed(panels[0], 0.7));
$("wider").addEventListener("click", () => zoomed(panels[0], 1.4));
$("whole").addEventListener("click", whole);
for (const [id, along] of [["by-lead", "leads"], ["by-day", "days"]])
  $(id).addEventListener("click", () => { state.along = along; settle(); written(); drawSeries(true); });
$("save-csv").addEventListener("click", () => {
  const link = make("a", { href: URL.createObjectURL(new Blob([csv], { type: "text/csv" })), download: "series.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
});
addEventListener("hashchange", () => { read(); shown(); });
let waiting = 0;
addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(() => { panels.forEach(draw); drawSeries(false); }); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => panels.forEach(draw));
$("simulated").hidden = !about.simulated;
$("made").textContent = `${about.made}. Hatched: no value. State borders: U.S. Census Bureau.`;
read();
shown();
