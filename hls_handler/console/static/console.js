// The key "/" moves the focus to the search box, unless somebody is typing.
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea");
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  const search = document.getElementById("search");
  if (event.key !== "/" || isTyping || hasModifier || !search) {
    return;
  }
  event.preventDefault();
  search.focus();
});

// The list of deliveries: a box in its head chooses all; j and k move from box to box, and x chooses.
function findBoxes() {
  return [...document.querySelectorAll(".pick input")];
}

document.addEventListener("change", (event) => {
  const boxes = findBoxes();
  if (event.target.id === "choose-all") {
    boxes.forEach((box) => (box.checked = event.target.checked));
  }
  const output = document.querySelector(".chosen output");
  if (output) {
    output.textContent = `${boxes.filter((box) => box.checked).length} selected`;
  }
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  const boxes = findBoxes();
  const at = boxes.indexOf(document.activeElement);
  if (event.key === "j") {
    boxes[Math.min(at + 1, boxes.length - 1)]?.focus();
  } else if (event.key === "k") {
    boxes[Math.max(at - 1, 0)]?.focus();
  } else if (event.key === "x") {
    boxes[at]?.click();
  }
});

// Plots: each element with `data-plot` has the values of one (overview.py).
const COLOURS = {
  received: "--fgColor-accent",
  done: "--fgColor-success",
  dead: "--fgColor-danger",
  ignored: "--fgColor-muted",
  p50: "--fgColor-default",
  p95: "--data-lemon-color-emphasis",
  "other prompts": "--fgColor-disabled",
  "labels kept": "--data-purple-color-emphasis",
  "labels corrected": "--data-coral-color-emphasis",
  "findings fixed": "--data-pine-color-emphasis",
  "findings dismissed": "--data-brown-color-emphasis",
};
const PROMPT_COLOURS = [
  "--data-pink-color-emphasis",
  "--data-teal-color-emphasis",
  "--data-olive-color-emphasis",
  "--data-auburn-color-emphasis",
  "--data-orange-color-emphasis",
];
const DASHES = { p95: [6, 6] }; // else it hides the line of p50
const DAY_S = 86400;
const UNITS = {
  count: { format: (value) => value.toLocaleString(), least: 1 },
  usd: { format: (value) => `$${value}`, least: 0.001 },
  seconds: { format: formatSeconds, least: 1 },
};
const WHOLE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000];
const HEIGHT = 180;
let plots = [];

function formatSeconds(value) {
  return value < 120 ? `${value} s` : `${Math.round(value / 6) / 10} min`;
}

function readColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}

// Returns {name: variable} of all series. A prompt's colour follows from its name, unless another
// prompt of the plot has it.
function chooseColours(names) {
  const colours = { ...COLOURS };
  const free = [...PROMPT_COLOURS];
  for (const name of names.filter((one) => !(one in COLOURS)).sort()) {
    const sum = [...name].reduce((total, letter) => total + letter.codePointAt(0), 0);
    const wanted = PROMPT_COLOURS[sum % PROMPT_COLOURS.length];
    const place = Math.max(free.indexOf(wanted), 0);
    [colours[name]] = free.splice(place, 1);
  }
  return colours;
}

function findLonePoints(plot, index) {
  const values = plot.data[index];
  const isGap = (at) => values[at] === null || values[at] === undefined;
  const all = values.map((_, at) => at);
  const lone = all.filter((at) => !isGap(at) && isGap(at - 1) && isGap(at + 1));
  return lone.length > 0 ? lone : null;
}

function formatTimes(plot, times, axis, space, step) {
  const date = { month: "short", day: "numeric" };
  const time = { hour: "2-digit", minute: "2-digit" };
  const layout = step >= DAY_S ? date : time;
  return times.map((one) => new Date(one * 1000).toLocaleString([], layout));
}

function drawPlot(element) {
  const { unit, times, series } = JSON.parse(element.dataset.plot);
  const { format, least } = UNITS[unit];
  const colours = chooseColours(series.map((one) => one.name));
  // Without a pointer, the legend has the last values.
  const moment = (plot, value) => new Date((value ?? times.at(-1)) * 1000).toLocaleString();
  const lines = series.map(({ name, texts }) => {
    const stroke = readColour(colours[name]);
    const points = { show: false, filter: findLonePoints, size: 6, fill: stroke };
    const value = (plot, value, index, at) => texts[at ?? texts.length - 1];
    return { label: name, stroke, width: 2, dash: DASHES[name], points, value };
  });
  const axis = { stroke: readColour("--fgColor-muted"), ticks: { show: false } };
  const grid = { stroke: readColour("--borderColor-muted"), width: 1 };
  const options = {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [null, 32, null, null],
    series: [{ label: "Time", value: moment }, ...lines],
    axes: [
      { ...axis, grid: { show: false }, values: formatTimes },
      { ...axis, grid, size: 60, values: (plot, values) => values.map(format) },
    ],
    scales: { y: { range: (plot, from, to) => [0, Math.max(to ?? 0, least) * 1.1] } },
    cursor: { y: false, drag: { x: false } },
  };
  if (unit === "count") {
    options.axes[1].incrs = WHOLE_STEPS;
  }
  return new uPlot(options, [times, ...series.map((one) => one.values)], element);
}

function drawPlots() {
  plots.forEach((one) => one.destroy());
  plots = [...document.querySelectorAll("[data-plot]")].map(drawPlot);
}

drawPlots();
document.addEventListener("htmx:after:swap", drawPlots);
window.addEventListener("resize", drawPlots);
for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)"]) {
  matchMedia(query).addEventListener("change", drawPlots);
}
