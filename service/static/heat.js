// Draws a heat map, and says in words where it is hottest.

const DOWN = ["top", "middle", "bottom"];
const ACROSS = ["left", "centre", "right"];

// One pixel for each value, clear where it is cold, from yellow to red; the browser makes it smooth where it is larger.
export function drawHeat(canvas, values) {
  canvas.height = values.length;
  canvas.width = values[0].length;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  values.flat().forEach((heat, place) => pixels.data.set([255, Math.round(220 * (1 - heat)), 0, Math.round(215 * heat)], place * 4));
  context.putImageData(pixels, 0, 0);
}

// Where a map's region lies in the picture, as shares of the picture's sides.
export function placed(region, image) {
  return {
    left: region.left / image.width,
    top: region.top / image.height,
    width: region.width / image.width,
    height: region.height / image.height,
  };
}

export function inWords(label, map, at) {
  if (map.flat) return `“${label}”: no part of the picture stands out.`;
  const third = (share) => Math.min(2, Math.max(0, Math.floor(3 * share)));
  const down = DOWN[third(at.top + (at.height * (map.strongest.row + 0.5)) / map.values.length)];
  const across = ACROSS[third(at.left + (at.width * (map.strongest.column + 0.5)) / map.values[0].length)];
  return `“${label}”: most ${down === "middle" && across === "centre" ? "in the middle" : `at the ${down} ${across}`}.`;
}
