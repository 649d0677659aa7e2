// What was chosen, checked. Every field that cannot be used gets a sentence; nothing is drawn until
// all can.

export const LIMITS = {
  w: { cfg: [-1, 10], cg: [0, 10] },
  steps: [1, 100],
  seed: [0, 2 ** 32 - 1],
  each: [1, 10],
  images: 20, // in all
};

/** { request, problems }: request is null where a problem is; problems: { field: sentence }. */
export function readForm(form) {
  const problems = {};
  const method = form.elements.method.value;
  const note = (field, sentence) => (sentence ? (problems[field] = sentence) : null);

  const w = number(form.elements.w.value);
  note("w", between("w", w, LIMITS.w[method]));
  const [steps, seed, each] = ["steps", "seed", "each"].map((field) => {
    const value = number(form.elements[field].value);
    note(field, whole(NAMES[field], value, LIMITS[field]));
    return value;
  });
  const kinds = [...form.elements.digit]
    .filter((box) => box.checked)
    .map((box) => Number(box.value));
  if (!kinds.length) note("digits", "Choose at least one digit.");
  else if (kinds.length * each > LIMITS.images) {
    const images = kinds.length * each;
    const many = `${kinds.length} digits, ${each} of each, are ${images} images`;
    note("each", `${many}; ${LIMITS.images} is the most here.`);
  }
  const digits = kinds.flatMap((digit) => Array(each || 0).fill(digit));
  const request = Object.keys(problems).length
    ? null
    : { method, digits, kinds, each, w, steps, seed };
  return { request, problems };
}

const NAMES = { steps: "The number of steps", seed: "The seed", each: "The number of each digit" };

function number(text) {
  return text.trim() === "" ? NaN : Number(text);
}

/** A sentence if the value is no number between the limits, else null. */
export function between(name, value, [low, high]) {
  if (!Number.isFinite(value)) return `${name} must be a number between ${low} and ${high}.`;
  return value < low || value > high
    ? `${name} must lie between ${low} and ${high}, got ${value}.`
    : null;
}

function whole(name, value, limits) {
  if (Number.isFinite(value) && !Number.isInteger(value))
    return `${name} must be a whole number, got ${value}.`;
  return between(name, value, limits);
}

/** Shows the sentences at their fields and takes away the old ones. */
export function showProblems(form, problems) {
  for (const place of form.querySelectorAll(".problem")) {
    const field = place.id.replace("-problem", "");
    const sentence = problems[field] ?? "";
    if (place.textContent !== sentence) place.textContent = sentence;
    const input = form.elements[field];
    if (input?.setAttribute) input.setAttribute("aria-invalid", sentence ? "true" : "false");
  }
}
