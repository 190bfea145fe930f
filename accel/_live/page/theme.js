/** The colours, as the style sheet has them for light or dark surroundings. */

/**
 * @typedef {object} Theme
 * @property {string} text
 * @property {string} muted of axes and their texts
 * @property {string} line of grids and contours
 * @property {string} surface behind the pictures
 * @property {string} valley what each contour adds to the one around it
 * @property {string} font
 * @property {(depth: number) => string} depth the package's colour of a depth
 * @property {(depth: number) => string} ink a shade of it that stands out from the background
 *
 * @returns {Theme} the colours that hold now
 */
export function theme() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: color("text"),
    muted: color("muted"),
    line: color("line"),
    surface: color("surface"),
    valley: color("valley"),
    font: `12px ${style.getPropertyValue("--font").trim()}`,
    depth: (depth) => color(`depth-${depth}`),
    ink: (depth) => color(`depth-${depth}-ink`),
  };
}

/** Call back whenever the surroundings change between light and dark. */
export function onThemeChange(callback) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", callback);
}
