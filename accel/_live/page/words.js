/** Numbers as texts, and the caption: what one sees, in sentences made from the race. */

import { placeOf } from "./race.js";

const SUPERSCRIPTS = { "-": "⁻", ...Object.fromEntries([..."⁰¹²³⁴⁵⁶⁷⁸⁹"].map((s, i) => [i, s])) };

/** A power of ten, such as 10⁻³. */
export function powerOfTen(exponent) {
  return `10${[...String(exponent)].map((sign) => SUPERSCRIPTS[sign]).join("")}`;
}

/** A number of so many digits, such as 0.012, 3.4 or 1.2 × 10⁻⁷. */
export function numberText(value, digits = 2) {
  if (!Number.isFinite(value)) return "∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e4) return String(Number(value.toPrecision(digits)));
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  return `${Number(mantissa)}\u00a0×\u00a0${powerOfTen(Number(exponent))}`;
}

/** A count with narrow spaces between its thousands. */
export function countText(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** Words of a list: "a", "a and b", "a, b and c". */
function listText(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

function ratesText({ settings }) {
  if (settings.rates === "same") {
    return `All depths use the learning rate ${numberText(settings.rate, 3)}.`;
  }
  const share = settings.share === 1 ? "" : `${numberText(settings.share)} times `;
  return settings.depths === 1
    ? `Depth 1 uses ${share}its largest stable learning rate.`
    : `Every depth uses ${share}its own largest stable learning rate.`;
}

/** Which depth is ahead at a step, and by how much. */
function leaderText(race, networks, step) {
  const place = placeOf(race, step);
  const running = networks
    .filter(({ course }) => Number.isFinite(course.losses[place]))
    .sort((a, b) => a.course.losses[place] - b.course.losses[place]);
  if (!running.length) return "";
  const [first] = running;
  const distance = first.course.losses[place];
  const begin = `At step ${countText(race.at[place])} `;
  if (step === 0 || running.length === 1) {
    const who = step === 0 && running.length > 1 ? "all depths are" : `depth ${first.depth} is`;
    return `${begin}${who} at the distance ${numberText(distance)} from the optimum.`;
  }
  const other = running.find(({ depth }) => depth === 1 && depth !== first.depth) ?? running[1];
  const factor = other.course.losses[place] / distance;
  const behind = running.at(-1).course.losses[place] / distance;
  if (behind < 1.05) return `${begin}all depths are level.`;
  if (factor < 1.05) return `${begin}depth ${first.depth} and depth ${other.depth} are level.`;
  const times = factor < 1e6 ? `${numberText(factor)} times ` : "far ";
  return `${begin}depth ${first.depth} is ahead: its distance from the optimum is ` +
    `${numberText(distance)}, ${times}${factor < 1e6 ? "less than" : "below"} that of depth ` +
    `${other.depth}.`;
}

/** Who has met the target so far, in how many steps, compared with depth 1. */
function targetText(race, networks, step) {
  const met = networks.filter(({ course }) => course.reached !== null && course.reached <= step);
  met.sort((a, b) => a.course.reached - b.course.reached);
  const after = ({ depth, course }, i) =>
    `depth ${depth} ${i ? "" : "met the dashed target "}after ${countText(course.reached)} steps`;
  const sentences = [];
  if (met.length) {
    const told = listText(met.map(after));
    sentences.push(`${told[0].toUpperCase()}${told.slice(1)}.`);
  }
  const plain = met.find(({ depth }) => depth === 1);
  const [first] = met;
  if (plain && first !== plain) {
    const factor = plain.course.reached / first.course.reached;
    sentences.push(`Depth ${first.depth} needs ${numberText(factor)} times fewer steps than depth 1.`);
  } else if (plain && met.length > 1) {
    const factor = met[1].course.reached / plain.course.reached;
    sentences.push(factor < 1.05 ? "Depth does not help here."
      : `Depth does not help here: depth ${met[1].depth} needs ${numberText(factor)} times as many ` +
        "steps as depth 1.");
  }
  if (step >= race.settings.steps) {
    const late = networks.filter(({ course }) => course.reached === null && !course.divergedAt);
    if (late.length) {
      const who = listText(late.map(({ depth }) => `depth ${depth}`));
      const one = late.length === 1;
      sentences.push(`${who[0].toUpperCase()}${who.slice(1)} ${one ? "does" : "do"} not meet the ` +
        "dashed target in this race.");
    }
  }
  return sentences.join(" ");
}

/** What went wrong up to a step: a loss that rose, a run that diverged. */
function troubleText(networks, step) {
  const sentences = networks.map(({ depth, course }) => {
    if (course.divergedAt !== null && course.divergedAt <= step) {
      return `Depth ${depth} has diverged at step ${countText(course.divergedAt)}: its rate is too large.`;
    }
    if (course.roseAt !== null && course.roseAt <= step && course.reached === null) {
      return `The loss of depth ${depth} rose at step ${countText(course.roseAt)}: its rate is above ` +
        "the largest stable one.";
    }
    return "";
  });
  return sentences.filter(Boolean).join(" ");
}

/** Whether a network is still near w = 0, where networks of depth 2 and more have a saddle. */
function isStuck({ depth, course }, race, place) {
  const w = course.path[place];
  return depth > 1 && w !== undefined && race.at[place] >= 20 &&
    Math.hypot(w[0], w[1]) < 0.1 * race.problem.optimum[0];
}

function saddleText(race, networks, step) {
  const stuck = networks.filter((lane) => isStuck(lane, race, placeOf(race, step)));
  if (!stuck.length) return "";
  const who = listText(stuck.map(({ depth }) => `depth ${depth}`));
  return `${who[0].toUpperCase()}${who.slice(1)} ${stuck.length === 1 ? "is" : "are"} still near ` +
    "w = 0, where networks of two factors and more have a saddle: the smaller the start and the " +
    "deeper the network, the longer it stays.";
}

/** What p, the ratio of the targets and the condition number do. */
function reasonText({ settings, problem }) {
  const { p, ratio, condition, depths } = settings;
  if (p < 2) {
    return `With p = ${p} the slope hardly fades near the minimum, so that a constant rate ends in a ` +
      "cycle around it.";
  }
  if (p === 2) {
    const flatter = condition > 1
      ? ` The second coordinate is ${numberText(condition)} times flatter than the first.` : "";
    return "With p = 2 the curvature is the same everywhere: one rate suits the whole way, and depth " +
      `gains nothing by adapting it.${flatter}`;
  }
  const larger = (problem.y[0] / problem.y[1]) ** (p - 2) * condition;
  if (larger < 1.5) {
    return `With p = ${p} the curvature is the same along both coordinates here: none of them waits ` +
      "for the other.";
  }
  const begin = `With p = ${p} and y₁/y₂ = ${numberText(ratio, 3)} the curvature of the loss along the ` +
    `first coordinate is ${numberText(larger)} times that along the second at first, so that the ` +
    "first one dictates the rate of depth 1, and the second one crawls.";
  return depths === 1 ? begin : `${begin} A network of depth N multiplies the steps by about |w| to ` +
    "the power 2\u00a0−\u00a02/N, which is small at the start and large once w has grown: the second " +
    "coordinate catches up.";
}

/**
 * The caption at a step.
 * @param {import("./race.js").Race} race
 * @returns {string[]} two paragraphs: what one sees, and why
 */
export function caption(race, step) {
  const networks = race.lanes.filter(({ endToEnd }) => !endToEnd);
  const seen = [
    ratesText(race),
    leaderText(race, networks, step),
    targetText(race, networks, step),
    troubleText(networks, step),
    saddleText(race, networks, step),
  ];
  return [seen.filter(Boolean).join(" "), reasonText(race)];
}
