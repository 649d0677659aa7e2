// Images on the page: a column for each image, guided above unguided, and the path of one of them
// as a film strip.

const SIDE = 28;
const FRAMES = 8;

/**
 * An empty column for each digit that was asked for; onChoose(i) when one is chosen for the film
 * strip.
 */
export function layColumns(place, digits, chosen, onChoose) {
  place.replaceChildren(
    ...digits.map((digit, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "column";
      button.setAttribute("aria-pressed", String(i === chosen));
      button.append(picture("guided"), picture("unguided"), label(`asked: ${digit}`));
      button.addEventListener("click", () => onChoose(i));
      return button;
    }),
  );
}

/** Marks the column whose path the film strip shows. */
export function markColumn(place, chosen) {
  [...place.children].forEach((button, i) =>
    button.setAttribute("aria-pressed", String(i === chosen)),
  );
}

/** Paints every image of one row ("guided" or "unguided"). */
export function paintRow(place, row, x_t) {
  place.querySelectorAll(`canvas.${row}`).forEach((canvas, i) => paint(canvas, x_t, i));
}

/** What a reader of the screen hears of each column. */
export function nameColumns(place, digits, guided, unguided) {
  [...place.children].forEach((button, i) => {
    const below = unguided ? `, unguided it is read as ${unguided.read[i]}` : "";
    button.setAttribute(
      "aria-label",
      `asked for ${digits[i]}: guided it is read as ${guided.read[i]}${below}. Show its path.`,
    );
  });
}

/** The path of image `i` in both rows, FRAMES stops of it, with the level t under each. */
export function paintStrip(place, rows, i) {
  const longest = Math.max(...Object.values(rows).map((path) => path.length));
  place.replaceChildren(
    ...Object.entries(rows).map(([row, path]) => {
      const strip = document.createElement("div");
      strip.className = "strip";
      strip.append(...stopsOf(path, longest).map((step) => frame(row, step, i)));
      return strip;
    }),
  );
}

/**
 * Evenly spaced steps of a path, the first and the last among them; of an unfinished one those that
 * are there.
 */
function stopsOf(path, longest) {
  const count = Math.min(FRAMES, longest);
  const wanted = Array.from({ length: count }, (_, k) =>
    Math.round((k * (longest - 1)) / Math.max(count - 1, 1)),
  );
  return wanted.filter((k) => k < path.length).map((k) => path[k]);
}

function frame(row, step, i) {
  const figure = document.createElement("span");
  figure.className = "frame";
  const canvas = picture(row);
  paint(canvas, step.x_t, i);
  figure.append(canvas, label(`t = ${step.t}`));
  return figure;
}

function picture(row) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  canvas.className = row;
  return canvas;
}

function label(text) {
  const made = document.createElement("span");
  made.className = "label";
  made.textContent = text;
  return made;
}

/** Image i of a batch, -1 black and 1 white; what lies beyond is cut. */
function paint(canvas, x_t, i) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  for (let k = 0; k < SIDE * SIDE; k++) {
    image.data.fill(((x_t[i * SIDE * SIDE + k] + 1) / 2) * 255, 4 * k, 4 * k + 3);
    image.data[4 * k + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
