// The small world as an SVG: data grey, classifier green, the tilted distribution orange, what DDIM
// draws as an orange dashed line.

import {
  WORLD,
  cosine,
  density,
  drawnDensity,
  logPosterior,
  tiltedDensity,
  momentsOf,
} from "./world.js";
import { whatTheWorldDoes } from "./sentences.js";

const [WIDTH, HEIGHT, BASE] = [360, 200, 178];
const EDGE = 4.5;
const GRID = Array.from({ length: 361 }, (_, i) => -EDGE + i / 40);
const ABAR = cosine();
const SVG = "http://www.w3.org/2000/svg";

/** Draws the world at scale s with class y asked for, and says in words what it shows. */
export function drawWorld(svg, sentence, y, s) {
  const tilted = tiltedDensity(GRID, y, s);
  const bins = drawnDensity(y, s, ABAR);
  const top = 1.08 * Math.max(1, ...tilted, ...bins.map(([, height]) => Math.min(height, 4)));
  const place = (x, height) =>
    `${across(x).toFixed(1)},${(BASE - Math.min(height / top, 1.1) * (BASE - 8)).toFixed(1)}`;
  const line = (points) => `M${points.map(([x, height]) => place(x, height)).join("L")}`;
  const filled = (heights) =>
    `${line([[-EDGE, 0], ...GRID.map((x, i) => [x, heights[i]]), [EDGE, 0]])}Z`;

  svg.replaceChildren(
    path("data", filled(GRID.map(density))),
    path("classifier", line(GRID.map((x) => [x, Math.exp(logPosterior(x, y)) * top * 0.9]))),
    path("powered", filled(tilted)),
    path("drawn", line(bins.map(([x, height]) => [x, height]))),
    ...axis(),
  );
  const share = GRID.reduce(
    (total, x, i) => total + (Math.exp(logPosterior(x, y)) > 0.5 ? tilted[i] / 40 : 0),
    0,
  );
  const drawn = momentsOf(
    bins.map(([x]) => x),
    bins.map(([, , mass]) => mass),
  );
  sentence.textContent = whatTheWorldDoes({
    s,
    asked: WORLD.names[y],
    share,
    promised: momentsOf(GRID, tilted),
    drawn,
  });
}

const across = (x) => ((x + EDGE) / (2 * EDGE)) * WIDTH;

function path(kind, d) {
  return node("path", { class: kind, d });
}

function axis() {
  const ticks = [-4, -3, -2, -1, 0, 1, 2, 3, 4].map((x) => {
    const label = node("text", {
      class: "tick",
      x: across(x),
      y: HEIGHT - 6,
      "text-anchor": "middle",
    });
    label.textContent = String(x).replace("-", "−");
    return label;
  });
  return [node("line", { class: "axis", x1: 0, x2: WIDTH, y1: BASE, y2: BASE }), ...ticks];
}

function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
