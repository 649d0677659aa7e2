// One of a few workers, away from the page: holds the networks and runs them. Nothing of diffusion
// is in here.
// Messages in:  { id, kind: "start", wasm } | { id, kind: "open", name, model } | { id, kind:
// "run", name, inputs, rows }
// Messages out: { id, out } | { id, error }

import * as ort from "./ort/ort.wasm.min.mjs";

const sessions = {};

const answers = {
  start({ wasm }) {
    ort.env.wasm.numThreads = 1; // more need headers that a plain static server does not send
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.wasmPaths = new URL("ort/", import.meta.url).href;
    ort.env.logLevel = "error";
  },

  async open({ name, model }) {
    try {
      sessions[name] = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    } catch (error) {
      throw new Error(
        `models/${name}.onnx is no model that can be run here (${error.message || error}).`,
      );
    }
  },

  /** inputs: { x_t: Float32Array, t: a level, y: labels }, those that the network wants. */
  async run({ name, inputs, rows }) {
    const feeds = { x_t: new ort.Tensor("float32", inputs.x_t, [rows, 1, 28, 28]) };
    if (inputs.t !== undefined)
      feeds.t = new ort.Tensor("int64", new BigInt64Array(rows).fill(BigInt(inputs.t)), [rows]);
    if (inputs.y) feeds.y = new ort.Tensor("int64", BigInt64Array.from(inputs.y, BigInt), [rows]);
    const { out } = await sessions[name].run(feeds);
    return out.data;
  },
};

addEventListener("message", async ({ data }) => {
  try {
    postMessage({ id: data.id, out: await answers[data.kind](data) });
  } catch (error) {
    postMessage({ id: data.id, error: error.message || String(error) });
  }
});
