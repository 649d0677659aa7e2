// The networks as async functions of whole batches: fetched once, opened in every worker, rows
// shared among the workers. Rows never see each other (no BatchNorm), so a batch may be cut
// anywhere.

const PIXELS = 784;
const WORKERS = { few: 2, many: 4, manyFrom: 8 }; // by the number of cores; each holds all networks

/**
 * Networks by name. open(names, report) fetches what is missing; run(name, inputs) is its output
 * for all rows.
 */
export class Networks {
  #workers = [];
  #opened = new Set();
  #last = Promise.resolve();

  /**
   * Resolves when all are there; rejects with a sentence. report({ loaded, total }): bytes; total
   * 0: the server does not say.
   */
  open(names, report = () => {}) {
    // one after the other: nothing is fetched twice
    const mine = this.#last.then(() => this.#open(names, report));
    this.#last = mine.catch(() => {});
    return mine;
  }

  async #open(names, report) {
    const first = !this.#workers.length;
    const missing = names.filter((name) => !this.#opened.has(name));
    const always = first ? ["ort/ort-wasm-simd-threaded.wasm", "models/schedule.json"] : [];
    const files = await fetchAll(
      [...always, ...missing.map((name) => `models/${name}.onnx`)],
      report,
    );
    if (first) await this.#start(...files.splice(0, always.length));
    for (const [i, name] of missing.entries()) {
      await Promise.all(
        this.#workers.map((worker) => worker.ask({ kind: "open", name, model: files[i] })),
      );
      this.#opened.add(name);
    }
  }

  async #start(wasm, json) {
    const { abar, classes } = JSON.parse(new TextDecoder().decode(json));
    const cores = navigator.hardwareConcurrency || 1;
    const workers = Array.from(
      { length: cores >= WORKERS.manyFrom ? WORKERS.many : Math.min(cores, WORKERS.few) },
      asking,
    );
    await Promise.all(workers.map((worker) => worker.ask({ kind: "start", wasm })));
    [this.abar, this.classes, this.#workers] = [abar, classes, workers];
  }

  async run(name, { x_t, t, y }) {
    const rows = x_t.length / PIXELS;
    const share = Math.ceil(rows / this.#workers.length);
    const pieces = [];
    for (let first = 0; first < rows; first += share) {
      const end = Math.min(first + share, rows);
      const inputs = { x_t: x_t.slice(first * PIXELS, end * PIXELS), t, y: y?.slice(first, end) };
      pieces.push(
        this.#workers[pieces.length].ask({ kind: "run", name, inputs, rows: end - first }),
      );
    }
    return joined(await Promise.all(pieces));
  }
}

/** A worker with promises instead of messages. */
function asking() {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  const waiting = new Map();
  let last = 0;
  worker.addEventListener("message", ({ data }) => {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error) reject(new Error(data.error));
    else resolve(data.out);
  });
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    const why = event.message || "a file of it is missing";
    const error = new Error(`The part of the page that computes did not start (${why}).`);
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  });
  const ask = (message) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      worker.postMessage({ ...message, id: last });
    });
  return { ask };
}

/** All files as Uint8Arrays, in order. */
async function fetchAll(urls, report) {
  const sizes = urls.map(() => ({ loaded: 0, total: 0 }));
  const sum = (which) => sizes.reduce((total, size) => total + size[which], 0);
  return Promise.all(
    urls.map(async (url, i) => {
      const response = await fetch(new URL(url, import.meta.url)).catch(() => null);
      if (!response?.ok)
        throw new Error(
          `${url} did not load (${response ? `status ${response.status}` : "no answer"}).`,
        );
      sizes[i].total = Number(response.headers.get("Content-Length")) || 0;
      const pieces = [];
      for (const reader = response.body.getReader(); ;) {
        const { done, value } = await reader.read();
        if (done) break;
        pieces.push(value);
        sizes[i].loaded += value.length;
        report({
          loaded: sum("loaded"),
          total: sizes.every((size) => size.total) ? sum("total") : 0,
        });
      }
      return joined(pieces);
    }),
  );
}

/** Typed arrays of one kind, one after the other. */
function joined(pieces) {
  if (pieces.length === 1) return pieces[0];
  const whole = new pieces[0].constructor(pieces.reduce((total, piece) => total + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/**
 * Whether this browser runs WebAssembly with SIMD, asked by a module of one instruction,
 * i8x16.splat.
 */
export function hasSimd() {
  const header = [0, 97, 115, 109, 1, 0, 0, 0];
  const type = [1, 4, 1, 96, 0, 0];
  const functions = [3, 2, 1, 0];
  const code = [10, 9, 1, 7, 0, 65, 0, 253, 15, 26, 11];
  return (
    typeof WebAssembly === "object" &&
    WebAssembly.validate(Uint8Array.from([...header, ...type, ...functions, ...code]))
  );
}
