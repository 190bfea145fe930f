/** What the pictures show as text: the legend, two tables, and the pictures' text alternatives. */

import { make } from "./controls.js";
import { placeOf } from "./race.js";
import { countText, numberText } from "./words.js";

const ROWS = 20;

function colors(depth) {
  return `--color: var(--depth-${depth}); --ink: var(--depth-${depth}-ink)`;
}

/** Show which colour is which depth. */
export function showLegend(list, race) {
  const networks = race.lanes.filter(({ endToEnd }) => !endToEnd);
  list.replaceChildren(
    ...networks.map(({ depth }) => make("li", { style: colors(depth) }, `depth ${depth}`)),
  );
}

function distanceText({ course }, place) {
  return place < course.path.length ? numberText(course.losses[place], 3) : "diverged";
}

/** One row a depth: rates, steps to the target, and the distance at a step. */
export function showSummary(table, race, step) {
  const place = placeOf(race, step);
  const rows = race.lanes.filter(({ endToEnd }) => !endToEnd).map((lane) => {
    const { depth, rate, stable, course } = lane;
    const cells = [
      numberText(rate, 3),
      stable ? numberText(stable.rate, 3) : "not searched",
      course.reached === null ? "not in this race" : countText(course.reached),
      distanceText(lane, place),
    ];
    const head = make("th", { scope: "row", style: colors(depth) }, `${depth}`);
    return make("tr", {}, head, ...cells.map((text) => make("td", {}, text)));
  });
  table.tBodies[0].replaceChildren(...rows);
}

/** Some twenty points of every curve. */
export function showNumbers(table, race) {
  const heads = race.lanes.map(({ depth, endToEnd }) => `${endToEnd ? "rule, " : ""}depth ${depth}`);
  table.tHead.replaceChildren(
    make("tr", {}, ...["step", ...heads].map((text) => make("th", { scope: "col" }, text))),
  );
  const last = race.at.length - 1;
  const places = Array.from({ length: ROWS + 1 }, (_, i) => Math.round((i * last) / ROWS));
  const rows = [...new Set(places)].map((place) => {
    const cells = race.lanes.map((lane) => make("td", {}, distanceText(lane, place)));
    return make("tr", {}, make("th", { scope: "row" }, countText(race.at[place])), ...cells);
  });
  table.tBodies[0].replaceChildren(...rows);
}

/** Say in words what the pictures show. */
export function describePictures(curves, plane, race, step) {
  const place = placeOf(race, step);
  const networks = race.lanes.filter(({ endToEnd }) => !endToEnd);
  const losses = networks.map((lane) => `depth ${lane.depth} ${distanceText(lane, place)}`);
  curves.setAttribute(
    "aria-label",
    `Distance from the optimum on a logarithmic axis against steps; at step ${race.at[place]}: ` +
      `${losses.join(", ")}. The table below has the numbers.`,
  );
  const places = networks.map(({ depth, course }) => {
    const w = course.path[Math.min(place, course.path.length - 1)];
    return `depth ${depth} at (${numberText(w[0], 3)}, ${numberText(w[1], 3)})`;
  });
  plane.setAttribute(
    "aria-label",
    `The plane of w with contours of the loss around the minimum (${race.problem.optimum.join(", ")}), ` +
      `arrows of the end-to-end rule for depth ${race.settings.field}, and the paths of w: ` +
      `${places.join(", ")}.`,
  );
}
