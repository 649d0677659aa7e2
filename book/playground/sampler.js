// From a request to digits: checks it, opens the networks, walks the path. The page calls it, and
// so may a program.

import { classifierFree, classifierGuided, ddimPath, epsFromV } from "./diffusion.js";
import { Networks } from "./networks.js";
import { normals } from "./noise.js";

const PIXELS = 784;
const NEEDS = { cfg: ["unet", "evaluator"], cg: ["ddpm", "gradient", "evaluator"] };

export class Sampler {
  #networks = new Networks();
  #opening = {}; // by method
  #newest = 0;

  /**
   * Resolves when the networks of a method are there; rejects with a sentence, and a later call
   * tries again.
   */
  open(method, report) {
    this.#opening[method] ??= this.#networks.open(NEEDS[method], report).catch((error) => {
      delete this.#opening[method];
      throw error;
    });
    return this.#opening[method];
  }

  /** Whatever is being sampled ends at its next step, and resolves to null. */
  stop() {
    this.#newest++;
  }

  /**
   * One batch from noise to digits.
   * noise: 784 numbers for each digit; left out: those of `seed`, as minidiff.start_noise.
   * onStep({ t, x_t }, path) is called at every stop.
   * Resolves to { x_0, read, seconds, path: [{ t, x_t }] }, pixels in [-1, 1]; to null if a later
   * call took its place. read: the digit that the evaluation classifier sees in each image. Rejects
   * with a sentence where something is missing or out of range.
   */
  async sample(
    { digits, method = "cfg", w = 1, steps = 20, seed = 0, noise = null },
    onStep = () => {},
  ) {
    const x_T = Float32Array.from(noise ?? normals(PIXELS * digits.length, seed));
    check({ digits, method, w, steps, x_T });
    const mine = ++this.#newest;
    await this.open(method);
    const started = performance.now();
    const path = [];
    for await (const step of ddimPath(
      this.#denoiser(method, digits, w),
      x_T,
      this.#networks.abar,
      steps,
    )) {
      if (mine !== this.#newest) return null;
      path.push(step);
      onStep(step, path);
    }
    const seconds = (performance.now() - started) / 1000;
    const x_0 = path.at(-1).x_t;
    if (!x_0.every(Number.isFinite))
      throw new RangeError("The samples are not finite: w is too large for this model.");
    return { x_0, read: await this.#read(x_0), seconds, path };
  }

  #denoiser(method, digits, w) {
    const { abar, classes } = this.#networks;
    const network = (name) => (x_t, t, y) => this.#networks.run(name, { x_t, t, y });
    const eps = (name) => epsFromV(network(name), abar);
    if (method === "cfg") return classifierFree(eps("unet"), digits, classes, w);
    return classifierGuided(eps("ddpm"), network("gradient"), digits, abar, w);
  }

  /** The digit that the evaluation classifier, which guides nobody, reads in each image. */
  async #read(x_0) {
    const logits = await this.#networks.run("evaluator", { x_t: x_0 });
    const classes = this.#networks.classes;
    return Array.from({ length: logits.length / classes }, (_, row) => {
      const of = logits.subarray(row * classes, (row + 1) * classes);
      return of.indexOf(Math.max(...of));
    });
  }
}

function check({ digits, method, w, steps, x_T }) {
  if (!NEEDS[method])
    throw new RangeError(`method must be "cfg" or "cg", got ${JSON.stringify(method)}.`);
  if (!Number.isFinite(w)) throw new RangeError(`w must be a number, got ${w}.`);
  if (!Number.isInteger(steps) || steps < 1 || steps > 1000) {
    throw new RangeError(`steps must be a whole number between 1 and 1000, got ${steps}.`);
  }
  if (!digits.length || digits.some((digit) => ![0, 1, 2, 3, 4, 5, 6, 7, 8, 9].includes(digit))) {
    throw new RangeError(`digits must be a list of numbers 0 to 9, got ${JSON.stringify(digits)}.`);
  }
  if (x_T.length !== PIXELS * digits.length) {
    throw new RangeError(
      `${digits.length} digits want ${PIXELS * digits.length} numbers of noise, got ${x_T.length}.`,
    );
  }
}
