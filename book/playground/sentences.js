// The page in words: what was chosen, what is seen.

import { scaleOf } from "./diffusion.js";

const METHOD = { cfg: "classifier-free guidance", cg: "classifier guidance" };

/**
 * What both rows show, and how many images the evaluation classifier reads as they were asked for.
 */
export function whatYouSee(request, guided, unguided) {
  const { method, digits, w, steps, seed } = request;
  const how = `by ${METHOD[method]} with ${weight(method, w)}`;
  const from = `in ${steps} DDIM steps from the noise of seed ${seed}`;
  const asking = `We ask for ${asked(request)}, ${how}, ${from}.`;
  if (!guided) return asking;
  const n = digits.length;
  const right = (row) => row.read.filter((digit, i) => digit === digits[i]).length;
  const model = method === "cfg" ? "conditional model" : "unconditional model";
  return (
    `${asking} The evaluation classifier finds the requested class in ` +
    `${share(right(guided), n)} of the guided row and in ${right(unguided)} of ${n} of the row ` +
    `below, which the ${model} draws unguided from the same noise.`
  );
}

/** The command that draws the same digits in Python. */
export function sameInPython({ method, kinds, each, w, steps, seed }) {
  const digits = kinds.length === 10 ? "0-9" : kinds.join(",");
  const what = `--digit ${digits} --n ${each} --method ${method} --w ${w}`;
  return `python -m minidiff sample ${what} --steps ${steps} --seed ${seed}`;
}

function asked({ kinds }) {
  if (kinds.length === 10) return "the digits 0 to 9";
  return kinds.length === 1 ? `a ${kinds[0]}` : `the digits ${list(kinds)}`;
}

/** "w = 3 (scale s = 4)", and what that weight means where it has a name. */
function weight(method, w) {
  const names = { "cfg -1": ", which ignores the digit", "cfg 0": ", the conditional model" };
  Object.assign(names, { "cg 0": ", which ignores the digit", "cg 1": ", Bayes' rule" });
  return `w = ${w} (scale s = ${tidy(scaleOf(method, w))}${names[`${method} ${w}`] ?? ""})`;
}

/**
 * The small world: the share of the tilted distribution where the classifier says "asked", and the
 * moments of both.
 */
export function whatTheWorldDoes({ s, asked, share, promised, drawn }) {
  const same =
    Math.abs(promised.mean - drawn.mean) < 0.02 && Math.abs(promised.spread - drawn.spread) < 0.02;
  const what = ({ mean, spread }) => `mean ${tidy(mean, 2)}, standard deviation ${tidy(spread, 2)}`;
  return (
    `At s = ${tidy(s)} (${meaning(s)}) ${Math.round(100 * share)} % of the tilted distribution ` +
    `lie where the classifier says “${asked}”: ${what(promised)}. ` +
    `DDIM with exact predictions draws ` +
    `${same ? "the same distribution" : `another one: ${what(drawn)}`}.`
  );
}

function meaning(s) {
  if (s === 0) return "no guidance, p(x) itself";
  if (s === 1) return "Bayes' rule, p(x|y) itself";
  if (s < 0) return "away from the class";
  return s < 1 ? "weaker than Bayes" : "sharper than Bayes";
}

function share(right, n) {
  return right === n && n > 1 ? `all ${n}` : `${right} of ${n}`;
}

function list(items) {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

/** A number with at most this many digits after the point, and a minus sign that is one. */
export function tidy(value, digits = 3) {
  return String(Math.round(value * 10 ** digits) / 10 ** digits).replace("-", "−");
}
