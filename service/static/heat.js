// Draws a heat map, and says in words where it is hottest.

const DOWN = ["top", "middle", "bottom"];
const ACROSS = ["left", "centre", "right"];

export function drawHeat(canvas, map) {
  const rows = map.values.length;
  const columns = map.values[0].length;
  const highest = Math.max(...map.values.flat());
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  map.values.flat().forEach((value, place) => {
    const heat = map.flat || highest <= 0 ? 0 : Math.max(0, value) / highest;
    pixels.data.set([255, Math.round(210 * (1 - heat)), 0, Math.round(200 * heat)], place * 4);
  });
  context.putImageData(pixels, 0, 0);
}

export function inWords(map) {
  if (map.flat) return `No part of the picture raises “${map.label}” more than others.`;
  const third = (place, count) => Math.min(2, Math.floor((3 * (place + 0.5)) / count));
  const down = DOWN[third(map.strongest.row, map.values.length)];
  const across = ACROSS[third(map.strongest.column, map.values[0].length)];
  const where = down === "middle" && across === "centre" ? "in the middle" : `at the ${down} ${across}`;
  return `“${map.label}” is raised most ${where} of what the model sees.`;
}
