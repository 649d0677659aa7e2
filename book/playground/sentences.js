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

/** What the small world shows at this scale. */
export function whatTheWorldDoes({ s, asked, share, spread, drawnSpread }) {
  const claim = s > 1 ? "sharper than Bayes" : s === 1 ? "Bayes' rule, p(x|y) itself" : s > 0 ? "weaker than Bayes" : s === 0 ? "no guidance, p(x) itself" : "away from the class";
  return (
    `At s = ${tidy(s)} (${claim}) the powered law has ${Math.round(100 * share)} % of its mass where the classifier says ` +
    `“${asked}”, and a standard deviation of ${spread.toFixed(2)}. DDIM with exact guesses draws another law, of ${drawnSpread.toFixed(2)}.`
  );
}

function share(right, n) {
  return right === n && n > 1 ? `all ${n}` : `${right} of ${n}`;
}

function list(items) {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

export function tidy(value) {
  return String(Math.round(value * 1000) / 1000).replace("-", "−");
}
