// The noise of a seed: the same numbers as `minidiff.start_noise(n, seed)`, which is torch.randn on
// the CPU. Mersenne Twister (Matsumoto & Nishimura 1998), then Box-Muller on blocks of 16, in
// float32 as PyTorch does it.

const WORDS = 624;
const SHIFT = 397;

/**
 * A function that returns the next 32 random bits, as an unsigned integer. seed: an integer in
 * 0..2^32 - 1.
 */
export function mersenneTwister(seed) {
  const state = new Uint32Array(WORDS);
  state[0] = seed;
  for (let i = 1; i < WORDS; i++) {
    state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  }
  let next = WORDS;

  function refill() {
    for (let i = 0; i < WORDS; i++) {
      const mixed = (state[i] & 0x80000000) | (state[(i + 1) % WORDS] & 0x7fffffff);
      state[i] = state[(i + SHIFT) % WORDS] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    next = 0;
  }

  return () => {
    if (next === WORDS) refill();
    let bits = state[next++];
    bits ^= bits >>> 11;
    bits ^= (bits << 7) & 0x9d2c5680;
    bits ^= (bits << 15) & 0xefc60000;
    return (bits ^ (bits >>> 18)) >>> 0;
  };
}

/**
 * count numbers of N(0, 1) as a Float32Array; count must be a multiple of 16 (an image has 784 = 49
 * x 16).
 */
export function normals(count, seed) {
  if (count % 16) throw new RangeError(`The count must be a multiple of 16, got ${count}.`);
  const bits = mersenneTwister(seed);
  const values = Float32Array.from({ length: count }, () => (bits() & 0xffffff) / 2 ** 24);
  for (let block = 0; block < count; block += 16) {
    for (let i = block; i < block + 8; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - values[i]));
      const angle = 2 * Math.PI * values[i + 8];
      values[i] = radius * Math.cos(angle);
      values[i + 8] = radius * Math.sin(angle);
    }
  }
  return values;
}
