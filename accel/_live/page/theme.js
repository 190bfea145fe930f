/** The colours, as the style sheet has them for light or dark surroundings. */

/** @returns {Theme} */
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
    /** Of a depth: the package's colour, and a shade of it that stands out from the background. */
    depth: (depth) => color(`depth-${depth}`),
    ink: (depth) => color(`depth-${depth}-ink`),
  };
}

/** Call back whenever the surroundings change between light and dark. */
export function onThemeChange(callback) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", callback);
}
