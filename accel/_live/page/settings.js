/**
 * What the page can be set to: the sliders with their ranges, the presets, and the link that keeps
 * a setting. Nothing here draws or computes a run.
 */

/**
 * @typedef {object} Slider
 * @property {string} key its name in the settings and in the link
 * @property {string} label
 * @property {string} help one sentence that says what it does
 * @property {number} least
 * @property {number} most
 * @property {number} step of the slider; for a logarithmic one in decades
 * @property {boolean} [log] whether the slider moves the decimal logarithm
 * @property {boolean} [whole] whether the values are whole numbers
 */

/** @type {Slider[]} */
export const SLIDERS = [
  {
    key: "depths", label: "Largest depth", least: 1, most: 4, step: 1, whole: true,
    help: "Depth 1 and all depths up to this one race against each other.",
  },
  {
    key: "p", label: "Exponent p of the loss", least: 1.5, most: 8, step: 0.1,
    help: "The loss is the mean of |residual| to the power p.",
  },
  {
    key: "ratio", label: "Targets, y₁ / y₂", least: 1, most: 100, step: 0.02, log: true,
    help: "The minimum lies at w = (y₁/y₂, 1).",
  },
  {
    key: "condition", label: "Condition number", least: 1, most: 1000, step: 0.05, log: true,
    help: "At p = 2 it is the condition number of the Hessian: the second feature is scaled down.",
  },
  {
    key: "start", label: "Start size", least: 1e-9, most: 0.5, step: 0.05, log: true,
    help: "The length of the first w, as a part of y₁.",
  },
  {
    key: "rate", label: "Learning rate", least: 1e-12, most: 10, step: 0.02, log: true,
    help: "To move it gives all depths one rate.",
  },
  {
    key: "share", label: "Part of the stable rate", least: 0.1, most: 1.5, step: 0.01,
    help: "Each depth’s own largest stable rate, times this.",
  },
  {
    key: "steps", label: "Steps of the race", least: 10, most: 100000, step: 0.05, log: true,
    whole: true, help: "How far the horizontal axis goes.",
  },
];

/**
 * @typedef {object} Settings the keys of all sliders with their values, and:
 * @property {"own"|"same"} rates "own": each depth at its own largest stable rate, times share;
 *   "same": one rate for all
 * @property {number} field the depth whose vector field is drawn
 * @property {boolean} rule whether the end-to-end rule is drawn beside the networks
 * @property {boolean} logSteps whether the axis of steps is logarithmic
 */

/**
 * The setting that the page opens with: the illustration of section 7 of the paper.
 * @type {Settings}
 */
export const DEFAULTS = Object.freeze({
  depths: 3,
  p: 4,
  ratio: 10,
  condition: 1,
  start: 0.001,
  rate: 0.005,
  share: 0.9,
  steps: 500,
  rates: "own",
  field: 2,
  rule: false,
  logSteps: false,
});

/**
 * @typedef {object} Preset
 * @property {string} key its name in scripts
 * @property {string} label
 * @property {Partial<Settings>} settings what differs from DEFAULTS
 */

/** @type {Preset[]} */
export const PRESETS = [
  { key: "paper", label: "The paper’s illustration", settings: {} },
  {
    key: "square", label: "p = 2: depth does not help",
    settings: { p: 2, condition: 10, steps: 80 },
  },
  {
    key: "saddle", label: "Near zero: stuck at the saddle",
    settings: { depths: 4, start: 1e-8, share: 0.5, field: 4, steps: 3000, logSteps: true },
  },
  {
    key: "larger", label: "Larger p: depth helps more",
    settings: { p: 6, ratio: 6, steps: 10000, logSteps: true },
  },
  {
    key: "same", label: "A rate too large for the deep",
    settings: { rates: "same", rate: 0.009, logSteps: true },
  },
  {
    key: "rule", label: "The end-to-end rule",
    settings: { rule: true, share: 0.1, start: 0.1, steps: 4000, logSteps: true },
  },
];

/** Cut a number to a slider's range, and round it to a whole number where that is asked for. */
function fitted(slider, value) {
  const inside = Math.min(slider.most, Math.max(slider.least, value));
  return slider.whole ? Math.round(inside) : inside;
}

/** Where a slider stands for a value. */
export function positionOf(slider, value) {
  return slider.log ? Math.log10(value) : value;
}

/** The value that a slider stands for, rounded to three digits. */
export function valueAt(slider, position) {
  const value = slider.log ? 10 ** position : position;
  return fitted(slider, Number(value.toPrecision(3)));
}

/** Settings that are complete and within their ranges, whatever was given. */
export function checked(given) {
  const settings = { ...DEFAULTS };
  for (const slider of SLIDERS) {
    const text = given[slider.key] ?? "";
    const value = text === "" ? NaN : Number(text); // Number("") is 0
    if (Number.isFinite(value)) settings[slider.key] = fitted(slider, value);
  }
  if (given.rates === "same" || given.rates === "own") settings.rates = given.rates;
  if ([1, 2, 3, 4].includes(Number(given.field))) settings.field = Number(given.field);
  for (const key of ["rule", "logSteps"]) settings[key] = [true, "true"].includes(given[key]);
  return settings;
}

/** The part of a link after #: what differs from the defaults. */
export function toLink(settings) {
  const different = Object.keys(DEFAULTS).filter((key) => settings[key] !== DEFAULTS[key]);
  return new URLSearchParams(different.map((key) => [key, String(settings[key])])).toString();
}

/** The settings that a link says. */
export function fromLink(hash) {
  return checked(Object.fromEntries(new URLSearchParams(hash.replace(/^#/, ""))));
}
