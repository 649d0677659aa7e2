// minidiff.diffusion in JavaScript: the stops of DDIM, guidance (M4, M6), the clipped step. A
// denoiser is an async function (x_t, t) -> eps of Float32Arrays; it knows its digits already. No
// page, no network files in here.
//
// Every product and sum is rounded to float32 in PyTorch's order. That is no pedantry: at t = T a
// prediction of x_0 is divided by sqrt(abar_T) = 0.00005, so a rounding of 1e-7 becomes 2e-3 there,
// and guidance multiplies it again.

const { fround } = Math;
const times = (a, b) => fround(a * b);
const plus = (a, b) => fround(a + b);
const minus = (a, b) => fround(a - b);

/** sqrt(abar) and sqrt(1 - abar): how much of x_0 and of the noise is in x. */
const shares = (abar) => [fround(Math.sqrt(abar)), fround(Math.sqrt(1 - abar))];

/**
 * The levels where the path stops: T first, then `steps` more, evenly spaced, the last 0; halves go
 * to the even level.
 */
export function ddimStops(T, steps) {
  return Array.from({ length: steps + 1 }, (_, i) => {
    const level = i < (steps + 1) / 2 ? T - (T / steps) * i : (T / steps) * (steps - i);
    return roundHalfToEven(level);
  });
}

function roundHalfToEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

/** The guidance scale s, the power of p(y|x_t): s = 1 + w for CFG, s = w for CG. */
export function scaleOf(method, w) {
  return method === "cfg" ? 1 + w : w;
}

/**
 * eps = sqrt(abar_t) v + sqrt(1 - abar_t) x_t: the networks predict v   [Salimans & Ho 2022;
 * minidiff.nets.unet.VPrediction]
 */
export function epsFromV(network, abar) {
  return async (x_t, t, labels) => {
    const v = await network(x_t, t, labels);
    const [signal, noise] = shares(abar[t]);
    return x_t.map((x, i) => plus(times(signal, v[i]), times(noise, x)));
  };
}

/**
 * M6: eps_bar = (1 + w) eps(x_t, t, y) - w eps(x_t, t). w = -1 and w = 0 run the network once, else
 * on two halves of a batch.
 */
export function classifierFree(unet, labels, nothing, w) {
  const none = labels.map(() => nothing);
  const [more, less] = [fround(1 + w), fround(w)];
  return async (x_t, t) => {
    if (w === 0) return unet(x_t, t, labels);
    if (w === -1) return unet(x_t, t, none);
    const both = await unet(concat(x_t, x_t), t, [...labels, ...none]);
    const cond = both.subarray(0, x_t.length);
    const uncond = both.subarray(x_t.length);
    return x_t.map((_, i) => minus(times(more, cond[i]), times(less, uncond[i])));
  };
}

/**
 * M4: eps_bar = eps(x_t, t) - sqrt(1 - abar_t) w grad log p(y|x_t). w = 0 is the unconditional
 * model, without the classifier.
 */
export function classifierGuided(ddpm, gradient, labels, abar, w) {
  return async (x_t, t) => {
    const eps = await ddpm(x_t, t);
    if (w === 0) return eps;
    const towards = await gradient(x_t, t, labels);
    const factor = times(shares(abar[t])[1], fround(w));
    return eps.map((value, i) => minus(value, times(factor, towards[i])));
  };
}

/**
 * Yields { t, x_t } from t = T down to 0: DDIM with eta = 0, x_0_hat clipped to [-1, 1] after
 * guidance, eps made to fit.
 */
export async function* ddimPath(denoiser, x_T, abar, steps) {
  const stops = ddimStops(abar.length - 1, steps);
  let x_t = x_T;
  yield { t: stops[0], x_t };
  for (let i = 0; i < steps; i++) {
    x_t = clippedStep(x_t, await denoiser(x_t, stops[i]), abar[stops[i]], abar[stops[i + 1]]);
    yield { t: stops[i + 1], x_t };
  }
}

/**
 * x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s) eps', with x_0 = clip((x_t - sqrt(1 - abar_t) eps) /
 * sqrt(abar_t)) and eps' the noise that belongs to it.
 */
function clippedStep(x_t, eps, abar_t, abar_s) {
  const [signal, noise] = shares(abar_t);
  const [signalBelow, noiseBelow] = shares(abar_s);
  const predicted = (x, e) => fround(minus(x, times(noise, e)) / signal);
  return x_t.map((x, i) => {
    const clipped = Math.min(1, Math.max(-1, predicted(x, eps[i])));
    const fits = fround(minus(x, times(signal, clipped)) / noise);
    return plus(times(signalBelow, predicted(x, fits)), times(noiseBelow, fits));
  });
}

function concat(first, second) {
  const both = new Float32Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
