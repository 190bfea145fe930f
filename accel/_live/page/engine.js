/**
 * The mathematics of the live page, without any drawing: gradient descent on deep linear networks
 * for two points, as accel's reference backend does it (`kernels/reference/` in the repository).
 *
 * The data are the two points x_1 = [1, 0] and x_2 = [0, s] with targets y_i = s_i * w*_i, where
 * s_1 = 1, s_2 = s = 1 / sqrt(condition) and the optimum is w* = [ratio, 1]. The loss is
 *
 *     L(w) = 1/2 * sum_i |r_i|^p,    r_i = s_i w_i - y_i,    g_i = (p/2) s_i |r_i|^(p-1) sign(r_i).
 *
 * At the optimum the loss is 0, so it is its own distance from the optimum. At p = 2 its Hessian is
 * diag(1, s^2), whose condition number is `condition`. With condition = 1 these are the two points
 * of section 7 of Arora, Cohen and Hazan (2018).
 *
 * A network of depth N has the factors W_1 (a row of two numbers) and the numbers W_2 to W_N: all
 * hidden layers have width 1. Its end-to-end vector is w = W_N ... W_2 W_1.
 */

/**
 * @typedef {object} Problem
 * @property {number} p exponent of the loss, at least 1
 * @property {number[]} scale s_1 and s_2
 * @property {number[]} optimum w*
 * @property {number[]} y the targets
 *
 * @typedef {object} Model
 * @property {number} depth N, at least 1
 * @property {number} rate the learning rate
 * @property {boolean} [endToEnd] whether the end-to-end rule itself runs, in place of the factors
 */

/** Make the problem of two points. */
export function makeProblem({ p, ratio, condition }) {
  const scale = [1, 1 / Math.sqrt(condition)];
  const optimum = [ratio, 1];
  return { p, scale, optimum, y: [scale[0] * optimum[0], scale[1] * optimum[1]] };
}

/** The loss at w. */
export function loss(problem, w) {
  const { p, scale, y } = problem;
  return 0.5 * (Math.abs(scale[0] * w[0] - y[0]) ** p + Math.abs(scale[1] * w[1] - y[1]) ** p);
}

/** Write the gradient of the loss at w into `g`, and return the loss. */
function lossAndGradient(problem, w, g) {
  const { p, scale, y } = problem;
  let sum = 0;
  for (let i = 0; i < 2; i++) {
    const r = scale[i] * w[i] - y[i];
    const size = Math.abs(r);
    const power = size ** (p - 1);
    sum += power * size;
    g[i] = (p / 2) * Math.sign(r) * power * scale[i];
  }
  return 0.5 * sum;
}

/** The gradient of the loss at w. */
export function gradient(problem, w) {
  const g = [0, 0];
  lossAndGradient(problem, w, g);
  return g;
}

/**
 * The direction of the end-to-end rule (claim 2 of the paper), for a gradient g at w:
 * F = |w|^(2 - 2/N) * (g + (N - 1) * (the projection of g on w)).
 */
function precondition(w, g, depth) {
  const size = Math.hypot(w[0], w[1]);
  if (size === 0) return depth === 1 ? [g[0], g[1]] : [0, 0];
  const unit = [w[0] / size, w[1] / size];
  const stretch = size ** (2 - 2 / depth);
  const along = (depth - 1) * (unit[0] * g[0] + unit[1] * g[1]);
  return [stretch * (g[0] + along * unit[0]), stretch * (g[1] + along * unit[1])];
}

/** The vector field of the end-to-end rule: w moves along minus this. At depth 1 the gradient. */
export function field(problem, w, depth) {
  return precondition(w, gradient(problem, w), depth);
}

/**
 * Where all runs begin: a vector of norm `size` times the first target, along minus the gradient at
 * 0, as in `accel.theory.two_point`.
 */
export function startVector(problem, size) {
  const g = gradient(problem, [0, 0]);
  const factor = (-size * problem.y[0]) / Math.hypot(g[0], g[1]);
  return [factor * g[0], factor * g[1]];
}

/** Balanced factors of w, flat: the two numbers of W_1, then W_2 to W_N; all have one norm. */
export function balancedFactors(w, depth) {
  const size = Math.hypot(w[0], w[1]);
  const root = size ** (1 / depth);
  const factors = new Float64Array(depth + 1).fill(root);
  factors[0] = depth === 1 ? w[0] : root * (w[0] / size);
  factors[1] = depth === 1 ? w[1] : root * (w[1] / size);
  return factors;
}

/** One run, an update at a time. */
export class Run {
  /**
   * @param {Problem} problem
   * @param {Model} model
   * @param {ArrayLike<number>} start the first end-to-end vector, which is split evenly, or factors
   */
  constructor(problem, model, start) {
    this.problem = problem;
    this.model = model;
    const depth = model.endToEnd ? 1 : model.depth;
    this.factors = start.length === depth + 1 && depth > 1
      ? Float64Array.from(start)
      : balancedFactors(start, depth);
    /** Products of the scalar factors above each one: suffixes[j] = W_N ... W_{j+2}. */
    this.suffixes = new Float64Array(depth).fill(1);
    /** Updates made so far. */
    this.step = 0;
    /** The end-to-end vector, the gradient of the loss there, and the loss. */
    this.w = [0, 0];
    this.g = [0, 0];
    this.loss = 0;
    /** Whether loss or gradient have become infinite or undefined. */
    this.diverged = false;
    this.#pass();
  }

