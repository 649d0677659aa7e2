// The page: reads the form, has the worker sample, paints. `window.playground` is the same thing
// for programs.

import { scaleOf } from "./diffusion.js";
import { LIMITS, readForm, showProblems } from "./form.js";
import { hasSimd } from "./networks.js";
import { normals } from "./noise.js";
import { layColumns, markColumn, nameColumns, paintRow, paintStrip } from "./pictures.js";
import { drawWorld } from "./plot.js";
import { Sampler } from "./sampler.js";
import { sameInPython, tidy, whatYouSee } from "./sentences.js";

const PAUSE = 200; // milliseconds without a change before drawing starts
const $ = (id) => document.getElementById(id);
const form = $("choices");

const sampler = new Sampler();
let paths = { guided: [], unguided: [] };
let chosen = 0;
let kept = { key: "", result: null, path: [] }; // the unguided row: w does not change it
let timer = 0;
let turn = 0;

function showProgress({ loaded: bytes, total }) {
  const bar = $("progress");
  $("loading").hidden = false;
  if (total) [bar.max, bar.value] = [total, bytes];
  else bar.removeAttribute("value");
  $("bytes").textContent =
    `${(bytes / 1e6).toFixed(1)} MB${total ? ` of ${(total / 1e6).toFixed(1)} MB` : ""} loaded`;
}

/** Everything that was chosen, drawn: first the guided row, then the unguided one if it changed. */
async function draw() {
  const mine = ++turn;
  const { request, problems } = readForm(form);
  showProblems(form, problems);
  if (!request) {
    sampler.stop();
    if (!window.playground) return;
    return say(`Nothing is drawn: ${Object.values(problems)[0]}`, "refused");
  }
  drawSmallWorld(request);
  if (!window.playground) return; // without SIMD the small world is all there is
  $("trouble").textContent = "";
  chosen = Math.min(chosen, request.digits.length - 1);
  say(whatYouSee(request), "drawing");
  try {
    await sampler.open(request.method, showProgress);
    if (mine !== turn) return;
    $("loading").hidden = true;
    layColumns($("columns"), request.digits, chosen, choose);
    paths = { guided: [], unguided: [] };
    const guided = await row("guided", request);
    const unguided = guided && (await unguidedRow(request));
    if (!unguided || mine !== turn) return;
    nameColumns($("columns"), request.digits, guided, unguided);
    $("seconds").textContent =
      `${guided.seconds.toFixed(1)} s for the guided row. The same digits in Python:`;
    $("command").textContent = sameInPython(request);
    say(whatYouSee(request, guided, unguided), "done");
  } catch (error) {
    if (mine === turn) fail(error);
  }
}

function row(name, request) {
  return sampler.sample(request, (step, path) => {
    paths[name] = path;
    paintRow($("columns"), name, step.x_t);
    paintStrip($("strips"), paths, chosen);
  });
}

async function unguidedRow(request) {
  const { w: _, ...others } = request;
  const key = JSON.stringify(others);
  if (key !== kept.key) {
    const result = await row("unguided", { ...request, w: 0 });
    if (!result) return null;
    kept = { key, result, path: result.path };
  }
  paths.unguided = kept.path;
  paintRow($("columns"), "unguided", kept.result.x_0);
  paintStrip($("strips"), paths, chosen);
  return kept.result;
}

function choose(i) {
  chosen = i;
  markColumn($("columns"), i);
  paintStrip($("strips"), paths, i);
}

function drawSmallWorld({ method, w }) {
  drawWorld($("world"), $("world-sentence"), Number(form.elements.side.value), scaleOf(method, w));
}

function say(sentence, state) {
  if ($("sentence").textContent !== sentence) $("sentence").textContent = sentence;
  document.body.dataset.state = state;
}

function fail(error) {
  $("loading").hidden = true;
  const advice =
    error instanceof RangeError
      ? ""
      : " Reload the page; if that does not help, build it again: make playground";
  $("trouble").textContent = `${error.message || error}${advice}`;
  say("Nothing is drawn.", "failed");
}

/** Slider, number box and method agree: w stays in the range of its method, and both show it. */
function settleW(event) {
  const [slider, box] = [form.elements.slider, form.elements.w];
  if (event?.target === slider) box.value = slider.value;
  const method = form.elements.method.value;
  [slider.min, slider.max] = [box.min, box.max] = LIMITS.w[method].map(String);
  if (event?.target.name === "method" && Number(box.value) < LIMITS.w[method][0])
    box.value = LIMITS.w[method][0];
  if (box.value !== "" && event?.target !== slider) slider.value = box.value;
  slider.setAttribute("aria-valuetext", `w = ${slider.value}`);
  $("scale").textContent = `s = ${tidy(scaleOf(method, Number(box.value)))}`;
  const unguided = method === "cfg" ? "the conditional model" : "the unconditional model";
  $("row-unguided").textContent = `below: unguided, w = 0, ${unguided}`;
}

function changed(event) {
  settleW(event);
  const { request } = readForm(form);
  if (request) drawSmallWorld(request);
  clearTimeout(timer);
  timer = setTimeout(draw, PAUSE);
}

function start() {
  settleW();
  const { request } = readForm(form);
  if (request) drawSmallWorld(request);
  if (!hasSimd()) {
    $("loading").hidden = true;
    $("trouble").textContent =
      "This browser has no WebAssembly SIMD, which the networks need. " +
      "Any Chrome, Edge or Firefox since 2021, or Safari since 16.4, has it.";
    return say("The small world works all the same; digits cannot be drawn here.", "failed");
  }
  window.playground = { sample: (request) => sampler.sample(request), normals };
  draw();
}

form.addEventListener("input", changed);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  draw();
});
$("all").addEventListener("click", () => tick(true));
$("none").addEventListener("click", () => tick(false));

function tick(on) {
  for (const box of form.elements.digit) box.checked = on;
  changed();
}

start();
