/** From the settings of the page to the runs that it shows: everything is computed at once. */

import {
  course, field, largestStableRate, makeProblem, recordedSteps, startVector, targetLoss,
} from "./engine.js";

/**
 * @typedef {object} Lane one model of a race
 * @property {number} depth
 * @property {boolean} endToEnd whether it is the end-to-end rule and not a network
 * @property {number} rate the rate that it runs at
 * @property {{rate: number, steps: number}|null} stable its largest stable rate, if it was looked for
 * @property {import("./engine.js").Course} course
 *
 * @typedef {object} Race
 * @property {import("./settings.js").Settings} settings
 * @property {import("./engine.js").Problem} problem
 * @property {number[]} start the first end-to-end vector
 * @property {number} startLoss
 * @property {number} target the loss at which the second point counts as learnt
 * @property {number[]} at the steps that are recorded
 * @property {Lane[]} lanes the networks by depth, then the end-to-end rules by depth
 */

/** Rates that were found, by what they depend on: the other sliders leave them as they are. */
const found = new Map();

function stableRate(problem, settings, model, start, target) {
  const { p, ratio, condition } = settings;
  const key = [p, ratio, condition, settings.start, model.depth, model.endToEnd].join();
  if (!found.has(key)) {
    if (found.size > 500) found.clear();
    found.set(key, largestStableRate(problem, model, start, target));
  }
  return found.get(key);
}

/**
 * Run the race that the settings describe.
 * @returns {Race}
 */
export function makeRace(settings) {
  const problem = makeProblem(settings);
  const start = startVector(problem, settings.start);
  const target = targetLoss(problem);
  const at = recordedSteps(settings.steps);
  const depths = Array.from({ length: settings.depths }, (_, i) => i + 1);
  const lanes = depths.map((depth) => {
    let stable = null;
    let rate = settings.rate;
    if (settings.rates === "own") {
      stable = stableRate(problem, settings, { depth, endToEnd: false }, start, target);
      rate = settings.share * stable.rate;
    }
    const model = { depth, rate, endToEnd: false };
    return { depth, endToEnd: false, rate, stable, course: course(problem, model, start, at, target) };
  });
  if (settings.rule) {
    // The rule at the rate of the network that it stands for; at depth 1 they are the same.
    for (const { depth, rate } of lanes.slice(1)) {
      const model = { depth, rate, endToEnd: true };
      const its = course(problem, model, start, at, target);
      lanes.push({ depth, endToEnd: true, rate, stable: null, course: its });
    }
  }
  const startLoss = lanes[0].course.losses[0];
  return { settings, problem, start, startLoss, target, at, lanes };
}

/** The end-to-end rule's vector field for the depth that is chosen: w moves along minus this. */
export function fieldOf(race) {
  return (w) => field(race.problem, w, race.settings.field);
}

/** The place in `race.at` of the last recorded step that is at most `step`. */
export function placeOf(race, step) {
  let low = 0;
  let high = race.at.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (race.at[middle] <= step) low = middle;
    else high = middle - 1;
  }
  return low;
}
