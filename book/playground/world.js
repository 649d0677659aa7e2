// A world on a line whose answers are known: three Gaussians, a class each
// (minidiff.analytic.gaussian_mixture in one dimension).

import { ddimStops } from "./diffusion.js";

export const WORLD = {
  means: [-1.5, 0, 1.2],
  variances: [0.2, 0.12, 0.3],
  weights: [0.35, 0.3, 0.35],
  names: ["left", "middle", "right"],
};

/**
 * log p(x_t) part by part at this signal power: log weight_k N(x; sqrt(abar) m_k, abar v_k + 1 -
 * abar).
 */
function logParts(x, abar) {
  return WORLD.means.map((mean, k) => {
    const variance = abar * WORLD.variances[k] + 1 - abar;
    const off = x - Math.sqrt(abar) * mean;
    return (
      Math.log(WORLD.weights[k]) -
      (off * off) / (2 * variance) -
      Math.log(2 * Math.PI * variance) / 2
    );
  });
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

function logSum(logs) {
  const top = Math.max(...logs);
  return top + Math.log(sum(logs.map((value) => Math.exp(value - top))));
}

/** p(x) of clean data. */
export function density(x) {
  return Math.exp(logSum(logParts(x, 1)));
}

/** log p(y|x) of clean data, by the exact classifier. */
export function logPosterior(x, y) {
  const logs = logParts(x, 1);
  return logs[y] - logSum(logs);
}

/** The tilted distribution, p(x) p(y|x)^s over its integral, on an evenly spaced grid. */
export function tiltedDensity(grid, y, s) {
  const logs = grid.map((x) => logSum(logParts(x, 1)) + s * logPosterior(x, y));
  const top = Math.max(...logs);
  const heights = logs.map((value) => Math.exp(value - top));
  const mass = sum(heights) * (grid[1] - grid[0]);
  return heights.map((height) => height / mass);
}

/** E[eps | x_t], or E[eps | x_t, y]: the optimal denoiser. */
export function exactEps(x, abar, y = null) {
  const slopes = WORLD.means.map(
    (mean, k) => (x - Math.sqrt(abar) * mean) / (abar * WORLD.variances[k] + 1 - abar),
  );
  if (y !== null) return Math.sqrt(1 - abar) * slopes[y];
  const logs = logParts(x, abar);
  const total = logSum(logs);
  return Math.sqrt(1 - abar) * sum(slopes.map((slope, k) => slope * Math.exp(logs[k] - total)));
}

/**
 * Where DDIM with exact guidance of scale s takes each starting point: (1 - s) eps(x) + s eps(x, y)
 * at every stop.
 */
export function drawn(starts, y, s, abar, steps) {
  const stops = ddimStops(abar.length - 1, steps);
  return starts.map((start) => {
    let x = start;
    for (let i = 0; i < steps; i++) {
      const [a, below] = [abar[stops[i]], abar[stops[i + 1]]];
      const eps = (1 - s) * exactEps(x, a) + s * exactEps(x, a, y);
      x =
        (Math.sqrt(below) * (x - Math.sqrt(1 - a) * eps)) / Math.sqrt(a) +
        Math.sqrt(1 - below) * eps;
    }
    return x;
  });
}

/**
 * The density of what `drawn` makes of N(0, 1): [x, height, mass], by the slope of the map between
 * neighbours.
 */
export function drawnDensity(y, s, abar, steps = 100, points = 241) {
  const starts = Array.from({ length: points }, (_, i) => -4 + (8 * i) / (points - 1));
  const ends = drawn(starts, y, s, abar, steps);
  const bins = [];
  for (let i = 1; i < points; i++) {
    const middle = (starts[i] + starts[i - 1]) / 2;
    const normal = Math.exp((-middle * middle) / 2) / Math.sqrt(2 * Math.PI);
    const stretch = (ends[i] - ends[i - 1]) / (starts[i] - starts[i - 1]);
    const mass = normal * (starts[i] - starts[i - 1]);
    if (Math.abs(stretch) > 1e-9)
      bins.push([(ends[i] + ends[i - 1]) / 2, normal / Math.abs(stretch), mass]);
  }
  return bins;
}

/**
 * The cosine schedule of the lessons, for the world alone: abar_0..abar_T, beta_t <= 0.999
 * [Nichol & Dhariwal 2021, eq. 17]
 */
export function cosine(T = 1000, offset = 0.008) {
  const f = (t) => Math.cos((((t / T + offset) / (1 + offset)) * Math.PI) / 2) ** 2;
  const abar = [1];
  for (let t = 1; t <= T; t++) abar.push(abar[t - 1] * (1 - Math.min(0.999, 1 - f(t) / f(t - 1))));
  return abar;
}

/** Mean and standard deviation of a distribution given as heights (or masses) at points. */
export function momentsOf(points, masses) {
  const total = sum(masses);
  const mean = sum(points.map((x, i) => x * masses[i])) / total;
  return {
    mean,
    spread: Math.sqrt(sum(points.map((x, i) => (x - mean) ** 2 * masses[i])) / total),
  };
}