  /** Multiply the factors, and take the loss and its gradient there. */
  #pass() {
    const { factors, suffixes, w, g } = this;
    for (let j = suffixes.length - 2; j >= 0; j--) suffixes[j] = suffixes[j + 1] * factors[j + 2];
    w[0] = suffixes[0] * factors[0];
    w[1] = suffixes[0] * factors[1];
    this.loss = lossAndGradient(this.problem, w, g);
    this.diverged = !(Number.isFinite(this.loss) && Number.isFinite(Math.hypot(g[0], g[1])));
  }

  /** Make one update of all factors at once; a run that has diverged stays as it is. */
  advance() {
    if (this.diverged) return;
    const { factors, suffixes, w, g, model } = this;
    if (model.endToEnd) {
      const direction = precondition(w, g, model.depth);
      factors[0] -= model.rate * direction[0];
      factors[1] -= model.rate * direction[1];
    } else {
      // By the chain rule W_j moves against (what is above it) * gradient * (what is below it).
      let below = g[0] * factors[0] + g[1] * factors[1];
      factors[0] -= model.rate * (suffixes[0] * g[0]);
      factors[1] -= model.rate * (suffixes[0] * g[1]);
      for (let j = 1; j < suffixes.length; j++) {
        const move = suffixes[j] * below;
        below *= factors[j + 1];
        factors[j + 1] -= model.rate * move;
      }
    }
    this.step += 1;
    this.#pass();
  }
}

/**
 * The steps at which a race is recorded: all of the first hundred, then about a hundred for every
 * factor of e. The gaps are odd, so that what alternates from step to step is seen on both sides.
 */
export function recordedSteps(steps) {
  const at = [0];
  for (let step = 0; step < steps; ) {
    step = Math.min(steps, step + (Math.max(1, Math.floor(step / 100)) | 1));
    at.push(step);
  }
  return at;
}

/**
 * @typedef {object} Course what became of one model in a race
 * @property {Model} model
 * @property {number[]} losses at the recorded steps; NaN after a divergence
 * @property {number[][]} path the end-to-end vectors at the recorded steps up to a divergence
 * @property {number|null} divergedAt the step whose iterate was not finite any more
 * @property {number|null} roseAt the first step that raised the loss
 * @property {number|null} reached the first step with a loss of at most the target
 */

/** A loss that rises by less than this part has done so by rounding. */
const ROUNDING = 1e-12;

/**
 * Let a model run for so many steps.
 * @returns {Course}
 */
export function course(problem, model, start, at, target) {
  const run = new Run(problem, model, start);
  const made = { model, losses: [], path: [], divergedAt: null, roseAt: null, reached: null };
  let before = run.loss;
  for (const step of at) {
    while (run.step < step && !run.diverged) {
      run.advance();
      if (made.roseAt === null && !(run.loss <= before * (1 + ROUNDING))) made.roseAt = run.step;
      if (made.reached === null && run.loss <= target) made.reached = run.step;
      before = run.loss;
    }
    made.losses.push(run.diverged ? NaN : run.loss);
    if (!run.diverged) made.path.push([run.w[0], run.w[1]]);
  }
  if (run.diverged) made.divergedAt = run.step;
  return made;
}

/** The loss at which the second point counts as learnt: a hundredth of what it adds at w = 0. */
export function targetLoss(problem) {
  return 0.005 * problem.y[1] ** problem.p;
}

/** Steps to the target, Infinity if there are more than `most`, null if the loss rises before. */
function stepsDown(problem, model, start, target, most) {
  const run = new Run(problem, model, start);
  let before = run.loss;
  while (run.loss > target) {
    if (run.step === most) return Infinity;
    run.advance();
    if (!(run.loss <= before * (1 + ROUNDING))) return null;
    before = run.loss;
  }
  return run.step;
}

/** Factors by which a rate is raised until it is unstable: first coarsely, then finely. */
const COARSE = 10 ** (1 / 16);
const FINE = 1.03;
const PRECISION = 1e-3;
/** No rate beyond this is looked for: for p < 2 there may be no end. */
const MOST = 1e6;

/**
 * Find the largest stable rate. A rate is stable if the loss rises in no step on the way to the
 * target, or in the first `most` steps, as in `accel.theory.two_point`. The search goes up from a
 * stable rate in steps of 15 % to the first one that is unstable. From half of the last stable one it
 * goes up again in steps of 3 %, since where a network lands when it leaves the neighbourhood of 0
 * hangs on its rate, and some rates may be unstable below others that are not. The interval that
 * ends it is halved until it is narrower than 0.1 %.
 * @returns {{rate: number, steps: number}} the rate, and the steps to the target at that rate
 */
export function largestStableRate(problem, { depth, endToEnd }, start, target, most = 8000) {
  const { p, optimum } = problem;
  const steps = (rate) => stepsDown(problem, { depth, endToEnd, rate }, start, target, most);
  const guess = (4 / (p * optimum[0] ** (p - 2))) * optimum[0] ** (2 / depth - 2);
  let [rate, count] = firstStable(steps, 0.9 * guess);
  let above = rate * COARSE;
  while (rate < MOST && steps(above) !== null) [rate, above] = [above, above * COARSE];
  [rate, count] = firstStable(steps, rate / 2);
  above = rate * FINE;
  for (let next = steps(above); next !== null && rate < MOST; next = steps(above)) {
    [rate, count, above] = [above, next, above * FINE];
  }
  while (above > (1 + PRECISION) * rate) {
    const middle = Math.sqrt(rate * above);
    const between = steps(middle);
    if (between === null) above = middle;
    else [rate, count] = [middle, between];
  }
  return { rate, steps: count };
}

/** The first stable one of a rate, its half, its quarter, and so on, with its steps. */
function firstStable(steps, rate) {
  let count = steps(rate);
  while (count === null && rate > 0) count = steps((rate /= 2));
  return [rate, count];
}
