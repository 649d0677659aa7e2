// The page in words: what was chosen, what is seen.

import { scaleOf } from "./diffusion.js";

const METHOD = { cfg: "classifier-free guidance", cg: "classifier guidance" };

/** What both rows show, and how many images the judge reads as they were asked for. */
export function whatYouSee({ method, digits, kinds, w, steps, seed }, guided, unguided) {
  const s = tidy(scaleOf(method, w));
  const asked = kinds.length === 10 ? "the digits 0 to 9" : kinds.length === 1 ? `a ${kinds[0]}` : `the digits ${list(kinds)}`;
  const parts = [`We ask for ${asked}, by ${METHOD[method]} with ${plainly(method, w, s)}, in ${steps} DDIM steps from the noise of seed ${seed}.`];
  if (!guided) return parts[0];
  const n = digits.length;
  const right = (row) => row.read.filter((digit, i) => digit === digits[i]).length;
  parts.push(`The judge reads ${share(right(guided), n)} as asked in the guided row`);
  parts.push(
    unguided
      ? `and ${right(unguided)} of ${n} in the row below, which started from the same noise ${method === "cfg" ? "and was told the digit, but not pushed" : "and was told nothing"}.`
      : "so far.",
  );
  return parts.join(" ");
}

/** The seconds of the last run, and the command that draws the same digits in Python. */
export function sameInPython({ method, kinds, each, w, steps, seed }) {
  return `python -m minidiff sample --digit ${kinds.join(",")} --n ${each} --method ${method} --w ${w} --steps ${steps} --seed ${seed}`;
}

/** "w = 3 (scale s = 4)", and what that weight means where it has a name. */
function plainly(method, w, s) {
  const named = { cfg: { "-1": ", which ignores the digit", 0: ", the plain conditional model" }, cg: { 0: ", which ignores the digit", 1: ", Bayes' rule" } };
  return `w = ${w} (scale s = ${s}${named[method][w] ?? ""})`;
}

/** What the small world shows at this scale: the share of the powered law where the classifier says "asked", and both laws' moments. */
export function whatTheWorldDoes({ s, asked, share, promised, drawn }) {
  const same = Math.abs(promised.mean - drawn.mean) < 0.02 && Math.abs(promised.spread - drawn.spread) < 0.02;
  const what = ({ mean, spread }) => `mean ${tidy(mean, 2)}, standard deviation ${tidy(spread, 2)}`;
  return (
    `At s = ${tidy(s)} (${meaning(s)}) ${Math.round(100 * share)} % of the powered law lie where the classifier says “${asked}”: ` +
    `${what(promised)}. DDIM with exact guesses draws ${same ? "the same law" : `another law: ${what(drawn)}`}.`
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
